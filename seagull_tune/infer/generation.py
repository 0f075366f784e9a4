"""Greedy answers to several prompts at once, each streamed, limited and stopped by itself.

Prompts of different lengths are padded on the left, so that all of them end where their answers begin; a padded prompt
is answered as it is alone. What a memory recalls of a prompt is not read again; it stands before the rest, padded by
itself. transformers' ``generate`` does the work; what differs between the rows (pieces of text, longest answer,
somebody who went away) is in one stopping criterion, which it asks after every token.

    row 0:  . . r r r | . s s s
    row 1:  r r r r r | s s s s      r recalled, s read now, . padding
    row 2:  . . . . . | . . s s

Legend: B prompts, L columns of the padded prompts, t tokens generated so far, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedTokenizerBase, StoppingCriteria, StoppingCriteriaList, TextStreamer

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.infer.grammar import JsonGrammar
from seagull_tune.infer.memory import PromptMemory, Recollection, recalled_cache
from seagull_tune.model.modeling import SeagullForConditionalGeneration

EndReason = Literal["stop", "length", "cancelled"]
"""Why an answer ended: the model ended it, it reached its longest length, or nobody wants it any more."""


@dataclass(frozen=True)
class Prompt:
    """What is answered.

    Attributes:
        embeddings: (L, D) of the whole prompt, with image and region tokens in it.
        max_new_tokens: longest answer, in tokens.
        on_text: called with every piece of the answer as it is written.
        cancelled: asked after every token; True ends this answer, and no other one.
        on_end: called with the answer as soon as it has ended, while others may go on.
    """

    embeddings: Tensor
    max_new_tokens: int
    on_text: Callable[[str], None] | None = None
    cancelled: Callable[[], bool] | None = None
    on_end: Callable[[Answer], None] | None = None


@dataclass(frozen=True)
class Answer:
    """An answer: its text without surrounding blanks, its tokens (the one that ends it included), why it ended."""

    text: str
    n_tokens: int
    reason: EndReason


def generate(
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor,
    prompts: Sequence[Prompt],
    grammar: JsonGrammar | None = None,
    memory: PromptMemory | None = None,
) -> list[Answer]:
    """Greedy answers, in the order of the prompts. Runs without gradients where the caller sees to that.

    Args:
        model, processor: the tuned model.
        prompts: at least one.
        grammar: what every answer keeps to; then none may be cancelled.
        memory: what was read before, by this model; prompts and answers are added to it.
    """
    tokenizer = processor.tokenizer
    if memory is not None and not memory.serves(model.config.text_config):
        memory = None
    recalled = [Recollection() if memory is None else memory.recall(prompt.embeddings) for prompt in prompts]
    embeddings, mask = _padded([prompt.embeddings for prompt in prompts], [item.length for item in recalled])
    cache = None if memory is None else recalled_cache(recalled)
    rows = _Rows(prompts, tokenizer)
    model.generate(
        inputs_embeds=embeddings, attention_mask=mask, past_key_values=cache, do_sample=False,
        max_new_tokens=max(prompt.max_new_tokens for prompt in prompts),
        stopping_criteria=StoppingCriteriaList([rows]), eos_token_id=tokenizer.eos_token_id,
        pad_token_id=processor.padding_id, logits_processor=None if grammar is None else grammar.processors(),
    )  # fmt: skip
    if memory is not None and cache is not None:
        words = model.get_input_embeddings()
        for index, row in enumerate(rows.rows):
            _keep(memory, cache, index, mask, prompts[index].embeddings, words(row.said.to(mask.device)))
    return [row.answer() for row in rows.rows]


def _padded(prompts: Sequence[Tensor], recalled: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Prompts (L_i, D) -> (B, L, D), zeros on the left, and the attention mask (B, L) that hides them.

    Args:
        recalled: per prompt, how many tokens of it stand in the columns of what is recalled, which come first and whose
            embeddings nobody reads.
    """
    before = max(recalled)
    longest = before + max(len(prompt) - known for prompt, known in zip(prompts, recalled, strict=True))
    embeddings = prompts[0].new_zeros(len(prompts), longest, prompts[0].shape[-1])
    mask = torch.zeros(len(prompts), longest, dtype=torch.long, device=embeddings.device)
    for row, (prompt, known) in enumerate(zip(prompts, recalled, strict=True)):
        rest = prompt[known:]
        embeddings[row, longest - len(rest) :] = rest
        mask[row, longest - len(rest) :] = 1
        mask[row, before - known : before] = 1
    return embeddings, mask


def _keep(memory: PromptMemory, cache: DynamicCache, row: int, mask: Tensor, prompt: Tensor, answer: Tensor) -> None:
    """Keeps what was read in a row: its prompt (L_i, D), and the tokens of its answer (t, D) that were read in turn."""
    width = mask.shape[1]
    read = answer[: cache.get_seq_length() - width]  # the last token of the longest answer was never read
    places = mask[row].nonzero()[:, 0]
    columns = torch.cat([places, torch.arange(width, width + len(read), device=places.device)])
    memory.keep(torch.cat([prompt, read.to(prompt.dtype)]), cache, row, columns)


class _Rows(StoppingCriteria):
    """Hands every new token to its row, and says which rows are done."""

    def __init__(self, prompts: Sequence[Prompt], tokenizer: PreTrainedTokenizerBase) -> None:
        self.rows = [_Row(prompt, tokenizer) for prompt in prompts]

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """Called by transformers with (B, t) ids; returns bool (B,), whether a row is done."""
        for row, token in zip(self.rows, input_ids[:, -1].tolist(), strict=True):
            row.take(token)
        return torch.tensor([row.reason is not None for row in self.rows], device=input_ids.device)


class _Row:
    """One answer as it grows."""

    def __init__(self, prompt: Prompt, tokenizer: PreTrainedTokenizerBase) -> None:
        self._prompt, self._tokenizer = prompt, tokenizer
        self._pieces = _Pieces(tokenizer, prompt.on_text)
        self._ids: list[int] = []
        self.reason: EndReason | None = None

    def take(self, token: int) -> None:
        """The next token; what comes after the end is padding."""
        if self.reason is not None:
            return
        self._ids.append(token)
        if token == self._tokenizer.eos_token_id:
            self.reason = "stop"
        elif self._prompt.cancelled is not None and self._prompt.cancelled():
            self.reason = "cancelled"
        elif len(self._ids) >= self._prompt.max_new_tokens:
            self.reason = "length"
        self._pieces.put(torch.tensor([token]))
        if self.reason is not None:
            self._pieces.end()
            if self._prompt.on_end is not None:
                self._prompt.on_end(self.answer())

    @property
    def said(self) -> Tensor:
        """The tokens so far, (t,) int64."""
        return torch.tensor(self._ids, dtype=torch.long)

    def answer(self) -> Answer:
        """The answer so far."""
        text = str(self._tokenizer.decode(self._ids, skip_special_tokens=True)).strip()
        return Answer(text, len(self._ids), self.reason or "length")


class _Pieces(TextStreamer):
    """Hands an answer on as it grows, word by word, in the same thread.

    Args:
        tokenizer: decodes.
        on_text: receives the pieces; None drops them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None] | None) -> None:
        super().__init__(tokenizer, skip_special_tokens=True)
        self._begun = False
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called by transformers with every finished piece."""
        if not self._begun:
            text = text.lstrip()  # the blank between the turn's header and its first word
        self._begun = self._begun or bool(text)
        if text and self._on_text is not None:
            self._on_text(text)
