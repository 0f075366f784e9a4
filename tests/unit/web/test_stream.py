"""Pieces of an answer: in order, with their error, and no further than somebody reads."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

import pytest

from seagull_tune.errors import DataError
from seagull_tune.web.stream import pieces_of


def test_pieces_come_in_order_and_empty_ones_do_not_end_them() -> None:
    def write(on_text: Callable[[str], None]) -> None:
        for piece in ("a", "", "b", "c"):
            on_text(piece)

    assert list(pieces_of(write, Lock())) == ["a", "b", "c"]


def test_an_error_reaches_the_reader_after_what_was_written() -> None:
    def write(on_text: Callable[[str], None]) -> None:
        on_text("a")
        raise DataError("too long")

    pieces = pieces_of(write, Lock())
    assert next(pieces) == "a"
    with pytest.raises(DataError, match="too long"):
        next(pieces)


def test_a_writer_that_nobody_reads_is_stopped() -> None:
    stopped = Event()

    def write(on_text: Callable[[str], None]) -> None:
        try:
            while True:
                on_text("a")
        finally:
            stopped.set()

    pieces = pieces_of(write, Lock())
    next(pieces)
    pieces.close()
    assert stopped.wait(60)
