"""A build that is killed: the same shards as one that was not, and no process stays behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_builders.pipeline import build_dataset
from data_builders.validate import validate_dataset
from tests.tiny_builds import config_of, content, finished, halves, kill_in_the_middle

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halves(tmp_path_factory.mktemp("photographs"), "astronaut", "chelsea", "coffee", "rocket")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_and_gives_the_same_bytes(photographs: Path, tmp_path: Path, workers: int) -> None:
    config = config_of(photographs, samples_per_image=60, split={"test": 0.25}, workers=workers)
    kept = kill_in_the_middle(config, tmp_path / "killed", tmp_path)
    assert 1 <= len(kept) < 8

    config = config.model_copy(update={"workers": 1})
    resumed = build_dataset(config, tmp_path / "killed", show_progress=False)
    assert resumed.n_built == 8 - len(kept)
    assert kept.items() <= finished(tmp_path / "killed").items()
    whole = build_dataset(config, tmp_path / "whole", show_progress=False)
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert resumed.recipe_hash == whole.recipe_hash
    assert validate_dataset(tmp_path / "killed", show_progress=False).ok
