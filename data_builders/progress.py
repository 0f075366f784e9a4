"""Progress of long work: a bar on a terminal, now and then a line elsewhere (a log, CI)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Tick = Callable[[int, int | None], None]
"""Called with (done, total); total is None where nobody knows it yet."""

_SECONDS_BETWEEN_LINES = 15.0


@contextlib.contextmanager
def progress_bar(title: str, unit: str, show: bool = True) -> Iterator[Tick]:
    """Yields a function to be called with (done, total); it writes to standard error.

    Args:
        title: what is being done.
        unit: what is counted.
        show: False is silent.
    """
    console = Console(stderr=True)
    if not show:
        yield lambda done, total: None
    elif not console.is_terminal:
        yield _line_writer(title, unit)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _line_writer(title: str, unit: str) -> Tick:
    last = time.monotonic()

    def tick(done: int, total: int | None) -> None:
        nonlocal last
        if (total is None or done < total) and time.monotonic() - last < _SECONDS_BETWEEN_LINES:
            return
        last = time.monotonic()
        count = f"{done}" if total is None else f"{done} of {total}"
        print(f"{title}: {count} {unit}", file=sys.stderr, flush=True)

    return tick
