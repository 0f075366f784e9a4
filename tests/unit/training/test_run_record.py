"""The record of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seagull_tune.training import run_record
from seagull_tune.training.run_record import git_commit, library_versions, peak_memory_gb, write_record


def test_sections_of_earlier_stages_are_kept(tmp_path: Path) -> None:
    write_record(tmp_path, "pretrain", {"seed": 1}, {"steps": 5})
    write_record(tmp_path, "finetune", {"seed": 2}, {"steps": 7, "log": [{"loss": 0.5}]})
    write_record(tmp_path, "finetune", {"seed": 3}, {"steps": 8})
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["pretrain"]["config"] == {"seed": 1} and record["pretrain"]["steps"] == 5
    assert record["finetune"]["config"] == {"seed": 3} and record["finetune"]["steps"] == 8
    assert record["finetune"]["versions"]["torch"] and record["finetune"]["finished"]
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_record, "_PACKAGES", ("numpy", "no-such-package-at-all"))
    assert set(library_versions()) == {"python", "seagull-tune", "numpy"}


def test_commit_of_a_checkout_or_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commit = git_commit()
    assert commit is None or (len(commit) == 40 and int(commit, 16) >= 0)
    monkeypatch.setattr(run_record, "__file__", str(tmp_path / "seagull_tune" / "run_record.py"))
    assert git_commit() is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() is None, "without git"


def test_memory_is_in_gigabytes() -> None:
    assert 0.02 < peak_memory_gb() < 100
