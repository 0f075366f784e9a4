"""Warnings: each rule fires where it should, with the row, and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_builders.pipeline import build_dataset
from data_builders.plausibility import Labels, outliers, rare_classes
from data_builders.validate import validate_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.tools import Plausibility
from seagull_tune.data.schema import open_tables
from seagull_tune.errors import DataError

CLEAN = (0,) * 8


def _labels(count: int, **changes: Any) -> Labels:
    values: dict[str, np.ndarray] = {
        "rows": np.arange(count), "regions": np.zeros(count, np.int64), "quality": np.linspace(0, 1, count),
        "importance": np.linspace(0, 1, count), "severities": np.zeros((count, 8), np.int64),
    }  # fmt: skip
    values["severities"][np.arange(count), np.arange(count) % 8] = 1 + np.arange(count) % 5
    return Labels(**{**values, **changes})


def test_a_balanced_data_set_has_no_rare_class() -> None:
    assert list(rare_classes(_labels(1000), Plausibility())) == []


def test_rare_levels_severities_and_types_are_named() -> None:
    severities = _labels(1000).severities
    severities[:, 2] = 0
    severities[severities == 5] = 4
    labels = _labels(1000, quality=np.full(1000, 0.9), severities=severities)
    said = list(rare_classes(labels, Plausibility()))
    assert [text.split(" holds")[0] for text in said] == [
        "quality 'bad'", "quality 'poor'", "quality 'fair'", "quality 'good'", "severity 'catastrophic'",
        "type 'noise'",
    ]  # fmt: skip
    assert "0 of 1000 labels (0.00%), less than 1.00%" in said[0]
    assert list(rare_classes(labels, Plausibility(rare_share=0.0))) == []
    assert list(rare_classes(labels, Plausibility(min_labels=2000))) == []


def test_shares_of_importance_are_of_the_scored_labels() -> None:
    importance = np.where(np.arange(1000) < 100, np.linspace(0, 10, 1000), np.nan)
    labels = _labels(1000, importance=importance)
    assert list(rare_classes(labels, Plausibility())) == []
    assert list(rare_classes(labels, Plausibility(min_labels=50))) == []


@pytest.mark.parametrize(
    ("quality", "importance", "severities", "said"),
    [
        (0.95, 0.1, (0, 0, 5, 0, 0, 0, 0, 0), "0.95, although noise is catastrophic"),
        (0.91, 0.1, (4, 0, 0, 0, 0, 0, 0, 0), "0.91, although blur is serious"),
        (0.2, 0.1, CLEAN, "0.2, although no distortion holds for the region"),
        (0.99, 0.6, CLEAN, "0.99, although its importance is 0.6"),
        (0.89, 0.1, (5, 0, 0, 0, 0, 0, 0, 0), None),
        (0.95, 0.1, (3, 0, 0, 0, 0, 0, 0, 0), None),
        (0.35, 0.1, CLEAN, None),
        (1.0, np.nan, CLEAN, None),
    ],
)
def test_outliers(quality: float, importance: float, severities: tuple[int, ...], said: str | None) -> None:
    labels = Labels(
        np.array([7]), np.array([2]), np.array([quality]), np.array([importance]), np.array([severities], np.int64)
    )
    found = list(outliers(labels))
    if said is None:
        assert found == []
    else:
        assert found == [(7, f"label 2: quality is {said}.")]


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(dataset, tmp_path / "set")
    return tmp_path / "set"


def _edit(folder: Path, edit: Callable[[list[dict[str, Any]]], object]) -> None:
    file = min((folder / "samples").glob("*.parquet"))
    old = pq.read_table(file)
    rows = old.to_pylist()
    edit(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), file)


def test_labels_are_read_with_their_places_and_wrong_ones_left_out(copy: Path) -> None:
    def damage(rows: list[dict[str, Any]]) -> None:
        rows[0]["labels"][0]["quality"] = float("nan")
        rows[1]["labels"][0]["severities"] = [1, 2]
        rows[2]["labels"][0]["severities"] = [9] * 8
        rows[3]["labels"] = []

    whole = Labels.of(open_tables(copy)[1])
    rows = open_tables(copy)[1].table.to_pylist()
    expected = [(i, k) for i, row in enumerate(rows) for k in range(len(row["labels"]))]
    assert list(zip(whole.rows.tolist(), whole.regions.tolist(), strict=True)) == expected
    assert whole.quality.tolist() == [label["quality"] for row in rows for label in row["labels"]]
    _edit(copy, damage)
    left = Labels.of(open_tables(copy)[1])
    kept = [(i, k) for i, k in expected if i != 3 and (i, k) not in ((0, 0), (1, 0), (2, 0))]
    assert list(zip(left.rows.tolist(), left.regions.tolist(), strict=True)) == kept


def test_an_outlier_is_a_warning_with_its_row(copy: Path) -> None:
    def contradict(rows: list[dict[str, Any]]) -> None:
        rows[2]["labels"][1].update(quality=0.01, severities=list(CLEAN))

    _edit(copy, contradict)
    report = validate_dataset(copy, show_progress=False)
    assert [warning.where for warning in report.warnings][-1].endswith("row 2")
    assert "1 warnings (valid, but not plausible):" in report.describe() or len(report.warnings) > 1
    assert "label 1: quality is 0.01, although no distortion" in report.describe()


def test_near_copies_across_splits_are_warned_of(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    coffee = np.asarray(Image.open(folder / "coffee.png"))
    smaller = cv2.resize(coffee, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    Image.fromarray(smaller).save(folder / "espresso.png")
    for split, names in (("train", 1), ("test", 0)):
        config = BuildConfig.model_validate(
            {"source": str(folder), "samples_per_image": 1, "split": {"scenes": {"espresso": "test", "coffee": split}}}
        )
        build_dataset(config, tmp_path / split, show_progress=False)
        report = validate_dataset(tmp_path / split, show_progress=False)
        assert report.ok and len(report.warnings) == names
        assert validate_dataset(tmp_path / split, check_images=False, show_progress=False).warnings == ()
        if names:
            assert "'coffee' (train) and 'espresso' (test) look alike" in report.describe()


@pytest.mark.parametrize("table", ["images", "samples"])
def test_a_damaged_shard_is_refused_by_name(copy: Path, table: str) -> None:
    file = min((copy / table).glob("*.parquet"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=rf"{file.name}.*not a whole Parquet file.*build again"):
        validate_dataset(copy, show_progress=False)
    flipped = bytearray(whole)
    flipped[40] ^= 0xFF  # inside the first page: only its checksum can tell
    file.write_bytes(bytes(flipped))
    with pytest.raises(DataError, match=rf"{file.name}"):
        validate_dataset(copy, show_progress=False)
