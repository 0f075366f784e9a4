"""Progress where there is no terminal: a line now and then, and one at the end."""

from __future__ import annotations

import pytest

from data_builders import progress
from data_builders.progress import progress_bar


def test_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with progress_bar("Reading", "rows") as tick:
        tick(1, 3)
        clock[0] += 20
        tick(2, 3)
        tick(3, 3)
    with progress_bar("Counting", "rows") as tick:
        tick(1, None)
        clock[0] += 20
        tick(2, None)
    with progress_bar("Silent", "rows", show=False) as tick:
        tick(1, 1)
    assert capsys.readouterr().err.splitlines() == [
        "Reading: 2 of 3 rows", "Reading: 3 of 3 rows", "Counting: 2 rows",
    ]  # fmt: skip
