"""A conversation about one photograph: named regions, questions in the user's own words, streamed answers.

The vision side runs once per photograph and set of regions; a question only adds text. Region names in a question
become the regions themselves (``<region N>``, see :func:`~seagull_tune.instructions.converse.free_turn`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, TextStreamer

from seagull_tune.errors import DataError, RegionError, did_you_mean
from seagull_tune.files import is_unicode
from seagull_tune.images import read_image
from seagull_tune.infer.assessor import JSON_TASK, EncodedPhotograph, RegionAssessor
from seagull_tune.infer.grammar import JsonGrammar
from seagull_tune.instructions.converse import free_turn, system_message
from seagull_tune.instructions.structured import JsonAnswer, read_json_answer
from seagull_tune.records import Message, Part, Region, RegionAssessment
from seagull_tune.regions.boxes import box_region

MAX_QUESTION = 20_000
"""Most characters of one question; a longer one is a file pasted by mistake."""

MAX_NAME = 40
"""Most characters of a region's name."""

DEFAULT_NEW_TOKENS = 128

_NAME = re.compile(r"[^\W_](?:[\w .-]*[^\W_])?")


class ChatSession:
    """A conversation about one photograph.

    Args:
        assessor: the tuned model.
        image: uint8 (H, W, 3) sRGB, or a file.

    Raises:
        DataError: the photograph cannot be used.
    """

    def __init__(self, assessor: RegionAssessor, image: np.ndarray | str | Path) -> None:
        self.assessor = assessor
        self.image = read_image(image) if isinstance(image, str | Path) else image
        self._regions: list[Region] = []
        self._names: list[str] = []
        self._turns: list[Message] = []
        self._encoded: EncodedPhotograph | None = None
        self._current: int | None = None

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions of the conversation, in the order in which they were added."""
        return tuple(self._regions)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, all different."""
        return tuple(self._names)

    @property
    def current(self) -> str | None:
        """Name of the region that a question without any region is about; None is the whole image."""
        return None if self._current is None else self._names[self._current]

    @property
    def turns(self) -> tuple[Message, ...]:
        """Questions and answers so far."""
        return tuple(self._turns)

    def add_region(self, region: Region, name: str = "") -> str:
        """Adds a region, which becomes the current one; earlier turns stay.

        Args:
            region: of the photograph's size.
            name: how questions call it; "" takes ``region N``.

        Returns:
            Its name.

        Raises:
            RegionError: another size than the photograph, or a name that is taken or cannot be one.
        """
        height, width = self.image.shape[:2]
        if (region.height, region.width) != (height, width):
            raise RegionError(
                f"The region belongs to an image of {region.width}x{region.height} pixels; this has {width}x{height}."
            )
        chosen = self._checked_name(name.strip() or f"region {len(self._regions) + 1}")
        self._regions.append(region)
        self._names.append(chosen)
        self._current = len(self._regions) - 1
        self._encoded = None
        return chosen

    def use(self, region: str | int | None) -> None:
        """Makes a region the current one: by name, by number (from 1, as shown), or None for the whole image.

        Raises:
            RegionError: there is no such region.
        """
        self._current = None if region is None else self._index_of(region)

    def reset(self) -> None:
        """Forgets the turns; photograph and regions stay."""
        self._turns.clear()

    def ask(
        self,
        question: str,
        region: str | int | None = None,
        on_text: Callable[[str], None] | None = None,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
    ) -> str:
        """Asks a question; question and answer become part of the conversation.

        Args:
            question: in the user's own words. Names of regions in it stand for the regions.
            region: what it is about where it names none: a name or number (from 1); None takes the current one.
            on_text: called with every piece of the answer as it is written.
            max_new_tokens: longest answer, in tokens.

        Returns:
            The answer, without surrounding blanks.

        Raises:
            DataError: the question is empty or too long, or the conversation no longer fits the language model.
            RegionError: there is no such region.
        """
        about = self._current if region is None else self._index_of(region)
        turn = self._turn(question, about)
        messages = [system_message(self.assessor.prompts), *self._turns, turn]
        streamer = _Pieces(self.assessor.processor.tokenizer, on_text)
        try:
            answer = self._generate(messages, streamer, max_new_tokens)
        except KeyboardInterrupt:
            # What was seen stays part of the conversation, so that the next question may refer to it.
            if streamer.text.strip():
                self._remember(turn, streamer.text.strip())
            raise
        self._remember(turn, answer)
        return answer

    def ask_in_json(self, question: str = "", region: str | int | None = None) -> JsonAnswer:
        """Asks for JSON about a region; a grammar keeps the answer valid. Both become part of the conversation.

        Args:
            question: in the user's own words; "" takes the one that the model was tuned with.
            region: as of :meth:`ask`.

        Raises:
            DataError, RegionError: as :meth:`ask`; or there is no region, or no question for JSON in the prompts.
            MissingDependencyError: xgrammar is not installed.
        """
        about = self._current if region is None else self._index_of(region)
        if not question:
            if about is None:
                raise RegionError("JSON is about a region; add one first, or name one.")
            mark = f"<region {about + 1}>"
            question = self.assessor.prompts.task(JSON_TASK).questions[0].replace("{region}", mark)
        turn = self._turn(question, about)
        messages = [system_message(self.assessor.prompts), *self._turns, turn]
        grammar = self.assessor.json_grammar
        streamer = _Pieces(self.assessor.processor.tokenizer, None)
        answer = self._generate(messages, streamer, grammar.max_new_tokens, grammar)
        self._remember(turn, answer)
        return read_json_answer(answer)

    def assess(self, region: str | int | None = None) -> list[RegionAssessment]:
        """Numbers for one region, or for all of the conversation.

        Raises:
            RegionError: there is no such region, or none at all.
        """
        regions = self.regions if region is None else (self._regions[self._index_of(region)],)
        if not regions:
            raise RegionError("The conversation has no region yet; add one first, for example /box 10,20,200,300.")
        return self.assessor.assess(self.image, regions)

    def _remember(self, turn: Message, answer: str) -> None:
        self._turns += [turn, Message("assistant", (Part(text=answer),))]

    def _turn(self, question: str, about: int | None) -> Message:
        check_question(question)
        phrases = self.assessor.prompts.region_phrases if about is not None else ()
        marked = mark_regions(question, self._names, phrases, about)
        return free_turn(marked, about, self.assessor.prompts, with_image=not self._turns, n_regions=len(self._regions))

    def _checked_name(self, name: str) -> str:
        if len(name) > MAX_NAME or not _NAME.fullmatch(name):
            raise RegionError(
                f"{name[: MAX_NAME + 10]!r} cannot name a region; allowed: letters, digits, blanks, '.', '_' and '-', "
                f"with a letter or digit at both ends, at most {MAX_NAME} characters."
            )
        if name.lower() in (known.lower() for known in self._names):
            raise RegionError(f"There is a region {name!r} already; choose another name.")
        return name

    def _index_of(self, region: str | int) -> int:
        if isinstance(region, str) and not region.strip().isdecimal():
            names = [name.lower() for name in self._names]
            if region.strip().lower() in names:
                return names.index(region.strip().lower())
            hint = did_you_mean(region, self._names) if self._names else " The conversation has none yet."
            raise RegionError(f"There is no region {region!r}.{hint}")
        number = int(region)
        if not 1 <= number <= len(self._regions):
            known = f"1 to {len(self._regions)}" if self._regions else "none yet"
            raise RegionError(f"There is no region {number}; regions of this conversation: {known}.")
        return number - 1

    def _photograph(self) -> EncodedPhotograph:
        """The vision side's result, computed anew only when regions were added."""
        if self._encoded is None:
            height, width = self.image.shape[:2]
            # The front needs a region; without one, the whole image stands in and is never mentioned.
            regions: Sequence[Region] = self._regions or [box_region((0, 0, width, height), height, width)]
            self._encoded = self.assessor.encode(self.image, regions)
        return self._encoded

    def _generate(
        self,
        messages: Sequence[Message],
        streamer: _Pieces,
        max_new_tokens: int,
        grammar: JsonGrammar | None = None,
    ) -> str:
        assessor = self.assessor
        model, tokenizer = assessor.model, assessor.processor.tokenizer
        encoded = assessor.processor.encode(messages, add_generation_prompt=True)
        self._check_length(len(encoded.input_ids), max_new_tokens)
        ids = torch.tensor([encoded.input_ids], device=assessor.device)
        mentions = torch.tensor(
            [place.region for place in encoded.region_positions], dtype=torch.long, device=ids.device
        )
        with assessor.running():
            photograph = self._photograph()
            regions = assessor.loud_tokens(photograph)[mentions]  # (M, T, D)
            embeddings = model.embed(
                ids, model.project_image(photograph.grid), regions,
                torch.tensor([len(mentions)], device=ids.device),
            )  # fmt: skip
            generated = model.generate(
                inputs_embeds=embeddings, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens,
                do_sample=False, streamer=streamer, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=assessor.processor.padding_id,
                logits_processor=None if grammar is None else grammar.processors(),
            )  # fmt: skip
        return str(tokenizer.decode(generated[0], skip_special_tokens=True)).strip()

    def _check_length(self, n_tokens: int, max_new_tokens: int) -> None:
        limit = getattr(self.assessor.model.config.text_config, "max_position_embeddings", None)
        if limit is not None and n_tokens + max_new_tokens > limit:
            remedy = "Start over with /reset (ChatSession.reset)" if self._turns else "Ask a shorter question"
            raise DataError(
                f"The conversation has {n_tokens:,} tokens and the answer may take {max_new_tokens:,} more; the "
                f"language model reads at most {limit:,}. {remedy}, or allow shorter answers (max_new_tokens)."
            )


def check_question(question: str) -> None:
    """Refuses what cannot be a question, before any model is loaded.

    Raises:
        DataError: empty, too long, or of bytes that are no text.
    """
    if not question.strip():
        raise DataError("The question is empty; a question needs at least one word.")
    if len(question) > MAX_QUESTION:
        raise DataError(f"The question has {len(question):,} characters; allowed: {MAX_QUESTION:,}. Ask a shorter one.")
    if not is_unicode(question):
        raise DataError(f"The question {question[:80]!a} is not UTF-8. Type it in a terminal that is set to UTF-8.")


def mark_regions(question: str, names: Sequence[str], phrases: Sequence[str] = (), current: int | None = None) -> str:
    """Names of regions in a question as ``<region N>``; marks that are there already stay.

    The longest name goes first, so that "left eye" is not taken for "eye". Where a question names a region, the phrases
    for the current one ("this region") become its mark too; where it names none, they are left to
    :func:`~seagull_tune.instructions.converse.free_turn`.

    Args:
        question: as it was typed.
        names: the regions' names, in order.
        phrases: what stands for the current region.
        current: its index; None where there is none.
    """
    numbers = {name.lower(): index + 1 for index, name in enumerate(names)}
    known = sorted({*numbers, *(phrase.lower() for phrase in phrases)}, key=len, reverse=True)
    if not numbers:
        return question
    pattern = re.compile(r"<region \d+>|\b(?:" + "|".join(map(re.escape, known)) + r")\b", re.IGNORECASE)
    found = [match.group().lower() for match in pattern.finditer(question)]
    if not any(word in numbers or word.startswith("<") for word in found):
        return question

    def mark(match: re.Match[str]) -> str:
        word = match.group()
        if word.startswith("<"):
            return word
        number = numbers.get(word.lower(), None if current is None else current + 1)
        return word if number is None else f"<region {number}>"

    return pattern.sub(mark, question)


class _Pieces(TextStreamer):
    """Hands the answer on as it grows, word by word, in the same thread.

    Args:
        tokenizer: decodes.
        on_text: receives the pieces; None only gathers them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None] | None) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.text = ""
        self._on_text = on_text

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called by transformers with every finished piece."""
        if not self.text:
            text = text.lstrip()  # the blank between the turn's header and its first word
        self.text += text
        if text and self._on_text is not None:
            self._on_text(text)
