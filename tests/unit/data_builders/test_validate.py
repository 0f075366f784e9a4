"""Validation: every kind of damage is named with file and row."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_builders.validate import validate_dataset
from seagull_tune.errors import DataError

Edit = Callable[[dict[str, Any]], object]


def _edit(folder: Path, table: str, row: int, edit: Edit) -> None:
    """Change one row of a table's first file in place."""
    file = min((folder / table).glob("*.parquet"))
    old = pq.read_table(file)
    rows = old.to_pylist()
    edit(rows[row])
    pq.write_table(pa.Table.from_pylist(rows, schema=old.schema), file)


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(dataset, tmp_path / "set")
    return tmp_path / "set"


def test_a_good_data_set_is_valid(dataset: Path) -> None:
    report = validate_dataset(dataset, show_progress=False)
    assert report.ok and (report.n_images, report.n_samples) == (3, 12)
    assert report.describe().endswith("3 images and 12 samples, all valid.")


def _first_step(row: dict[str, Any]) -> dict[str, Any]:
    if not row["recipe"]:
        row["recipe"] = [
            {
                "type": "blur",
                "variant": "gaussian",
                "severity": 1,
                "params": [],
                "seed": 0,
                "regions": None,
                "feather_px": 0,
                "outside": False,
            }
        ]
    first: dict[str, Any] = row["recipe"][0]
    return first


@pytest.mark.parametrize(
    ("table", "edit", "reason"),
    [
        ("samples", lambda r: r["labels"][1].update(quality=1.5), "quality is 1.5"),
        ("samples", lambda r: r["labels"][1].update(quality=float("nan")), "quality is nan"),
        ("samples", lambda r: r["labels"][0].update(importance=-1.0), "importance is -1.0"),
        ("samples", lambda r: r["labels"][0].update(severities=[0, 1]), "2 severities"),
        ("samples", lambda r: r["labels"][0].update(severities=[5, 5, 5, 5, 5, 5, 5, 5]), "no step of the recipe"),
        ("samples", lambda r: r["labels"].pop(), "labels, but image"),
        ("samples", lambda r: r.update(image_id="nobody"), "in no row of the images table"),
        ("samples", lambda r: r.update(sample_id="astronaut#0003"), "occurs twice"),
        ("samples", lambda r: r.update(image_quality=2.0), "image_quality is 2.0"),
        ("samples", lambda r: r.update(pair_id="alone"), "pair_id 'alone' has 1 samples"),
        ("samples", lambda r: _first_step(r).update(variant="gausian"), "Unknown variant 'gausian'"),
        ("samples", lambda r: _first_step(r).update(type="rain"), "Unknown distortion type 'rain'"),
        ("samples", lambda r: _first_step(r).update(regions=[0, 99]), "names region 99"),
        ("samples", lambda r: _first_step(r).update(regions=[]), "names no region"),
        ("samples", lambda r: _first_step(r).update(params=[]), "needs the parameter"),
        ("samples", lambda r: r.update(recipe=[], image_quality=0.5), "pristine"),
        ("samples", lambda r: r.update(sample_id=None), "sample_id: a value is missing"),
        ("samples", lambda r: r.update(labels=None), "labels: a value is missing"),
        ("samples", lambda r: r["labels"].insert(0, None), "labels: a value is missing"),
        ("samples", lambda r: r["labels"][1].update(quality=None), "labels.quality: a value is missing"),
        ("samples", lambda r: r["labels"][1].update(severities=[None] * 8), "labels.severities: a value"),
        ("samples", lambda r: _first_step(r).update(regions=[None]), "recipe.regions: a value is missing"),
        ("samples", lambda r: _first_step(r).update(severity=None, seed=None), "recipe.severity, recipe.seed: a value"),
        ("images", lambda r: r.update(height=None, sha256=None), "sha256, height: a value is missing"),
        ("images", lambda r: r["regions"][0].update(counts=None), "regions.counts: a value is missing"),
        ("images", lambda r: r["regions"][0].update(area=7), "area is stored as 7"),
        ("images", lambda r: r["regions"][0].update(box_xyxy=[0, 0, 1, 1]), "box is stored as"),
        ("images", lambda r: r["regions"][0].update(counts="!!"), "region 0"),
        ("images", lambda r: r.update(regions=[]), "no region"),
        ("images", lambda r: r.update(split="val"), "split is 'val'"),
        ("images", lambda r: r.update(sha256="0" * 64), "SHA-256"),
        ("images", lambda r: r.update(source="gone.png"), "gone.png"),
        ("images", lambda r: r.update(image_id="chelsea"), "occurs twice"),
    ],
)
def test_damage_is_named_with_its_row(copy: Path, table: str, edit: Edit, reason: str) -> None:
    _edit(copy, table, 0, edit)
    report = validate_dataset(copy, show_progress=False)
    assert not report.ok
    found = [problem for problem in report.problems if reason in problem.reason]
    assert found, report.describe()
    rows = {problem.where.rsplit(" ", 1)[1] for problem in found}
    assert found[0].where.startswith(f"{table}/shard-00000") and rows <= {"0", "1", "3"}
    assert reason in report.describe(limit=1000)


def test_leaks_and_wrong_counts_are_found(copy: Path) -> None:
    def other_split(row: dict[str, Any]) -> None:
        row.update(image_id="twin", split="test" if row["split"] == "train" else "train")

    file = min((copy / "images").glob("*.parquet"))
    old = pq.read_table(file)
    rows = old.to_pylist()
    twin = dict(rows[0])
    other_split(twin)
    pq.write_table(pa.Table.from_pylist([*rows, twin], schema=old.schema), file)
    text = validate_dataset(copy, show_progress=False).describe()
    assert "is in the splits test, train" in text and "n_images is 3, but the files hold 4 rows" in text


def test_without_images_only_the_tables_are_checked(copy: Path) -> None:
    _edit(copy, "images", 0, lambda row: row.update(source="gone.png"))
    assert validate_dataset(copy, check_images=False, show_progress=False).ok


def test_long_reports_are_cut(copy: Path) -> None:
    for row in range(4):
        _edit(copy, "samples", row, lambda r: r.update(image_quality=3.0))
    text = validate_dataset(copy, show_progress=False).describe(limit=2)
    assert text.count("image_quality is 3.0") == 2 and "and 2 more" in text


def test_what_cannot_be_opened_is_an_error(copy: Path) -> None:
    manifest = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps({**manifest, "schema_version": 7}))
    with pytest.raises(DataError, match="schema version 7"):
        validate_dataset(copy, show_progress=False)
