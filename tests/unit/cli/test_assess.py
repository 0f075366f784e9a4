"""`assess` over folders, with a tiny real model."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from seagull_tune.cli.app import DONE_IN_PART


@pytest.fixture
def photos(photo: Path, tmp_path: Path) -> Path:
    """A folder with the photograph twice, in two folders, and a file that is none."""
    for name in ("a.png", "deep/ä b.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo.read_bytes())
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no image")
    return tmp_path / "photos"


def test_a_folder_with_a_table_and_a_report(run: Callable, tiny_model: Path, photos: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "r.csv", tmp_path / "report"
    line = ("assess", photos, "--model", tiny_model, "--box", "0,0,90,90", "--box", "90,0,200,160", "--out", out)
    result = run(*line, "--report", report)
    assert result.exit_code == DONE_IN_PART and result.stdout == "", result.output
    for said in ("broken.jpg", "2 judged (4 regions), 1 failed", "r.csv.summary.json", "index.html", "1 of 3 photo"):
        assert said in result.stderr, said
    with out.open(encoding="utf-8", newline="") as file:
        images = [row["image"] for row in csv.DictReader(file)]
    assert images == [str(photos / name) for name in ("a.png", "a.png", "deep/ä b.png", "deep/ä b.png")]
    assert json.loads((tmp_path / "r.csv.summary.json").read_text())["failed"][0]["image"].endswith("broken.jpg")
    assert (report / "deep" / "ä b.png.html").is_file() and (report / "index.html").is_file()
    before = out.read_bytes()
    os.remove(report / "a.png.png")
    again = run(*line, "--report", report)
    assert "0 judged (0 regions), 2 done before, 1 failed" in again.stderr and out.read_bytes() == before
    assert (report / "a.png.png").is_file()
    other = run(*line, "--text")
    assert other.exit_code == 2 and "text was False, is True" in other.stderr and out.read_bytes() == before


def test_a_folder_onto_standard_output_and_its_plan(run: Callable, tiny_model: Path, photos: Path) -> None:
    line = ("assess", photos, "--model", tiny_model, "--box", "0,0,90,90")
    assert "of 3 photographs" in run(*line, "--dry-run").stdout
    assert [json.loads(text)["image"][-5:] for text in run(*line).stdout.splitlines()] == ["a.png", "b.png"]


def test_folders_and_files_that_cannot_be_used(
    refused: Callable, tiny_model: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    line = ("assess", "--model", tiny_model, "--all")
    assert "No photograph in" in refused(*line, tmp_path / "empty", photos)
    assert "would be judged next time" in refused(*line, photos, "--report", photos / "report")
    os.mkfifo(tmp_path / "pipe.csv")
    assert "a table needs a file" in refused(*line, photos, "--out", tmp_path / "pipe.csv")
