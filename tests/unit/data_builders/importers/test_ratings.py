"""Ratings of regions become a data set of authentic pictures that is valid, read back and trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_builders.exporters import export_dataset
from data_builders.importers import ImportSummary
from data_builders.inspect import dataset_stats
from data_builders.validate import validate_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.exchange import ExportConfig, ImportConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import read_manifest
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.images import read_image

Bring = Callable[..., ImportSummary]
TABLE = {"scale": {"low": 1, "high": 5, "higher_is_better": True}}


@pytest.fixture
def regions(photographs: Path, tmp_path: Path) -> Path:
    """Label maps: three bands per photograph."""
    folder = tmp_path / "regions"
    folder.mkdir()
    for path in photographs.iterdir():
        height, width = read_image(path).shape[:2]
        bands = np.minimum(np.arange(width) * 3 // width, 2).astype(np.uint8) + 1
        cv2.imwrite(str(folder / f"{path.stem}.png"), np.tile(bands, (height, 1)))
    return folder


def ratings(folder: Path, keys: list[tuple[str, str]]) -> Path:
    """Five raters; region k has the mean 1 + k / 4."""
    lines = ["image,region,rater,score"]
    for k, (image, region) in enumerate(keys):
        lines += [f"{image},{region},r{p},{1 + k / 4 + (p - 2) / 10 if k else 1}" for p in range(5)]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    return folder / "ratings.csv"


def test_rated_regions_become_a_data_set(bring: Bring, photographs: Path, regions: Path, tmp_path: Path) -> None:
    keys = [
        ("coffee.png", "label 1"), ("coffee.png", "label 3"), ("chelsea.png", "0"), ("chelsea.png", "1"),
        ("chelsea.png", "2"), ("astronaut.png", "2"),
    ]  # fmt: skip
    line = {"format": "ratings", "source": ratings(tmp_path, keys), "images": photographs, "regions": regions}
    summary = bring(tmp_path / "out", **line, ratings=TABLE)
    assert (summary.n_images, summary.n_regions, summary.n_samples, summary.failed) == (3, 6, 3, ())
    found = {item.image_id: item for item in RoiDataset(tmp_path / "out")}
    coffee = found["coffee.png"]
    assert [label.quality for label in coffee.labels] == pytest.approx([0.0, 0.0625], abs=1e-6)
    assert [region.name for region in coffee.regions] == ["label 1", "label 3"]
    assert all(label.severities is None and label.importance is None for label in coffee.labels)
    # Region 0: all said the same. Region 1: -0.2, -0.1, 0, 0.1, 0.2 around the mean, on a scale four wide.
    assert [label.quality_deviation for label in coffee.labels] == pytest.approx([0.0, 0.025**0.5 / 4], abs=1e-6)
    assert coffee.sample.recipe is None and coffee.sample.picture is None
    assert (coffee.image == read_image(photographs / "coffee.png")).all()
    assert validate_dataset(tmp_path / "out", show_progress=False).ok
    assert "Krippendorff's alpha (interval): 0.899" in read_manifest(tmp_path / "out")["label_source"]
    assert sum(split.n_labels for split in dataset_stats(tmp_path / "out")) == 6
    for form in ("coco", "llava"):
        export_dataset(tmp_path / "out", tmp_path / form, ExportConfig(format=form), show_progress=False)  # type: ignore[arg-type]
    exported = json.loads((tmp_path / "coco" / "instances.json").read_text())
    said = [entry["quality_deviation"] for entry in exported["annotations"]]
    rated = [label for row in RoiDataset(tmp_path / "out") for label in row.labels]
    assert said == pytest.approx([label.quality_deviation for label in rated], abs=1e-6)
    assert all(entry["severities"] is None for entry in exported["annotations"])
    assert all(image["mos"] is None for image in exported["images"]), "regions were rated, not pictures"


def test_unknown_images_and_regions_are_named(bring: Bring, photographs: Path, regions: Path, tmp_path: Path) -> None:
    keys = [
        ("coffee.png", "0"), ("coffee.png", "label 1"), ("coffee.png", "9"), ("coffee.png", "1"), ("gone.png", "0"),
        ("chelsea.png", "-1"), ("chelsea.png", "2"),
    ]  # fmt: skip
    line = {"format": "ratings", "source": ratings(tmp_path, keys), "images": photographs, "regions": regions}
    summary = bring(tmp_path / "out", **line, ratings=TABLE)
    reasons = {failure.image_id: failure.reason for failure in summary.failed}
    assert set(reasons) == {
        "coffee.png, region 9", "coffee.png, region label 1", "gone.png", "chelsea.png, region -1"
    }  # fmt: skip
    assert "numbered from 0: 'label 1'" in reasons["coffee.png, region 9"]
    assert (summary.n_images, summary.n_regions) == (2, 3)
    (regions / "coffee.png").unlink()
    again = bring(tmp_path / "two", **line, ratings=TABLE)
    assert "no label map" in {failure.image_id: failure.reason for failure in again.failed}["coffee.png"]
    line["source"] = ratings(tmp_path, [("gone.png", "0"), ("gone.png", "1")])
    with pytest.raises(DataError, match=r"(?s)Nothing of .*gone\.png"):
        bring(tmp_path / "three", **line, ratings=TABLE)


def test_range_direction_and_regions_are_needed() -> None:
    with pytest.raises(ConfigError, match="range and direction"):
        load_config(ImportConfig, None, ["format=ratings", "source=x.csv", "regions=r"])
    scale = "ratings.scale={low: 1, high: 5, higher_is_better: true}"
    with pytest.raises(ConfigError, match="--regions DIR"):
        load_config(ImportConfig, None, ["format=ratings", "source=x.csv", scale])


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["coffee.png,0,ann,2", "coffee.png,1,ann,4"], r"1 rater\(s\) \(ann\); at least 2"),
        ([f"coffee.png,{k},{who},3" for k in (0, 1) for who in ("ann", "bob")], "all 4 scores are 3"),
        (["coffee.png,0,ann,nan", "coffee.png,0,bob,6"], r"(?s)2 ratings are wrong.*'nan'.*6; the declared range"),
    ],
)
def test_ratings_that_say_nothing_leave_nothing_behind(
    bring: Bring, photographs: Path, regions: Path, tmp_path: Path, lines: list[str], said: str
) -> None:
    (tmp_path / "r.csv").write_text("\n".join(["image,region,rater,score", *lines]) + "\n")
    line = {"format": "ratings", "source": tmp_path / "r.csv", "images": photographs, "regions": regions}
    with pytest.raises(DataError, match=said):
        bring(tmp_path / "out", **line, ratings=TABLE)
    assert not (tmp_path / "out").exists()
