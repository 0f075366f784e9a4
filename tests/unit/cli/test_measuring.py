"""`evaluate` on a data set and `compare`: plans, refusals, and both to the end with a tiny model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seagull_tune.data.reader import RoiDataset
from seagull_tune.model.checkpoint import MANIFEST
from tests.tiny_data import make_tiny_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_dataset(tmp_path_factory.mktemp("measuring") / "data", samples_per_image=2, validation=2)


def test_measured_and_compared(run: Callable, dataset: Path, tiny_model: Path, tmp_path: Path) -> None:
    line = (
        "evaluate", "--model", tiny_model, "--data", dataset, "--set", "protocol.split=validation",
        "--set", "evaluation.bootstrap_draws=10", "--set", "evaluation.texts_per_image=0",
    )  # fmt: skip
    plan = run(*line, "--out", tmp_path / "a" / "metrics.json", "--dry-run")
    assert plan.exit_code == 0, plan.output
    assert "regions of 4 samples" in plan.output and "split validation" in plan.output
    for name, baselines in (("a", "none"), ("b", "box_drawn")):
        result = run(*line, "--out", tmp_path / name / "metrics.json", "--baselines", baselines)
        assert result.exit_code == 0, result.output
    drawn = json.loads((tmp_path / "b" / "metrics.json").read_text())["baselines"]["box_drawn"]
    assert drawn["quality"]["rmse"] > 0 and "importance" not in drawn
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert metrics["split"] == "validation" and metrics["n_photographs"] == 2
    result = run("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c", "--set", "draws=20")
    assert result.exit_code == 0, result.output
    assert "| Quality SRCC |" in result.stdout and "compare.html" in result.stderr
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["compare.html", "compare.md"]


def test_what_cannot_be_measured_is_said_in_a_sentence(
    refused: Callable, dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    mos, rated = "configs/evaluate/mos.yaml", "configs/evaluate/authentic-roi.yaml"
    line = ("evaluate", "--model", tiny_model, "--out", tmp_path / "m.json")
    assert "--data DIR" in refused(*line)
    assert "not on both" in refused(*line, "--data", dataset, "--images", tmp_path)
    assert "needs truth from people" in refused(*line, "--images", tmp_path, "--protocol", mos)
    assert "has no samples in split 'test'" in refused(*line, "--data", dataset, "--dry-run")
    split = ("--data", dataset, "--set", "protocol.split=validation")
    assert "whose truth is 'raters'" in refused(*line, *split, "--protocol", rated, "--dry-run")
    assert "Did you mean" in refused(*line, *split, "--protocol", "configs/evaluate/moss.yaml")
    assert "baselines" in refused(*line, *split, "--baselines", "box-drawn")
    assert "PolyForm" in refused(*line, *split, "--set", "evaluation.crop_metric={metric: brisque}")
    assert list(tmp_path.iterdir()) == []


def test_photographs_of_the_training_measure_nothing(
    refused: Callable, dataset: Path, tiny_model: Path, tmp_path: Path
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    manifest = json.loads((model / MANIFEST).read_text())
    known = RoiDataset(dataset, "validation").photographs
    (model / MANIFEST).write_text(json.dumps({**manifest, "training": {"data": {"photographs": known}}}))
    line = ("evaluate", "--data", dataset, "--model", model, "--set", "protocol.split=validation")
    assert "was trained on 2 of the 2 images" in refused(*line, "--out", tmp_path / "m.json")
    assert not list(tmp_path.glob("m.json*"))


def test_what_cannot_be_compared_is_said_in_a_sentence(refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text("{}")
    assert "two or more" in refused("compare", tmp_path / "odd.json")
    said = refused("compare", tmp_path / "odd.json", tmp_path / "gone", "--out", tmp_path / "out")
    assert "odd.json is no metrics file" in said and "There is no" in said
    assert not (tmp_path / "out").exists()
