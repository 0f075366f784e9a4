"""What the worker is asked for: numbers, or the next answer of a conversation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seagull_tune.infer.generation import Answer
from seagull_tune.records import Region, RegionAssessment


@dataclass(eq=False)
class Job:
    """One request, as the worker sees it.

    Attributes:
        image: uint8 (H, W, 3); read only.
        regions: of the photograph.
        deadline: on ``time.monotonic``'s clock; after it nobody waits for the answer.
        future: receives the answer, or why there is none.
    """

    image: np.ndarray
    regions: list[Region]
    deadline: float
    future: Future[Any] = field(default_factory=Future, init=False)
    _gone: threading.Event = field(default_factory=threading.Event, init=False)

    def cut_short(self) -> None:
        """What is being written ends with the next token."""
        self._gone.set()

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self.cut_short()
        self.future.cancel()

    @property
    def unwanted(self) -> bool:
        """Whether an answer would come too late, or is to be cut short."""
        return self._gone.is_set() or time.monotonic() > self.deadline

    def finish(self, result: object) -> None:
        """Gives the answer, if anybody waits for it."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Says why there is none."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(eq=False)
class AssessJob(Job):
    """Numbers for regions, in their order; ``text``: also in words. Answered with a list of assessments."""

    text: bool = False


@dataclass(eq=False)
class ChatJob(Job):
    """The next answer of a conversation. Answered with a :class:`ChatResult`.

    Attributes:
        texts: questions and answers in turn, the question last.
        about: name or number of the region that a question without one is about; None: the only region, if there is
            one, else the whole image.
        max_new_tokens: longest answer.
        numbers: whether the regions' numbers come with it.
        on_text: called, in the worker's thread, with every piece of the answer.
    """

    texts: list[str] = field(default_factory=list)
    about: str | None = None
    max_new_tokens: int = 128
    numbers: bool = False
    on_text: Callable[[str], None] | None = None


@dataclass(frozen=True)
class ChatResult:
    """An answer, the tokens of its prompt, and numbers of the regions where they were asked for."""

    answer: Answer
    prompt_tokens: int
    assessments: list[RegionAssessment]
