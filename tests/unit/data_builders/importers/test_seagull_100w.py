"""SEAGULL-100w: a round trip, other keys, wrong scores."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_builders.importers import ImportSummary
from data_builders.importers.base import severity_of
from data_builders.validate import validate_dataset
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import read_manifest
from seagull_tune.errors import DataError
from seagull_tune.levels import DISTORTION_TYPES

Bring = Callable[..., ImportSummary]


@pytest.fixture
def hundred(exported: Path, tmp_path: Path) -> Path:
    """A copy of it whose labels may be changed; the pictures are links."""
    for path in sorted(exported.rglob("*")):
        target = tmp_path / "100w" / path.relative_to(exported)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes()) if path.suffix == ".json" else os.link(path, target)
    return tmp_path / "100w"


def _scores(folder: Path) -> tuple[Path, dict[str, Any]]:
    file = folder / "Labels/SEAGULL-100w_scores.json"
    return file, json.loads(file.read_text())


def test_a_round_trip_through_the_seagull_layout(bring: Bring, dataset: Path, exported: Path, tmp_path: Path) -> None:
    summary = bring(tmp_path / "back", format="seagull", source=exported, licence="MIT")
    before = {item.sample.sample_id: item for item in RoiDataset(dataset)}
    scores = _scores(exported)[1]
    assert summary.n_samples == len(scores) and not summary.failed and summary.n_images == 3
    for item in RoiDataset(tmp_path / "back"):
        stem, numbered = item.sample.sample_id.split("#")
        old = before[scores[f"{numbered.split('_')[0]}/{numbered}/{stem}"]["sample_id"]]
        assert (item.image == old.image).all() and (item.masks == old.masks).all()
        assert item.sample.recipe is None and item.sample.picture is not None
        for mine, theirs in zip(item.labels, old.labels, strict=True):
            assert mine.severities == theirs.severities
            assert mine.quality == pytest.approx(theirs.quality, abs=2e-6)
            assert mine.importance == pytest.approx(theirs.importance, abs=2e-6)
    assert validate_dataset(tmp_path / "back", show_progress=False).ok
    manifest = read_manifest(tmp_path / "back")
    assert manifest["licence"] == "MIT" and "SEAGULL-100w" in manifest["label_source"]


def test_other_keys_can_be_named(bring: Bring, hundred: Path, tmp_path: Path) -> None:
    file, scores = _scores(hundred)
    nested: dict[str, Any] = {}
    for place, entry in scores.items():
        kind, numbered, stem = place.split("/")
        rois = [{"q": 100 * q} for q in entry["quality"]]
        nested.setdefault(kind, {}).setdefault(numbered, {})[stem + ".png"] = {"rois": rois}
    file.write_text(json.dumps(nested))
    source = {"format": "seagull", "source": hundred}
    found = r"'\w+' names no picture.*the entry is \{\w+_0: \{\w+\.png: \{rois.*docs/data-format\.md"
    with pytest.raises(DataError, match=found):
        bring(tmp_path / "a", **source)
    keys = {
        "depth": 3, "picture": "@1/@2", "quality": "rois.*.q", "importance": None, "distortions": None,
        "scale": {"low": 0, "high": 100, "higher_is_better": True},
    }  # fmt: skip
    single = {place for place in scores if not place.startswith("Mixed")}
    summary = bring(tmp_path / "b", **source, seagull={"scores": keys})
    assert summary.n_samples == len(single)
    assert all("distortion 'mixed'" in failure.reason for failure in summary.failed)
    for item in RoiDataset(tmp_path / "b"):
        kind = item.sample.sample_id.split("#")[1].split("_")[0].lower()
        for label in item.labels:
            expected = [severity_of(label.quality) if name == kind else 0 for name in DISTORTION_TYPES]
            assert list(label.severities or ()) == expected and label.importance is None
    assert "estimated" in read_manifest(tmp_path / "b")["label_source"]


def test_wrong_scores_are_named_and_left_out(bring: Bring, hundred: Path, tmp_path: Path) -> None:
    file, scores = _scores(hundred)
    places = list(scores)
    scores[places[0]]["quality"][0] = None
    scores[places[1]]["quality"][0] = float("nan")
    scores[places[2]]["quality"][0] = 1.5
    scores[places[3]]["quality"].pop()
    scores[places[4]]["importance"][0] = -0.5
    scores[places[5]]["distortions"][0] = {"blur": 2.5}
    scores[places[6]]["distortions"][0] = {"rain": 2}
    scores[places[7]]["distortions"][0] = ["blur"]
    scores[places[8]]["quality"] = None
    scores[places[9]]["quality"][0] = 10**400
    file.write_text(json.dumps(scores))
    summary = bring(tmp_path / "a", format="seagull", source=hundred)
    reasons = " | ".join(failure.reason for failure in summary.failed)
    assert len(summary.failed) == 10 and summary.n_samples == len(places) - 10
    for said in (
        "is None; a number", "is nan; a finite", "1.5; the declared range is 0..1", "qualities", "-0.5", "2.5; allowed",
        "'rain'", "['blur']; an object", "the qualities are None; a list", "more than 64 bits; a number",
    ):  # fmt: skip
        assert said in reasons
    assert "10 left out" in summary.describe() and places[0] in summary.describe()


def test_missing_pictures_and_folders_are_named(bring: Bring, hundred: Path, tmp_path: Path) -> None:
    gone = next(iter(sorted((hundred / "Dist.Images").rglob("*.png"))))
    gone.unlink()
    summary = bring(tmp_path / "a", format="seagull", source=hundred)
    assert [gone.name in failure.reason for failure in summary.failed] == [True]
    with pytest.raises(DataError, match=r"not laid out like SEAGULL-100w: Ref\.Images, Dist\.Images"):
        bring(tmp_path / "b", format="seagull", source=tmp_path)


def test_a_cut_file_leaves_nothing_behind(bring: Bring, hundred: Path, tmp_path: Path) -> None:
    file = _scores(hundred)[0]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"SEAGULL-100w_scores\.json is not the JSON"):
        bring(tmp_path / "out", format="seagull", source=hundred)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob("out*"))
