"""Atomic writes: the old state or the new one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from seagull_tune.errors import DataError
from seagull_tune.files import (
    STAGING_SUFFIX,
    atomic_folder,
    atomic_write,
    atomic_write_text,
    only_run_in,
    why_not_written,
)


def _content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "a" / "model"
    with atomic_folder(target) as staging:
        (staging / "one").write_text("1")
        assert not target.exists() and staging.parent == target.parent
    assert _content(tmp_path) == {"a/model/one": "1"}


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for name in ("old", "new"):
        with atomic_folder(target) as staging:
            (staging / name).write_text(name)
    assert _content(tmp_path) == {"model/new": "new"}


def test_an_error_keeps_the_old_state(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_folder(target) as staging:
        (staging / "old").write_text("old")

    def stops_half_way() -> None:
        with atomic_folder(target) as staging:
            (staging / "new").write_text("new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stops_half_way()
    assert _content(tmp_path) == {"model/old": "old"}


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / f"model{STAGING_SUFFIX}"
    left.mkdir()
    (left / "half").write_text("half")
    with atomic_folder(tmp_path / "model") as staging:
        (staging / "whole").write_text("whole")
    assert _content(tmp_path) == {"model/whole": "whole"}


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment in which the old folder is set aside and the new one not yet in its place."""
    target = tmp_path / "model"
    with atomic_folder(target) as staging:
        (staging / "old").write_text("old")
    real, calls = os.replace, []

    class Killed(BaseException):
        pass

    def dies_at_the_second(source: Path, destination: Path) -> None:
        calls.append(source)
        if len(calls) == 2:
            raise Killed
        real(source, destination)

    monkeypatch.setattr(os, "replace", dies_at_the_second)
    with pytest.raises(Killed), atomic_folder(target) as staging:
        (staging / "new").write_text("new")
    monkeypatch.undo()
    # The next save of any kind starts from the last complete state.
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(target):
        raise RuntimeError("stop")
    assert _content(target) in ({"old": "old"}, {"new": "new"})


def test_text_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run.json"
    atomic_write_text(path, "größe\n")
    assert path.read_bytes() == "größe\n".encode()
    atomic_write_text(path, "new")
    assert [p.name for p in path.parent.iterdir()] == ["run.json"] and path.read_text() == "new"


def test_a_failed_write_keeps_the_old_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    atomic_write_text(path, "old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"


def test_chunks_that_fail_leave_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "labels.json"
    atomic_write(target, (b"[", b"1", b"]"))

    def broken() -> Iterator[bytes]:
        yield b"[2"
        raise ValueError("a bad row")

    with pytest.raises(ValueError, match="a bad row"):
        atomic_write(target, broken())
    assert _content(tmp_path) == {"labels.json": "[1]"}


def test_a_full_disk_is_called_so() -> None:
    assert why_not_written(OSError(errno.ENOSPC, "No space left on device")) == "the disk is full"
    assert "denied" in why_not_written(OSError(errno.EACCES, "Permission denied"))


def test_links_and_streams_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    link = tmp_path / "link"
    link.symlink_to("real")
    atomic_write_text(link, "new")
    assert link.is_symlink() and (tmp_path / "real").read_text() == "new"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic_write_text(pipe, "through")
    assert os.read(reader, 100) == b"through" and pipe.is_fifo()
    os.close(reader)


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    run = tmp_path / "new" / "run"
    for _ in range(2):
        with only_run_in(run):
            with pytest.raises(DataError, match=r"Another run is working in .*new/run"), only_run_in(run):
                pass
            with only_run_in(run.parent):
                pass  # one inside the other is another folder
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/run cannot be written"), only_run_in(tmp_path / "file" / "run"):
        pass
