"""Places in checkpoints: relative inside one run, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from seagull_tune.config.train import TrainConfig
from seagull_tune.model.places import PLACES, near, portable


def test_data_and_start_are_kept_relative_to_the_checkpoint_where_they_are_near(tmp_path: Path) -> None:
    run = tmp_path / "run"
    places = {key: str(run / key) for key in PLACES} | {"out": str(run / "finetune")}
    config = TrainConfig.model_validate({**places, "init": str(run / "pretrain" / "model")}).model_dump(mode="json")
    told = portable(config, run / "finetune" / "model")
    assert {key: value for key, value in told.items() if key in PLACES} == {
        "data": "../../data", "init": "../../pretrain/model"
    }  # fmt: skip
    assert "model" not in told, "of a new model, which was not read"
    assert told["optimisation"] == config["optimisation"] and str(tmp_path) not in str(told)


def test_what_is_far_away_is_not_told(tmp_path: Path) -> None:
    config = TrainConfig.model_validate({"out": "out", "data": "/mnt/secret/data"}).model_dump(mode="json")
    told = portable(config, tmp_path / "runs" / "mine" / "model")
    assert not told.keys() & set(PLACES) and "secret" not in str(told)
    assert told["model"] == config["model"]


def test_relative_places_start_where_they_are_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert portable({"data": "runs/data"}, Path("runs/mine/model"))["data"] == "../../data"
    # A merged copy elsewhere in the same run, and one that left it.
    moved = {"data": "../../data"}
    start = tmp_path / "runs" / "mine" / "model"
    assert portable(moved, tmp_path / "runs" / "merged", start)["data"] == "../data"
    assert portable(moved, tmp_path / "far" / "far" / "far" / "merged", start) == {}
    assert near(tmp_path / "a", tmp_path / "a") == "."
