"""`score`: a table with three columns, what could not be scored named, explanations where they are asked for."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner

from seagull_tune.cli import app
from tests.tiny_scorer import SPEC, make_tiny_scorer

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    picture = skimage.data.chelsea()[40:140, 100:220]
    Image.fromarray(picture).save(folder / "cat.png")
    Image.fromarray(picture[:, ::-1]).save(folder / "more" / "cat.png")
    return folder


@pytest.fixture(scope="module")
def model(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scorer") / "model"
    picture = np.asarray(Image.open(photographs / "cat.png"))
    make_tiny_scorer(SPEC, [picture, picture[:70]]).save_pretrained(folder)
    return folder


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_folder_becomes_a_table(model: Path, photographs: Path, tmp_path: Path) -> None:
    out, explained, cache = tmp_path / "scores.csv", tmp_path / "explained", tmp_path / "cache"
    command = ["score", str(photographs), "--model", str(model), "--out", str(out), "--device", "cpu"]
    done = RUNNER.invoke(app, [*command, "--explain", str(explained), "--cache", str(cache)])
    assert done.exit_code == 0, done.output
    first = out.read_text()
    rows = _rows(first)
    assert [Path(row["image"]).name for row in rows] == ["cat.png", "cat.png"] and list(rows[0]) == [
        "image", "score", "score_01",
    ]  # fmt: skip
    for row in rows:
        assert float(row["score"]) == pytest.approx(1 + 4 * float(row["score_01"]), abs=1e-5)
    assert sorted(path.name for path in explained.glob("*.html")) == ["cat-2.html", "cat.html"]
    assert RUNNER.invoke(app, [*command, "--cache", str(cache)]).exit_code == 0
    assert out.read_text() == first, "a second run gives the same"


def test_one_bad_photograph_is_named_and_left_out(model: Path, photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("no picture")
    command = ["score", str(photographs / "cat.png"), str(tmp_path / "note.png"), "--model", str(model)]
    done = RUNNER.invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 1
    assert len(_rows(done.stdout)) == 1 and "note.png" in done.stderr and "1 of 2 photographs" in done.stderr
    out = tmp_path / "scores.csv"
    out.write_text("mine\n")
    alone = ["score", str(tmp_path / "note.png"), "--model", str(model), "--out", str(out), "--device", "cpu"]
    assert RUNNER.invoke(app, alone).exit_code == 1 and out.read_text() == "mine\n"


def test_what_a_dry_run_says_and_refuses(model: Path, photographs: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["score", str(photographs), "--model", str(model), "--dry-run"])
    assert done.exit_code == 0 and "Score 2 photographs" in done.stdout and "scale: 1 to 5" in done.stdout
    for arguments in (["--dry-run"], []):
        missing = RUNNER.invoke(app, ["score", str(photographs), "--model", str(tmp_path / "none"), *arguments])
        assert missing.exit_code == 2 and "is not a scorer" in missing.stderr and "train_rsa.py" in missing.stderr
