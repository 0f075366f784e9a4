"""`seagull-tune calibrate` at the command line: its plan, and what it refuses with one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny_data import make_tiny_dataset
from tests.unit.cli.conftest import Run

FEW = ("--set", "calibration.min_regions=20", "--set", "calibration.min_photographs=2")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs for validation, 18 samples of each."""
    return make_tiny_dataset(tmp_path_factory.mktemp("data"), samples_per_image=18, validation=2)


def test_the_plan_changes_nothing(run: Run, tiny_model: Path, dataset: Path) -> None:
    before = sorted(tiny_model.rglob("*"))
    found = run("calibrate", "--model", tiny_model, "--data", dataset, *FEW, "--dry-run")
    assert found.exit_code == 0, found.output
    assert "36 pictures of 2 photographs" in found.stdout and "calibration.json" in found.stdout
    assert "min_photographs: 2" in found.stdout
    assert sorted(tiny_model.rglob("*")) == before


def test_what_cannot_be_done_is_said_in_one_sentence(
    run: Run, refused: Callable[..., str], tiny_model: Path, dataset: Path, tmp_path: Path
) -> None:
    assert "a calibration needs 200 of 5" in refused("calibrate", "--model", tiny_model, "--data", dataset)
    said = refused("calibrate", "--model", tiny_model, "--data", dataset, "--split", "train")
    assert "split" in said and "validation" in said
    assert "checkpoint.json is missing" in refused("calibrate", "--model", tmp_path, "--data", dataset, *FEW)
    assert str(tmp_path) in refused("calibrate", "--model", tiny_model, "--data", tmp_path, *FEW)
