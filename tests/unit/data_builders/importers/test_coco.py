"""COCO files become regions that a build reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_builders.importers import ImportSummary
from data_builders.importers.coco import import_regions
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.regions.masks import encode

Bring = Callable[..., ImportSummary]


def _instances(folder: Path) -> dict[str, Any]:
    mask = np.zeros((20, 30), bool)
    mask[2:10, 3:20] = True
    return {
        "images": [{"id": 7, "file_name": "val/cat.jpg", "height": 20, "width": 30}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1,
             "segmentation": {"size": [20, 30], "counts": encode(mask).counts}},
            {"id": 2, "image_id": 7, "category_id": 1, "segmentation": [[0, 0, 10, 0, 10, 10, 0, 10]]},
            {"id": 3, "image_id": 7, "category_id": 1, "segmentation": {"size": [9, 9], "counts": "0"}},
            {"id": 4, "image_id": 8, "category_id": 1, "segmentation": []},
        ],
    }  # fmt: skip


def test_coco_instances_become_regions_for_a_build(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    folder.mkdir()
    coffee = Image.open(photographs / "coffee.png")
    coffee.save(folder / "coffee.png")
    shape = {"file_name": "coffee.png", "height": coffee.height, "width": coffee.width}
    content = _instances(tmp_path)
    content["images"].append({"id": 8, **shape})
    corners = [[10, 10, 90, 10, 90, 80, 10, 80]]
    content["annotations"] += [
        {"id": 5, "image_id": 8, "category_id": 1, "segmentation": corners},
        {"id": 6, "image_id": 8, "category_id": 9, "segmentation": [[30, 30, 120, 30, 120, 90]]},
    ]
    (tmp_path / "i.json").write_text(json.dumps(content))
    config = ImportConfig(format="coco", source=tmp_path / "i.json")
    summary = import_regions(config, tmp_path / "regions", show_progress=False)
    assert (summary.n_images, summary.n_regions) == (2, 4)
    assert [failure.image_id for failure in summary.failed] == ["annotation 3", "annotation 4"]
    regions = {"method": "label_maps", "dir": tmp_path / "regions"}
    build = BuildConfig.model_validate({"source": str(folder), "samples_per_image": 1, "regions": regions})
    build_dataset(build, tmp_path / "set", show_progress=False)
    item = RoiDataset(tmp_path / "set")[0]
    assert [region.name for region in item.regions] == ["cat", ""] and item.masks[0][20:70, 20:80].all()
    assert (item.masks[0] & item.masks[1]).any()  # instances may overlap


def test_coco_panoptic_masks(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.int64)
    ids[:, :15], ids[:, 15:] = 70000, 258
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=2).astype(np.uint8)
    (tmp_path / "png").mkdir()
    Image.fromarray(colours).save(tmp_path / "png" / "cat.png")
    content = _instances(tmp_path)
    segments = [{"id": 70000, "category_id": 1}, {"id": 258, "category_id": 2}]
    content["annotations"] = [{"image_id": 7, "file_name": "cat.png", "segments_info": segments}]
    (tmp_path / "p.json").write_text(json.dumps(content))
    config = ImportConfig(format="coco", source=tmp_path / "p.json", images=tmp_path / "png")
    assert import_regions(config, tmp_path / "out", show_progress=False).n_regions == 2
    found = json.loads((tmp_path / "out" / "cat.json").read_text())
    assert [entry["name"] for entry in found] == ["cat", ""]
    with pytest.raises(DataError, match="give --images"):
        import_regions(config.model_copy(update={"images": None}), tmp_path / "b", show_progress=False)


def test_what_is_not_coco_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"pictures": [{"id": 1}]}')
    config = ImportConfig(format="coco", source=tmp_path / "x.json")
    with pytest.raises(DataError, match=r"is not COCO.*found pictures"):
        import_regions(config, tmp_path / "out", show_progress=False)
    content = _instances(tmp_path)
    content["images"].append({"id": 9, "file_name": "train/cat.png", "height": 2, "width": 2})
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="7 and 9 are both called cat"):
        import_regions(config, tmp_path / "out", show_progress=False)


def test_entries_of_the_wrong_kind_are_named_and_left_out(tmp_path: Path) -> None:
    content = _instances(tmp_path)
    size: dict[str, Any] = {"height": 20, "width": 30}
    content["images"] += [
        {"id": [], "file_name": "a.jpg", **size},
        {"id": 11, "file_name": None, **size},
        {"id": 12, "file_name": "b.jpg", "height": "tall", "width": 30},
        {"id": 13, "file_name": "c.jpg", "height": 10**9, "width": 10**9},
        {"id": 14, "file_name": "d.jpg"},
        "e.jpg",
    ]
    content["categories"].append({"id": {}, "name": "dog"})
    shape = content["annotations"][0]["segmentation"]
    wrong = [
        None,
        {"id": 21, "image_id": [7], "segmentation": shape},
        {"id": 22, "image_id": 13, "segmentation": shape},
        {"id": 23, "image_id": 7, "category_id": [], "segmentation": shape},
        {"id": 24, "image_id": 7, "segmentation": [["x", 0, 10, 0, 10, 10]]},
        {"id": 25, "image_id": 7, "segmentation": {"size": [float("inf"), 30], "counts": "0"}},
        {"id": 26, "image_id": 7, "segments_info": [{"id": "x"}], "file_name": "none.png"},
    ]
    content["annotations"] = content["annotations"][:2] + wrong
    (tmp_path / "x.json").write_text(json.dumps(content))
    config = ImportConfig(format="coco", source=tmp_path / "x.json", images=tmp_path)
    summary = import_regions(config, tmp_path / "out", show_progress=False)
    assert (summary.n_images, summary.n_regions) == (1, 2)
    reasons = {failure.image_id: failure.reason for failure in summary.failed}
    assert list(reasons) == [
        *(f"images/{index}" for index in range(1, 7)), "categories/1", "annotation 2",
        *(f"annotation {number}" for number in range(21, 27)),
    ]  # fmt: skip
    for where, said in {
        "images/1": "id is []", "images/2": "file_name is None", "images/3": "height is 'tall'",
        "images/4": "allowed: 0..178000000", "images/5": "no 'height'; found {id: number, file_name: text}",
        "images/6": "found text", "categories/1": "id is {}", "annotation 2": "None; an object",
        "annotation 21": "image_id is [7]", "annotation 22": "13 is in no usable entry", "annotation 23": "category_id",
        "annotation 24": "corners of a polygon are numbers", "annotation 25": "An RLE needs",
        "annotation 26": "none.png: cannot open",
    }.items():  # fmt: skip
        assert said in reasons[where]
