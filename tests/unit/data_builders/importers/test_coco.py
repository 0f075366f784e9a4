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
