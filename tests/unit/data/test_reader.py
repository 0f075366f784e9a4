"""Reading and rendering: the pixels that were labelled are the pixels that are read."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_builders.pipeline import build_dataset
from data_builders.validate import validate_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.fullref.measure import label_regions
from seagull_tune.images import image_hash


def _hashes(dataset: RoiDataset) -> list[str]:
    return [image_hash(item.image) for item in dataset]


def test_the_labels_are_those_of_the_rendered_pixels(dataset: Path) -> None:
    seen = 0
    for item in RoiDataset(dataset):
        measured = label_regions(item.reference, item.image, item.masks)
        assert [label.quality for label in item.labels] == pytest.approx(measured.quality.tolist(), abs=1e-6)
        importance = [np.nan if label.importance is None else label.importance for label in item.labels]
        assert importance == pytest.approx(measured.importance.tolist(), abs=1e-6, nan_ok=True)
        assert item.image_quality == pytest.approx(measured.image_quality, abs=1e-6)
        assert item.masks.shape == (len(item.regions), *item.image.shape[:2])
        assert item.masks.dtype == bool and item.image.dtype == np.uint8
        seen += 1
    assert seen == 12


def test_splits_divide_the_samples(dataset: Path) -> None:
    train, test = RoiDataset(dataset, "train"), RoiDataset(dataset, "test")
    assert (len(train), len(test), len(RoiDataset(dataset))) == (8, 4, 12)
    assert not set(train.image_ids) & set(test.image_ids)
    assert {item.scene_id for item in test} == set(test.image_ids)
    assert RoiDataset.has_split(dataset, "test")
    assert not RoiDataset.has_split(dataset, "validation")
    with pytest.raises(DataError, match=r"no samples in split 'validation'.*train 2, test 1"):
        RoiDataset(dataset, "validation")
    with pytest.raises(DataError, match="Did you mean 'validation'"):
        RoiDataset(dataset, "valid")


def test_rendering_is_repeatable_in_any_order_and_process(dataset: Path) -> None:
    rows = RoiDataset(dataset, cache_images=1)
    expected = _hashes(rows)
    assert [image_hash(rows[i].image) for i in range(len(rows) - 1, -1, -1)] == expected[::-1]
    assert image_hash(rows[-1].image) == expected[-1]
    copy = pickle.loads(pickle.dumps(rows))
    assert _hashes(copy) == expected
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_hashes, (rows,)) == expected


def test_samples_without_pixels(dataset: Path) -> None:
    rows = RoiDataset(dataset)
    assert [rows.sample(i) for i in range(12)] == [item.sample for item in rows]
    assert len({rows.sample(i).prompt_seed for i in range(12)}) == 12
    with pytest.raises(IndexError, match="12"):
        rows[12]


def test_what_is_shared_cannot_be_written(dataset: Path) -> None:
    item = RoiDataset(dataset)[0]
    with pytest.raises(ValueError, match="read-only"):
        item.reference[0, 0, 0] = 1
    item.image[0, 0, 0] = 1  # its own copy


def test_fingerprints_tell_splits_apart(dataset: Path) -> None:
    prints = {RoiDataset(dataset, split).fingerprint for split in (None, "train", "test", "train")}
    assert len(prints) == 3


def test_moved_photographs_are_found_again(dataset: Path, photographs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(photographs, moved)
    assert _hashes(RoiDataset(dataset, image_root=moved)) == _hashes(RoiDataset(dataset))
    (moved / "chelsea.png").unlink()
    with pytest.raises(DataError, match=r"chelsea\.png.*images/shard-.*row 1.*image_root"):
        list(RoiDataset(dataset, image_root=moved))


def test_a_changed_photograph_is_refused(dataset: Path, photographs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(photographs, moved)
    image = np.array(Image.open(moved / "coffee.png"))
    image[0, 0] ^= 1
    Image.fromarray(image).save(moved / "coffee.png")
    with pytest.raises(DataError, match=r"coffee\.png.*row 0.*SHA-256"):
        list(RoiDataset(dataset, image_root=moved))


def test_tiles_shrinking_and_embedding(photographs: Path, tmp_path: Path) -> None:
    source = tmp_path / "photographs"
    shutil.copytree(photographs, source)
    config = BuildConfig(source=str(source), samples_per_image=1, tile_side=80, max_side=64, embed_images=True)
    build_dataset(config, tmp_path / "set", show_progress=False)
    shutil.rmtree(source)  # the data set holds the files itself
    rows = RoiDataset(tmp_path / "set")
    assert len(rows) == 4 + 2 + 2  # 150x150 -> 2x2 tiles; 100x150 -> 1x2
    assert {item.scene_id for item in rows} == {"astronaut", "chelsea", "coffee"}
    assert all(max(item.image.shape[:2]) == 64 for item in rows)
    boxes = [rows.image_record(name).crop_xyxy for name in rows.image_ids if name.startswith("astronaut")]
    assert boxes == [(0, 0, 75, 75), (75, 0, 150, 75), (0, 75, 75, 150), (75, 75, 150, 150)]


def test_pairs_are_found_again(photographs: Path, tmp_path: Path) -> None:
    config = BuildConfig.model_validate(
        {
            "source": str(photographs),
            "samples_per_image": 5,
            "split": {"test": 0.34},
            "mix": {"pairs": 1.0, "background": 0.5, "whole_image": 0.2},
        }
    )
    build_dataset(config, tmp_path / "set", show_progress=False)
    assert validate_dataset(tmp_path / "set", show_progress=False).ok
    opened = RoiDataset(tmp_path / "set", "train")
    assert opened.pairs == ((0, 1), (2, 3), (5, 6), (7, 8))  # the fifth of each image has nobody left
    for first, second in opened.pairs:
        one, other = opened[first], opened[second]
        assert one.image_id == other.image_id and one.sample.pair_id == other.sample.pair_id
        assert one.sample.recipe != other.sample.recipe and not np.array_equal(one.image, other.image)
    assert opened.sample(4).pair_id is None
    recipes = [opened.sample(i).recipe for i in range(len(opened))]
    assert any(step.outside for recipe in recipes if recipe is not None for step in recipe.steps)
    assert RoiDataset(tmp_path / "set", "test").pairs == ((0, 1), (2, 3))
