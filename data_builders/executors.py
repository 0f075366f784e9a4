"""Runs independent tasks in this process or in a pool of processes; results never depend on which."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
from threadpoolctl import threadpool_limits

from seagull_tune.errors import DataError

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """One thread for OpenCV, BLAS and OpenMP: sums do not depend on the cores, and workers do not crowd them."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cv2.setNumThreads(threads)


def run_tasks(function: Callable[[Task], Result], tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Yield ``function(task)`` for every task as they finish (in order with one worker).

    Args:
        function: a module-level function; with several workers it runs in fresh processes.
        tasks: picklable arguments.
        workers: processes; 1 stays in this process.

    Raises:
        DataError: a worker process died.
        Whatever ``function`` raises; the tasks that have not begun are dropped then.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        for task in tasks:
            with single_threaded():
                result = function(task)
            yield result
        return
    # "spawn": a fork of a process that already runs threads (progress, BLAS) may deadlock.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        for future in as_completed([pool.submit(function, task) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise DataError(
            f"A worker process died (most often for lack of memory; {workers} workers ran). Finished shards are kept: "
            "run again, with fewer workers or a max_side."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threadpool_limits(limits=1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever, and might still write."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
