"""`convert`: a release is shown, checked, converted, and then asked like any checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.released import RELEASE_TOWER, make_release

TINY = ("--set", f"vision_backbone={RELEASE_TOWER}")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    make_release(tmp_path / "SEAGULL-7B")
    return tmp_path / "SEAGULL-7B"


def test_a_release_is_converted_and_asked(release: Path, run: Callable, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    planned = run("convert", "seagull", release, "--out", out, *TINY, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "mfe.extractor.sa.q_proj.weight" in planned.output and "tensors mapped" in planned.output
    assert not out.exists()
    result = run("convert", "seagull", release, "--out", out, *TINY)
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith(f"Checkpoint: {out}")
    asked = run("ask", photo, "Analyze the quality of this region.", "--model", out, "--box", "10,10,90,90")
    assert asked.exit_code == 0, asked.output


def test_a_release_of_another_tower_is_refused(release: Path, refused: Callable, tmp_path: Path) -> None:
    said = refused("convert", "seagull", release, "--out", tmp_path / "model", "--set", "vision_backbone=test_vit")
    assert "No square photograph gives test_vit maps of the sides (16, 8, 4, 2)" in said and "vision_backbone" in said
    assert not (tmp_path / "model").exists()


def test_unknown_formats_are_refused(release: Path, refused: Callable, tmp_path: Path) -> None:
    assert "seagull" in refused("convert", "gull", release, "--out", tmp_path / "model")
