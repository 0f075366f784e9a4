"""A conversation about one photograph: named regions, questions in the user's own words, streamed answers.

The vision side runs once per photograph and set of regions; a question only adds text. Region names in a question
become the regions themselves (``<region N>``, see :func:`~seagull_tune.instructions.converse.free_turn`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from seagull_tune.errors import LimitError, RegionError
from seagull_tune.images import MAX_PIXELS, read_image
from seagull_tune.infer.assessor import JSON_TASK, EncodedPhotograph, RegionAssessor
from seagull_tune.infer.comparison import Comparison, aspect_of, compare
from seagull_tune.infer.generation import Answer, Prompt
from seagull_tune.infer.history import photograph_of, read_history, write_history
from seagull_tune.infer.named_regions import NamedRegions
from seagull_tune.infer.questions import check_question, mark_regions
from seagull_tune.instructions.converse import free_turn, system_message
from seagull_tune.instructions.structured import JsonAnswer, read_json_answer
from seagull_tune.records import Message, Part, Region, RegionAssessment
from seagull_tune.regions.boxes import box_region

DEFAULT_NEW_TOKENS = 128


class ChatSession:
    """A conversation about one photograph.

    Args:
        assessor: the tuned model.
        image: uint8 (H, W, 3) sRGB, or a file.
        source: the file that pixels were read from, for :meth:`save`; None where there is none.

    Attributes:
        image: the photograph, uint8 (H, W, 3).
        source: its file; None where it has none.

    Raises:
        DataError: the photograph cannot be used.
    """

    def __init__(
        self, assessor: RegionAssessor, image: np.ndarray | str | Path, source: str | Path | None = None
    ) -> None:
        self.assessor = assessor
        self.image = read_image(image) if isinstance(image, str | Path) else image
        given = source if isinstance(image, np.ndarray) else image
        self.source = None if given is None else Path(given)
        self._named = NamedRegions(*self.image.shape[:2])
        self._turns: list[Message] = []
        self._encoded: EncodedPhotograph | None = None
        self._assessed: dict[int, RegionAssessment] = {}

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions of the conversation, in the order in which they were added."""
        return tuple(self._named.regions)

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, all different."""
        return tuple(self._named.names)

    @property
    def current(self) -> str | None:
        """Name of the region that a question without any region is about; None is the whole image."""
        return None if self._named.current is None else self._named.names[self._named.current]

    @property
    def turns(self) -> tuple[Message, ...]:
        """Questions and answers so far."""
        return tuple(self._turns)

    def add_region(self, region: Region, name: str = "", known: RegionAssessment | None = None) -> str:
        """Adds a region, which becomes the current one; earlier turns stay.

        Args:
            region: of the photograph's size.
            name: how questions call it; "" takes ``region N``.
            known: its numbers, where it was judged before.

        Returns:
            Its name.

        Raises:
            RegionError: another size than the photograph, or a name that is taken or cannot be one.
        """
        chosen = self._named.add(region, name)
        self._encoded = None
        if known is not None:
            self._assessed[len(self._named) - 1] = known
        return chosen

    def rename(self, names: Sequence[str]) -> None:
        """Calls the regions otherwise from now on; turns that spoke of them still mean them.

        Args:
            names: one per region, all different.

        Raises:
            RegionError: another number of names, or a name that is there twice or cannot be one.
        """
        self._named.rename(names)

    def use(self, region: str | int | None) -> None:
        """Makes a region the current one: by name, by number (from 1, as shown), or None for the whole image.

        Raises:
            RegionError: there is no such region.
        """
        self._named.current = None if region is None else self._named.index_of(region)

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
        turn = self.turn(question, region)
        seen: list[str] = []

        def gather(piece: str) -> None:
            seen.append(piece)
            if on_text is not None:
                on_text(piece)

        try:
            with self.assessor.running():
                (answer,) = self.assessor.answer([self.prompt(turn, max_new_tokens, gather)])
        except KeyboardInterrupt:
            # What was seen stays part of the conversation, so that the next question may refer to it.
            if "".join(seen).strip():
                self.remember(turn, "".join(seen).strip())
            raise
        self.remember(turn, answer.text)
        return answer.text

    def turn(self, question: str, region: str | int | None = None) -> Message:
        """A question as the model reads it; nothing is asked or remembered.

        Args:
            question, region: as for :meth:`ask`.

        Raises:
            DataError, RegionError: as :meth:`ask`.
        """
        about = self._named.current if region is None else self._named.index_of(region)
        check_question(question)
        phrases = self.assessor.prompts.region_phrases if about is not None else ()
        marked = mark_regions(question, self._named.names, phrases, about)
        return free_turn(
            marked, about, self.assessor.prompts, with_image=not self._turns, n_regions=len(self._named.regions)
        )

    def prompt(
        self,
        turn: Message,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        on_end: Callable[[Answer], None] | None = None,
    ) -> Prompt:
        """The whole conversation and a next question, ready for
        :meth:`~seagull_tune.infer.assessor.RegionAssessor.answer`.

        Several sessions of one assessor may be answered at once that way. Call it within ``assessor.running()``.

        Raises:
            DataError: the conversation no longer fits the language model.
        """
        assessor = self.assessor
        model = assessor.model
        messages = [system_message(assessor.prompts), *self._turns, turn]
        encoded = assessor.processor.encode(messages, add_generation_prompt=True)
        self._check_length(len(encoded.input_ids), max_new_tokens)
        ids = torch.tensor([encoded.input_ids], device=assessor.device)
        mentions = torch.tensor(
            [place.region for place in encoded.region_positions], dtype=torch.long, device=ids.device
        )
        photograph = self._photograph()
        embeddings = model.embed(
            ids, model.project_image(photograph.grid), assessor.loud_tokens(photograph)[mentions],
            torch.tensor([len(mentions)], device=ids.device),
        )  # fmt: skip
        return Prompt(embeddings[0], max_new_tokens, on_text, cancelled, on_end)

    def remember(self, turn: Message, answer: str) -> None:
        """Makes a question (of :meth:`turn`) and its answer part of the conversation."""
        self._turns += [turn, Message("assistant", (Part(text=answer),))]

    def ask_in_json(self, question: str = "", region: str | int | None = None) -> JsonAnswer:
        """Asks for JSON about a region; a grammar keeps the answer valid. Both become part of the conversation.

        Args:
            question: in the user's own words; "" takes the one that the model was tuned with.
            region: as of :meth:`ask`.

        Raises:
            DataError, RegionError: as :meth:`ask`; or there is no region, or no question for JSON in the prompts.
            MissingDependencyError: xgrammar is not installed.
        """
        about = self._named.current if region is None else self._named.index_of(region)
        if not question:
            if about is None:
                raise RegionError("JSON is about a region; add one first, or name one.")
            mark = f"<region {about + 1}>"
            question = self.assessor.prompts.task(JSON_TASK).questions[0].replace("{region}", mark)
        turn, grammar = self.turn(question, region), self.assessor.json_grammar
        with self.assessor.running():
            (answer,) = self.assessor.answer([self.prompt(turn, grammar.max_new_tokens)], grammar)
        self.remember(turn, answer.text)
        return read_json_answer(answer.text)

    def assess(self, region: str | int | None = None) -> list[RegionAssessment]:
        """Numbers for one region, or for all of the conversation.

        Raises:
            RegionError: there is no such region, or none at all.
        """
        wanted = range(len(self._named.regions)) if region is None else (self._named.index_of(region),)
        if not wanted:
            raise RegionError("The conversation has no region yet; add one first, for example /box 10,20,200,300.")
        new = [index for index in wanted if index not in self._assessed]
        if new:
            answers = self.assessor.assess(self.image, [self._named.regions[index] for index in new])
            self._assessed.update(zip(new, answers, strict=True))
        return [self._assessed[index] for index in wanted]

    def compare(self, first: str | int, second: str | int, aspect: str = "quality") -> Comparison:
        """Which of two regions is better, or has more of a distortion, with the numbers of both.

        The answer rests on token probabilities, not on generated text, and is no turn of the conversation.

        Args:
            first, second: names or numbers (from 1).
            aspect: ``quality``, ``importance`` or a distortion type.

        Raises:
            RegionError: there is no such region, or it is the same one twice.
            ConfigError: there is no such aspect.
        """
        one, other = self._named.index_of(first), self._named.index_of(second)
        if one == other:
            raise RegionError(f"A comparison needs two regions; {self._named.names[one]!r} was named twice.")
        answers = (self.assess(one + 1)[0], self.assess(other + 1)[0])
        return compare(*answers, names=(self._named.names[one], self._named.names[other]), aspect=aspect)

    def evidence(self, question: str) -> Comparison | None:
        """The numbers behind a question about two regions ("which is blurrier, face or sky?"): the first two that it
        names, in the aspect that it asks about. None where it names fewer."""
        turn = self.turn(question)
        named = list(dict.fromkeys(part.region for part in turn.parts if part.region is not None))
        return None if len(named) < 2 else self.compare(named[0] + 1, named[1] + 1, aspect_of(question))

    def save(self, file: str | Path) -> None:
        """Writes the conversation to a JSON file, whole or not at all; an existing file is replaced.

        Raises:
            DataError: it cannot be written.
        """
        write_history(
            Path(file), self.image, self.source, self.assessor.name, self._named.regions, self._named.names,
            self._named.current, self._turns,
        )  # fmt: skip

    @classmethod
    def load(
        cls,
        assessor: RegionAssessor,
        file: str | Path,
        image: np.ndarray | str | Path | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> ChatSession:
        """Goes on with a saved conversation; its answers stay as they were given, also by another model.

        Args:
            assessor: the model that answers from now on.
            file: of :meth:`save`.
            image: the photograph, where it is not where the file says.
            max_pixels: photographs with more pixels are refused.

        Raises:
            DataError: the file is no saved conversation, or the photograph is missing or has changed.
            RegionError: a region that is damaged, or has a name that cannot be one.
        """
        path = Path(file)
        history = read_history(path)
        pixels = photograph_of(history, path, image, max_pixels)
        recorded = None if history.image.path is None else path.parent / history.image.path
        session = cls(assessor, pixels, recorded if image is None or isinstance(image, np.ndarray) else image)
        try:
            for region in history.records():
                session.add_region(region, region.name)
        except RegionError as error:
            raise RegionError(f"{path}: {error}") from error
        session._named.current = None if history.current is None else history.current - 1
        session._turns = history.messages()
        return session

    def _photograph(self) -> EncodedPhotograph:
        """The vision side's result, computed anew only when regions were added."""
        if self._encoded is None:
            height, width = self.image.shape[:2]
            # The front needs a region; without one, the whole image stands in and is never mentioned.
            regions: Sequence[Region] = self._named.regions or [box_region((0, 0, width, height), height, width)]
            self._encoded = self.assessor.encode(self.image, regions)
        return self._encoded

    def _check_length(self, n_tokens: int, max_new_tokens: int) -> None:
        limit = getattr(self.assessor.model.config.text_config, "max_position_embeddings", None)
        if limit is not None and n_tokens + max_new_tokens > limit:
            remedy = "Start over with /reset (ChatSession.reset)" if self._turns else "Ask a shorter question"
            raise LimitError(
                f"The conversation has {n_tokens:,} tokens and the answer may take {max_new_tokens:,} more; the "
                f"language model reads at most {limit:,}. {remedy}, or allow shorter answers (max_new_tokens)."
            )
