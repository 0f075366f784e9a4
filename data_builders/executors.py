"""Runs independent tasks in this process, in a pool of processes, or on a Ray cluster; results never depend on which.

A task writes what it makes as files that appear whole or not at all, so a task that is lost with its process is simply
run again. On a cluster every machine sees the folders of the photographs and of the data set under one path.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import cv2
from threadpoolctl import threadpool_limits

from seagull_tune.config.data import BuildConfig
from seagull_tune.errors import DataError, MissingDependencyError

_POLL_SECONDS = 2.0
"""How often a cluster that has nothing to report is asked whether it is still there."""
_MISSES = 5
"""A cluster whose head was asked so often in a row without an answer is gone: after 10 seconds where it refuses, 20
where it is silent; Ray itself ends the process after a minute. Questions are counted, not seconds, because seconds also
pass while this process gets no processor time."""

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


class Executor(Protocol):
    """Where tasks run."""

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yield ``function(task)`` for every task as they finish.

        Args:
            function: a module-level function; it may run in another process, and more than once for one task.
            tasks: picklable arguments.

        Raises:
            DataError: the place where they ran is gone.
            Whatever ``function`` raises; the tasks that have not begun are dropped then.
        """
        ...


def make_executor(config: BuildConfig) -> Executor:
    """The executor of a configuration; starts nothing."""
    if config.executor == "ray":
        on_gpu = config.regions.method == "sam" and config.regions.sam.device.startswith("cuda")
        return RayExecutor(config.workers, config.ray_address, gpus=1.0 if on_gpu else 0.0)
    return LocalExecutor(config.workers)


@dataclass(frozen=True)
class LocalExecutor:
    """Fresh processes of this machine. See :class:`Executor`.

    Attributes:
        workers: processes; 1 stays in this process, and keeps the order.
    """

    workers: int

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """As :meth:`Executor.run`; a worker process that died is a DataError."""
        workers = min(self.workers, len(tasks))
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
                f"A worker process died (most often for lack of memory; {workers} workers ran). Finished shards are "
                "kept: run again, with fewer workers or a max_side."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class RayExecutor:
    """Actors of a Ray cluster, one task each at a time. See :class:`Executor`.

    An actor keeps what is dear to load (SAM's weights) from task to task; one that dies is started again, elsewhere if
    need be, and so is its task.

    Attributes:
        workers: actors.
        address: of the cluster, as ``ray.init`` takes it; None starts one on this machine for the time of the call.
        gpus: share of a GPU that every actor holds.
    """

    workers: int
    address: str | None = None
    gpus: float = 0.0

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """As :meth:`Executor.run`; a cluster that cannot be reached, or goes away, is a DataError.

        Raises:
            MissingDependencyError: ray is not installed.
        """
        if not tasks:
            return
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError(
                "executor 'ray' needs Ray: pip install 'seagull-tune[cluster]', on every machine of the cluster."
            ) from error
        workers = min(self.workers, len(tasks))
        if self.address is not None and ":" in self.address and not _answers(self.address):
            raise self._not_there("nothing answers there")  # Ray itself would try for minutes
        try:
            own = {"num_cpus": workers, "include_dashboard": False} if self.address is None else {}
            ray.init(address=self.address or "local", log_to_driver=False, logging_level="error", **own)
        except Exception as error:  # Ray raises bare ones where starting takes too long
            raise self._not_there(str(error)) from error
        try:
            yield from self._run_on(ray, workers, function, tasks)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except (ConnectionError, ray.exceptions.RayError) as error:
            raise _cluster_gone(self.address, str(error).splitlines()[0]) from error
        finally:
            ray.shutdown()

    def _not_there(self, reason: str) -> DataError:
        return DataError(
            f"The Ray cluster {self.address or 'of this machine'} cannot be reached or started: {reason}. Start one "
            "with `ray start --head`, and name it with ray_address."
        )

    def _run_on(
        self, ray: Any, workers: int, function: Callable[[Task], Result], tasks: Sequence[Task]
    ) -> Iterator[Result]:
        """Give every free actor a task until none is left; look after the cluster while nothing comes back."""
        options = {"num_cpus": 1, "num_gpus": self.gpus, "max_restarts": -1, "max_task_retries": -1}
        actor = ray.remote(_Actor).options(**options)
        head, misses = ray.get_runtime_context().gcs_address, 0
        free = [actor.remote() for _ in range(workers)]
        left = list(reversed(tasks))
        running: dict[Any, Any] = {}
        while left or running:
            while left and free:
                worker = free.pop()
                running[worker.call.remote(function, left.pop())] = worker
            ready, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for reference in ready:
                free.append(running.pop(reference))
                yield ray.get(reference)
            misses = 0 if ready or _answers(head) else misses + 1
            if misses == _MISSES:
                raise _cluster_gone(self.address, f"its head {head} no longer answers")


class _Actor:
    """One worker of a Ray cluster."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        threadpool_limits(limits=1)

    def call(self, function: Callable[[Any], Any], task: Any) -> Any:
        return function(task)


def _answers(address: str) -> bool:
    """Whether something listens at HOST:PORT; ``ray://HOST:PORT`` is its client's form."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_POLL_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _cluster_gone(address: str | None, reason: str) -> DataError:
    return DataError(
        f"The Ray cluster {address or 'of this machine'} went away: {reason}. Finished shards are kept: bring the "
        "cluster back and run the same command again; it goes on where it was."
    )


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
