"""One visitor's place at the desk: the state that outlives an event, changed by one event at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from threading import Event, Lock
from typing import Any

from seagull_tune.errors import SeagullError
from seagull_tune.web.desk import Desk, Talk
from seagull_tune.web.picture import SCORES
from seagull_tune.web.state import Visit

STOPPED = " (stopped)"
"""What is put behind an answer that was not written to its end."""


class Visitor:
    """What the page keeps for one browser tab. Every tab has its own: a copy of it is always a new one.

    Attributes:
        visit: photograph and regions.
        talk: the conversation about them.
        by: what the colours mean, one of :data:`~seagull_tune.web.picture.SCORES`; kept here and not sent with every
            event, so that one that takes long is shown in the colours that were chosen meanwhile.
    """

    def __init__(self) -> None:
        self.visit = Visit()
        self.talk = Talk()
        self.by = SCORES[0]
        self._stop = Event()  # of the answer that is being written; another one has another
        self._changing = Lock()  # an event that is slow never overwrites what a later one did

    def __deepcopy__(self, memo: dict[int, Any]) -> Visitor:
        return Visitor()

    def act(self, action: Callable[[Visit], Visit]) -> Visit:
        """Changes the visit; what is wrong becomes its note, and nothing else changes."""
        with self._changing:
            try:
                self.visit = action(self.visit)
            except SeagullError as error:
                self.visit = self.visit.says(str(error), problem=True)
            return self.visit

    def stop(self) -> None:
        """Ends the answer that is being written, at its next piece."""
        self._stop.set()

    def forget_talk(self) -> None:
        """Ends the conversation: the photograph or the regions that it was about are gone."""
        self.stop()
        self._stop = Event()  # an answer that still runs no longer has a place to go
        self.talk = Talk()

    def ask(self, desk: Desk, question: str) -> Generator[Talk, None, None]:
        """The conversation after every piece of an answer; what was stopped, or closed, stays as far as it came.

        Raises:
            SeagullError: the question cannot be answered; the conversation is as it was before.
        """
        before, stop = self.talk, Event()
        self._stop = stop
        complete = False
        stream = desk.ask(self.visit, before, question)
        try:
            for talk in stream:
                if stop.is_set():
                    break
                self.talk = talk
                yield talk
            else:
                complete = True
        except SeagullError:
            self.talk, complete = before, True
            raise
        finally:
            stream.close()
            if not complete and self._stop is stop and self.talk.lines[len(before.lines) :]:
                *lines, last = self.talk.lines
                stopped = replace(last, answer=last.answer.rstrip() + STOPPED)
                self.talk = Talk(self.talk.session, (*lines, stopped))
        if not complete:
            yield self.talk
