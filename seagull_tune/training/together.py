"""Work that one of several processes does for all: what fails in one ends all of them, and at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from accelerate import PartialState
from torch import distributed

from seagull_tune.errors import TrainingError
from seagull_tune.files import only_run_in

Result = TypeVar("Result")

_PATIENCE = timedelta(hours=12)
"""How long the others wait for the main process, which may compute the frozen front of a large data set meanwhile."""


def main_first(work: Callable[[], Result], what: str) -> Result:
    """Does something in the main process first, then in the others, which find done what it left on disk.

    Every turn ends with word from all to all, over connections between processors (gloo, also beside GPUs) that break
    when a process ends: so the others learn at once that one failed or was killed, not when their patience ends.

    Args:
        work: what every process does.
        what: it is, for messages, after "could not".

    Returns:
        What ``work`` returned in this process.

    Raises:
        TrainingError: it failed in another process, or that process is gone.
        Exception: it failed here; whatever ``work`` raised.
    """
    state = PartialState()
    if state.num_processes == 1:
        return work()
    group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
    if state.is_main_process:
        result = _in_turn(work, group, what)
        _hear(None, group, what)
    else:
        _hear(None, group, what)
        result = _in_turn(work, group, what)
    distributed.destroy_process_group(group)
    return result


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Holds the folder of a run for all its processes: a second run would overwrite its checkpoints.

    Raises:
        DataError: another run works there, or the folder cannot be written.
        TrainingError: the same, in processes other than the main one.
    """
    with ExitStack() as held:

        def hold() -> None:
            if PartialState().is_main_process:
                held.enter_context(only_run_in(out))

        main_first(hold, "begin the run")
        yield


def _in_turn(work: Callable[[], Result], group: Any, what: str) -> Result:
    """Does the work, and tells the others how it went."""
    try:
        result = work()
    except Exception as error:
        with suppress(TrainingError):  # what failed here is what is told here
            _hear(f"{type(error).__name__}: {error}", group, what)
        raise
    _hear(None, group, what)
    return result


def _hear(mine: str | None, group: Any, what: str) -> None:
    """Exchanges with all processes what went wrong in them.

    Args:
        mine: what went wrong here; None where nothing did.

    Raises:
        TrainingError: something went wrong somewhere, or a process is gone.
    """
    said: list[str | None] = [None] * PartialState().num_processes
    try:
        distributed.all_gather_object(said, mine, group=group)
    except RuntimeError as lost:
        raise TrainingError(
            f"Could not {what} together: another process has ended, and its own message says why. Mend that and start "
            "again; what is finished stays."
        ) from lost
    for rank, told in enumerate(said):
        if told is not None:
            raise TrainingError(f"Process {rank} could not {what}: {told}")
