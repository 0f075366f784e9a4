"""Samples without a recipe: authentic images, pictures in files, opinion scores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import skimage.data
from PIL import Image

from seagull_tune.data.messages import sample_messages
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import (
    IMAGES_FEATURES,
    MANIFEST,
    SAMPLES_FEATURES,
    SCHEMA_VERSION,
    ImageRecord,
    image_to_row,
    masks_of,
    sample_pixels,
    sample_to_row,
    to_table,
)
from seagull_tune.distortions.scene import SCENE_WHITE, develop
from seagull_tune.errors import DataError
from seagull_tune.records import OpinionScore, PictureFile, Recipe, RegionLabel, Sample
from seagull_tune.regions.boxes import box_region

H, W = 60, 80
LABEL = RegionLabel(0.3, None, (4, 0, 0, 0, 0, 0, 0, 0))


def _save(folder: Path, name: str, pixels: np.ndarray) -> PictureFile:
    Image.fromarray(pixels).save(folder / name)
    return PictureFile(name, hashlib.sha256((folder / name).read_bytes()).hexdigest())


@pytest.fixture
def pixels() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.coffee()[:H, :W])


@pytest.fixture
def folder(tmp_path: Path, pixels: np.ndarray) -> Path:
    """A data set of one image with a region (as it came, and as a file), and one with a MOS alone."""
    reference = _save(tmp_path, "coffee.png", pixels)
    dark = _save(tmp_path, "dark.png", pixels // 2)
    record = ImageRecord(
        "coffee", "coffee", "file", "coffee.png", reference.sha256, None, H, W, "train",
        (box_region((0, 0, 40, 30), H, W, "cup"),),
    )  # fmt: skip
    judged = replace(record, image_id="judged", regions=())
    mos = OpinionScore(4.0, 1.0, 5.0, True)
    rows = [
        sample_to_row(Sample("coffee#0", "coffee", None, (LABEL,), 1), None),
        sample_to_row(Sample("coffee#1", "coffee", None, (LABEL,), 2, dark), None),
        sample_to_row(Sample("judged#0", "judged", None, (), 3, opinion=mos), mos.quality),
    ]
    for name, table in (
        ("images", to_table([image_to_row(record), image_to_row(judged)], IMAGES_FEATURES, {})),
        ("samples", to_table(rows, SAMPLES_FEATURES, {})),
    ):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "part.parquet")
    manifest = {"schema_version": SCHEMA_VERSION, "complete": True, "n_images": 2, "n_samples": 3}
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def test_an_authentic_sample_is_the_image_itself(folder: Path, pixels: np.ndarray) -> None:
    item = RoiDataset(folder)[0]
    assert item.sample.recipe is None and item.sample.picture is None and item.image_quality is None
    assert (item.image == pixels).all() and item.masks.shape == (1, H, W)
    item.image[:] = 0  # a copy: the shared reference stays
    assert (RoiDataset(folder)[0].image == pixels).all()


def test_a_picture_is_read_from_its_file_and_checked(folder: Path, pixels: np.ndarray) -> None:
    data = RoiDataset(folder)
    assert (data[1].image == pixels // 2).all() and (data[1].reference == pixels).all()
    _save(folder, "dark.png", pixels // 3)
    with pytest.raises(DataError, match=r"dark\.png.*row 1.*SHA-256"):
        data[1]
    (folder / "dark.png").unlink()
    with pytest.raises(DataError, match=r"dark\.png.*cannot be read"):
        data[1]


def test_an_image_may_have_a_mos_and_no_region(folder: Path) -> None:
    item = RoiDataset(folder)[2]
    assert item.masks.shape == (0, H, W) and item.labels == ()
    assert item.sample.opinion == OpinionScore(4.0, 1.0, 5.0, True)
    assert item.image_quality == pytest.approx(0.75, abs=1e-7)


def test_where_there_is_no_label_there_is_nothing_to_ask(folder: Path) -> None:
    drawn = list(sample_messages(RoiDataset(folder), visits=2))
    assert [item.sample.sample_id for item in drawn] == ["coffee#0", "coffee#0", "coffee#1", "coffee#1"]


def test_scene_light_is_shown_developed() -> None:
    scene = np.full((H, W, 3), SCENE_WHITE, dtype=np.uint16)
    record = ImageRecord("raw", "raw", "file", "raw.dng", "0" * 64, None, H, W, "train", ())
    for recipe in (None, Recipe()):
        shown = sample_pixels(Sample("raw#0", "raw", recipe, (), 0), record, scene, masks_of(record), Path(), "row 0")
        assert shown.dtype == np.uint8 and np.array_equal(shown, develop(scene))


def test_a_mos_keeps_its_range_and_direction() -> None:
    assert OpinionScore(30.0, 0.0, 100.0, False).quality == pytest.approx(0.7)
    with pytest.raises(DataError, match=r"6\.0.*declared range 1\.\.5"):
        OpinionScore(6.0, 1.0, 5.0, True)
    with pytest.raises(DataError, match="nan"):
        OpinionScore(float("nan"), 1.0, 5.0, True)
    with pytest.raises(DataError, match="low below high"):
        OpinionScore(3.0, 5.0, 1.0, True)


def test_pixels_come_from_one_place() -> None:
    with pytest.raises(DataError, match="a recipe and a picture"):
        Sample("a", "a", Recipe(), (), 0, PictureFile("x.png", "0" * 64))
