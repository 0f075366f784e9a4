"""The record of a run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from seagull_tune.errors import TrainingError
from seagull_tune.training import run_record
from seagull_tune.training.run_record import (
    begin_record,
    config_hash,
    git_commit,
    library_versions,
    peak_memory_gb,
    write_record,
)


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


def test_the_commit_of_a_repository_that_only_contains_the_environment_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in ``site-packages`` of an environment inside another project's checkout."""
    if shutil.which("git") is None:
        pytest.skip("no git")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x@y.z"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    installed = tmp_path / "run_record.py"
    installed.touch()
    monkeypatch.setattr(run_record, "__file__", str(installed))
    assert git_commit() is None
    subprocess.run([*git, "add", "run_record.py"], check=True)
    commit = git_commit()
    assert commit is not None and len(commit) == 40


def test_a_run_that_was_cut_off_and_resumed_says_so(tmp_path: Path) -> None:
    def section() -> dict[str, Any]:
        return dict(json.loads((tmp_path / "run.json").read_text())["train"])

    begin_record(tmp_path, "train", {"seed": 1}, {"engine": "ddp"})
    first = section()
    assert first["resumed_from"] == [] and first["engine"] == "ddp" and "finished" not in first
    begin_record(tmp_path, "train", {"seed": 1}, {"engine": "ddp"}, resumed_from="checkpoint-5")
    begin_record(tmp_path, "train", {"seed": 1}, {"engine": "ddp"}, resumed_from="checkpoint-10")
    write_record(tmp_path, "train", {"seed": 1}, {"engine": "ddp", "steps": 12})
    last = section()
    assert [entry["checkpoint"] for entry in last["resumed_from"]] == ["checkpoint-5", "checkpoint-10"]
    assert last["started"] == first["started"] <= last["finished"] and last["steps"] == 12
    begin_record(tmp_path, "train", {"seed": 1}, {})
    assert section()["resumed_from"] == [], "a run from the beginning is another run"


def test_the_hash_of_a_configuration_does_not_depend_on_the_order_of_keys() -> None:
    assert config_hash({"a": 1, "b": {"c": 2, "d": 3}}) == config_hash({"b": {"d": 3, "c": 2}, "a": 1})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_a_damaged_record_and_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{half")
    with pytest.raises(TrainingError, match=r"run\.json is damaged .*Remove it"):
        write_record(tmp_path, "train", {}, {})
    with pytest.raises(TrainingError, match="cannot be written"):
        write_record(tmp_path / "run.json", "train", {}, {})


def test_memory_is_in_gigabytes() -> None:
    assert 0.02 < peak_memory_gb() < 100
