"""An answer that is written in a thread of its own, and read piece by piece. Who stops reading stops the writing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from queue import Queue
from threading import Event, Thread

_END = ""


class _Closed(Exception):
    """Nobody reads any more; raised in the writer's thread, between two pieces."""


def pieces_of(
    write: Callable[[Callable[[str], None]], object], turn: AbstractContextManager[object]
) -> Generator[str, None, None]:
    """The pieces that ``write`` hands to the function it is called with, as they come.

    Args:
        write: runs in a thread of its own; where the reader is gone, the function that it is given raises.
        turn: is held while it runs, for example a lock.

    Raises:
        BaseException: whatever ``write`` raised.
    """
    queue: Queue[str | BaseException] = Queue()
    closed = Event()

    def on_text(piece: str) -> None:
        if closed.is_set():
            raise _Closed
        if piece:
            queue.put(piece)

    def run() -> None:
        try:
            with turn:
                write(on_text)
            queue.put(_END)
        except _Closed:
            queue.put(_END)
        except BaseException as error:  # noqa: BLE001 - raised again where the pieces are read
            queue.put(error)

    Thread(target=run, name="answer", daemon=True).start()
    try:
        while (piece := queue.get()) != _END:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        closed.set()
