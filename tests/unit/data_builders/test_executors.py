"""Executors: the same results in this process and in others; a dead worker is told."""

from __future__ import annotations

import os

import cv2
import pytest

from data_builders.executors import LocalExecutor, single_threaded
from seagull_tune.errors import DataError


def _square(x: int) -> int:
    return x * x


def _threads(_: int) -> int:
    return cv2.getNumThreads()


def _die(_: int) -> int:
    os._exit(9)


def test_in_process_keeps_order_and_restores_threads() -> None:
    before = cv2.getNumThreads()
    assert list(LocalExecutor(1).run(_square, [3, 1, 2])) == [9, 1, 4]
    assert list(LocalExecutor(4).run(_threads, [0])) == [1]  # one task needs no pool
    assert cv2.getNumThreads() == before
    with single_threaded():
        assert cv2.getNumThreads() == 1


def test_nothing_to_do() -> None:
    assert list(LocalExecutor(4).run(_square, [])) == []


def test_a_dead_worker_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(DataError, match=r"A worker process died.*fewer workers"):
        list(LocalExecutor(2).run(_die, [1, 2]))
