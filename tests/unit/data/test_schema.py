"""The two tables: rows <-> records, versions, and other readers."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest

from seagull_tune.data.schema import (
    IMAGES_FEATURES,
    MANIFEST,
    SAMPLES_FEATURES,
    SCHEMA_VERSION,
    ImageRecord,
    count_samples,
    file_metadata,
    image_from_row,
    image_to_row,
    open_tables,
    read_manifest,
    sample_from_row,
    sample_to_row,
    to_table,
)
from seagull_tune.data.schema.nulls import OPTIONAL
from seagull_tune.errors import DataError, RegionError
from seagull_tune.records import DistortionStep, Recipe, Region, RegionLabel, Sample

SAMPLE = Sample(
    sample_id="cat#0003",
    image_id="cat",
    recipe=Recipe(
        (
            DistortionStep("blur", "motion", 3, {"length": 7.25, "angle": 0.1}, 2**31 - 1, (0, 2), 4.7, outside=True),
            DistortionStep("compression", "jpeg", 5, {"quality": 12.0}),
        )
    ),
    labels=(
        RegionLabel(0.25, 0.5, (3, 0, 0, 5, 0, 0, 0, 0)),
        RegionLabel(1.0, None, (0,) * 8),
        RegionLabel(0.5, None, None, quality_deviation=0.125),
    ),
    prompt_seed=2**63 - 1,
    pair_id="cat#0003+0004",
)
IMAGE = ImageRecord(
    image_id="cat.r0c1",
    scene_id="cat",
    source_kind="file",
    source="pets/cat.jpg",
    sha256="ab" * 32,
    crop_xyxy=(10, 0, 20, 8),
    height=8,
    width=10,
    split="validation",
    regions=(Region(8, 10, "08H0", 8, (0, 0, 1, 8), "tail"),),
    file_bytes=b"\x00\xff",
)


def test_a_sample_survives_the_table() -> None:
    table = to_table([sample_to_row(SAMPLE, 0.75)], SAMPLES_FEATURES, {})
    assert sample_from_row(table.to_pylist()[0]) == SAMPLE
    assert table.to_pylist()[0]["image_quality"] == 0.75


@pytest.mark.parametrize("record", [IMAGE, replace(IMAGE, crop_xyxy=None, file_bytes=None, source_kind="builtin")])
def test_an_image_survives_the_table(record: ImageRecord) -> None:
    table = to_table([image_to_row(record)], IMAGES_FEATURES, {})
    assert image_from_row(table.to_pylist()[0]) == record


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("split", "val", "train, validation, test"),
        ("source_kind", "hub", "file, builtin"),
        ("crop_xyxy", [1, 2], "four"),
    ],
)
def test_an_image_row_that_makes_no_sense_is_refused(key: str, value: object, words: str) -> None:
    with pytest.raises(DataError, match=words):
        image_from_row({**image_to_row(IMAGE), key: value})


def test_an_empty_region_is_refused() -> None:
    row = image_to_row(IMAGE)
    row["regions"][0]["area"] = 0
    with pytest.raises(RegionError, match="empty"):
        image_from_row(row)


@pytest.mark.parametrize(
    ("key", "value"), [("quality", 1.5), ("importance", -0.1), ("severities", [9] * 8), ("quality_deviation", -0.5)]
)
def test_a_label_out_of_range_is_refused(key: str, value: object) -> None:
    row = sample_to_row(SAMPLE, 1.0)
    row["labels"][0][key] = value
    with pytest.raises(DataError):
        sample_from_row(row)


@pytest.mark.parametrize("name", ["images", "samples"])
def test_other_readers_open_the_tables(dataset: Path, name: str, tmp_path: Path) -> None:
    opened = datasets.load_dataset("parquet", data_dir=str(dataset / name), split="train", cache_dir=str(tmp_path))
    assert opened.features == (IMAGES_FEATURES if name == "images" else SAMPLES_FEATURES)
    images, samples = open_tables(dataset)
    ours = images if name == "images" else samples
    assert opened.to_list() == ours.table.to_pylist()


def test_rows_know_their_file(dataset: Path) -> None:
    _, samples = open_tables(dataset)
    assert len(samples) == 12
    assert samples.where(0).startswith("samples/shard-00000-of-00002-")
    assert samples.where(0).endswith(", row 0")
    assert "shard-00001" in samples.where(9) and samples.where(9).endswith(", row 1")


def test_another_schema_version_is_refused(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(dataset, copy)
    manifest = read_manifest(copy)
    (copy / MANIFEST).write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(DataError, match=rf"99.*version {SCHEMA_VERSION}.*Build the data set again"):
        open_tables(copy)


def test_a_shard_of_another_schema_version_is_refused(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(dataset, copy)
    file = min((copy / "samples").glob("*.parquet"))
    table = pq.read_table(file)
    ours = json.dumps({**file_metadata(file), "schema_version": 0}).encode()
    pq.write_table(table.replace_schema_metadata({b"seagull_tune": ours}), file)
    with pytest.raises(DataError, match=rf"{file.name} has schema version 0"):
        open_tables(copy)


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set"):
        open_tables(tmp_path)


def test_an_unfinished_data_set_is_refused(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({**read_manifest(dataset), "complete": False}))
    with pytest.raises(DataError, match="not finished"):
        open_tables(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "columns", "gone"])
def test_a_damaged_file_is_named(dataset: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "set"
    shutil.copytree(dataset, copy)
    file = min((copy / "samples").glob("*.parquet"))
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "columns":
        pq.write_table(pq.read_table(file).drop_columns(["labels"]), file)
    else:
        shutil.rmtree(copy / "samples")
    with pytest.raises(DataError, match="samples"):
        open_tables(copy)


def test_samples_are_counted_by_the_headers(dataset: Path, tmp_path: Path) -> None:
    assert count_samples(dataset) == len(open_tables(dataset)[1])
    with pytest.raises(DataError, match="is no data set"):
        count_samples(tmp_path)
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    shutil.rmtree(copy / "samples")
    with pytest.raises(DataError, match="holds no Parquet file"):
        count_samples(copy)


def test_a_changed_bit_is_refused_or_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(dataset, copy)
    file = min((copy / "samples").glob("*.parquet"))
    whole, rows = file.read_bytes(), open_tables(copy)[1].table.to_pylist()
    places = [*range(0, len(whole), 31), len(whole) - 1]
    refused = []
    for number, place in enumerate(places):
        changed = bytearray(whole)
        changed[place] ^= 1 << number % 8
        file.write_bytes(changed)
        try:
            assert open_tables(copy)[1].table.to_pylist() == rows, place
        except DataError as error:
            refused.append(str(error))
    assert len(refused) > len(places) / 4 and all(file.name in said for said in refused)


def test_the_documentation_names_the_version_and_what_may_be_null() -> None:
    text = (Path(__file__).parents[3] / "docs" / "data-format.md").read_text(encoding="utf-8")
    assert f"Schema version **{SCHEMA_VERSION}**" in text and f"| `schema_version` | {SCHEMA_VERSION};" in text
    rows = re.findall(r"^\| `([a-z_.0-9]+)`[^|]*\| ([^|]+) \|", text, re.MULTILINE)
    assert {name for name, kind in rows if kind.endswith(", null")} == OPTIONAL
