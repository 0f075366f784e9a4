"""What holds for every import: whole or not at all, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest

from data_builders.importers import ImportSummary
from seagull_tune.errors import DataError

Bring = Callable[..., ImportSummary]


def test_folders_in_use_are_refused(bring: Bring, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("x")
    with pytest.raises(DataError, match="holds something already"):
        bring(tmp_path / "full", format="seagull", source=exported)
    running = filelock.FileLock(tmp_path / ".out.lock")
    with running, pytest.raises(DataError, match="Another import is running"):
        bring(tmp_path / "out", format="seagull", source=exported)


def test_a_full_disk_is_told(bring: Bring, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(DataError, match=r"the disk is full\. Nothing of the import was kept"):
        bring(tmp_path / "out", format="seagull", source=exported)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    monkeypatch.setattr("data_builders.importers.atomic_write_text", full)  # the manifest, at the end
    with pytest.raises(DataError, match=r"out cannot be written: the disk is full\. Nothing"):
        bring(tmp_path / "out", format="seagull", source=exported)
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()
