"""JSON answers that are always valid: a grammar that leaves the language model only the words that keep the form.

The one place of xgrammar (extra ``json``). It shapes text only; no score comes from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import LogitsProcessorList, PreTrainedTokenizerBase

from seagull_tune.errors import MissingDependencyError
from seagull_tune.instructions.structured import answer_grammar, longest_json_answer

if TYPE_CHECKING:
    import xgrammar


def _library() -> Any:
    try:
        import xgrammar
        import xgrammar.contrib.hf
    except ImportError as error:
        raise MissingDependencyError(
            "JSON answers of the model need xgrammar: pip install 'seagull-tune[json]'. Numbers do not: "
            "`seagull-tune assess` writes JSON without it."
        ) from error
    return xgrammar


class JsonGrammar:
    """The form of a JSON answer (:mod:`seagull_tune.instructions.structured`), for one tokenizer.

    Args:
        tokenizer: of the language model; fast.
        vocabulary: how many logits the model gives. Ids beyond them are placeholders, which are never said.

    Raises:
        MissingDependencyError: xgrammar is not installed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, vocabulary: int) -> None:
        self._xgrammar = _library()
        known = self._xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocabulary, stop_token_ids=[tokenizer.eos_token_id]
        )
        self._compiled: xgrammar.CompiledGrammar = self._xgrammar.GrammarCompiler(known).compile_grammar(
            answer_grammar()
        )

    @property
    def max_new_tokens(self) -> int:
        """Tokens that are enough for any answer: one per letter, the blank before it and the end of the turn."""
        return len(longest_json_answer()) + 2

    def processors(self) -> LogitsProcessorList:
        """What ``generate`` takes; for one call, since it follows the texts as they grow."""
        return LogitsProcessorList([self._xgrammar.contrib.hf.LogitsProcessor(self._compiled)])
