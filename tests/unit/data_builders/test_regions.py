"""Where the regions of a data set come from: SAM with its cache, label maps at their limits, images that fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT

from data_builders.pipeline import build_dataset, plan_build
from data_builders.regions import _segmenter, drawn_boxes
from seagull_tune.config.data import BuildConfig, RegionSource
from seagull_tune.data.reader import RoiDataset
from seagull_tune.data.schema import read_manifest
from seagull_tune.errors import CheckpointError, DataError
from tests.tiny_sam import tiny_sam

Config = Callable[..., BuildConfig]


def _build(photographs: Path, **more: Any) -> BuildConfig:
    return BuildConfig.model_validate({"source": str(photographs), "samples_per_image": 1, **more})


@pytest.fixture
def sam_config(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A build with a tiny random SAM, whose registered size is tiny too."""
    monkeypatch.setitem(sam_model_registry, "vit_b", partial(tiny_sam, 5))
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    _segmenter.cache_clear()

    def config(**more: Any) -> BuildConfig:
        sam = {
            "checkpoint": str(tmp_path / "sam.pth"), "model_type": "vit_b", "cache_dir": str(tmp_path / "cache"),
            "points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "max_hole_share": 1.0,
            "min_island_share": 0.0,
        }  # fmt: skip
        return _build(photographs, regions={"method": "sam", "max_regions": 4, "sam": {**sam, **more}})

    return config


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every image that SAM encodes; the device is full at the second."""
    calls: list[int] = []
    forward = ImageEncoderViT.forward

    def counted(self: Any, pixels: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(self, pixels)

    monkeypatch.setattr(ImageEncoderViT, "forward", counted)
    return calls


def test_an_image_that_sam_fails_on_is_reported_and_the_others_are_built(
    sam_config: Config, encoded: list[int], tmp_path: Path
) -> None:
    summary = build_dataset(sam_config(), tmp_path / "a", show_progress=False)
    assert (summary.n_images, len(encoded)) == (2, 3)
    assert [failure.image_id for failure in summary.failed] == ["chelsea"]
    assert "no memory for this image" in summary.failed[0].reason
    assert "failed: chelsea: chelsea.png: SAM has no memory" in summary.describe()
    assert [entry["image_id"] for entry in read_manifest(tmp_path / "a")["failed"]] == ["chelsea"]
    # What was found is kept: a build elsewhere encodes only the image that failed.
    again = build_dataset(sam_config(points_per_batch=1), tmp_path / "b", show_progress=False)
    assert (again.n_images, again.failed, len(encoded)) == (3, (), 4)
    first, second = RoiDataset(tmp_path / "a"), RoiDataset(tmp_path / "b")
    assert first[0].regions == second[0].regions and 1 <= len(first[0].regions) <= 4


def test_a_data_set_is_known_by_the_weights_not_by_where_they_are(sam_config: Config, tmp_path: Path) -> None:
    here = plan_build(sam_config(), tmp_path / "a", show_progress=False)
    (tmp_path / "moved").mkdir()
    (tmp_path / "sam.pth").rename(tmp_path / "moved" / "sam.pth")
    with pytest.raises(CheckpointError, match=r"sam\.pth: no such SAM checkpoint"):
        plan_build(sam_config(), tmp_path / "a", show_progress=False)
    moved = sam_config(checkpoint=str(tmp_path / "moved" / "sam.pth"), device="cuda", cache=False)
    assert plan_build(moved, tmp_path / "a", show_progress=False).config_hash == here.config_hash
    other = sam_config(checkpoint=str(tmp_path / "moved" / "sam.pth"), points_per_side=3)
    assert plan_build(other, tmp_path / "a", show_progress=False).config_hash != here.config_hash
    torch.save(tiny_sam(1).state_dict(), tmp_path / "sam.pth")
    assert plan_build(sam_config(), tmp_path / "a", show_progress=False).config_hash != here.config_hash


def _label_maps(photographs: Path, folder: Path, labels: Callable[[int, int], np.ndarray]) -> dict[str, Any]:
    folder.mkdir()
    for path in photographs.glob("*.png"):
        width, height = Image.open(path).size
        Image.fromarray(labels(height, width)).save(folder / path.name)
    return {"method": "label_maps", "dir": str(folder)}


def test_a_label_map_with_one_region_is_one_region(photographs: Path, tmp_path: Path) -> None:
    regions = _label_maps(photographs, tmp_path / "maps", lambda h, w: np.full((h, w), 3, np.uint8))
    summary = build_dataset(_build(photographs, regions=regions), tmp_path / "a", show_progress=False)
    assert (summary.n_images, summary.n_regions, summary.failed) == (3, 3, ())
    (region,) = RoiDataset(tmp_path / "a")[0].regions
    assert region.name == "label 3" and region.area == region.height * region.width


def test_label_maps_with_nothing_above_the_area_limit_fail_by_name(photographs: Path, tmp_path: Path) -> None:
    def dots(height: int, width: int) -> np.ndarray:
        labels = np.zeros((height, width), np.uint8)
        labels[:3, :3], labels[10:13, 10:13] = 1, 2
        return labels

    regions = _label_maps(photographs, tmp_path / "maps", dots)
    with pytest.raises(DataError) as caught:
        build_dataset(_build(photographs, regions=regions), tmp_path / "a", show_progress=False)
    for name in ("astronaut", "chelsea", "coffee"):
        assert f"{name}.png: none of 2 regions covers 2.0% of the image; lower regions.min_area_share" in str(
            caught.value
        )
    lower = _build(photographs, regions={**regions, "min_area_share": 0.0})
    assert build_dataset(lower, tmp_path / "b", show_progress=False).n_regions == 6


def test_masks_of_sam_with_nothing_above_the_area_limit_fail_by_name(
    sam_config: Config, photographs: Path, tmp_path: Path
) -> None:
    config = sam_config()
    strict = config.model_copy(update={"regions": config.regions.model_copy(update={"min_area_share": 0.999})})
    with pytest.raises(DataError, match=r"(?s)coffee.png: SAM found \d+ masks.*at least 99\.9% of the image"):
        build_dataset(strict, tmp_path / "a", show_progress=False)


def test_boxes_are_drawn_beside_the_found_regions(photographs: Path, tmp_path: Path) -> None:
    def regions_of_build(name: str, **regions: Any) -> list[list[Any]]:
        config = _build(photographs, regions=regions, split={"all_into": "train"})
        build_dataset(config, tmp_path / name, show_progress=False)
        rows = RoiDataset(tmp_path / name, "train")
        return [list(rows.image_record(rows.sample(i).image_id).regions) for i in range(len(rows))]

    without, with_boxes = regions_of_build("without"), regions_of_build("with", boxes=5)
    for found, both in zip(without, with_boxes, strict=True):
        assert len(both) == len(found) + 5
        assert all(region in both for region in found)
        assert [region.area for region in both] == sorted((region.area for region in both), reverse=True)
    assert with_boxes == regions_of_build("again", boxes=5)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 400), (97, 80), (480, 640)])
def test_drawn_boxes_are_boxes_of_the_sizes_that_are_asked_for(height: int, width: int) -> None:
    config = RegionSource(boxes=200, min_area_share=0.02)
    boxes = drawn_boxes(height, width, config, np.random.default_rng(0))
    assert len(boxes) == 200
    for region in boxes:
        x0, y0, x1, y1 = region.box_xyxy
        assert region.area == (x1 - x0) * (y1 - y0) >= 0.02 * height * width
        assert region.area <= max(0.35 * height * width, 20)
    assert len({region.box_xyxy for region in boxes}) > 100 or height * width < 2000


def test_photographs_of_one_name_have_label_maps_of_their_own(photographs: Path, tmp_path: Path) -> None:
    folder, maps = tmp_path / "in", tmp_path / "maps"
    for place, name in (("a", "coffee"), ("b", "chelsea"), ("c", "astronaut")):
        (folder / place).mkdir(parents=True)
        Image.open(photographs / f"{name}.png").save(folder / place / "1.png")
    Image.open(photographs / "coffee.png").transpose(Image.Transpose.ROTATE_180).save(folder / "only.png")
    (maps / "a").mkdir(parents=True)

    def label(path: Path, picture: Path, value: int) -> None:
        Image.new("L", Image.open(picture).size, value).save(path)

    label(maps / "1.png", folder / "b" / "1.png", 9)  # of which of the three?
    label(maps / "a" / "1.png", folder / "a" / "1.png", 3)
    label(maps / "only.png", folder / "only.png", 5)
    config = _build(folder, recursive=True, regions={"method": "label_maps", "dir": str(maps)})
    summary = build_dataset(config, tmp_path / "set", show_progress=False)
    assert sorted(failure.image_id for failure in summary.failed) == ["b/1.png", "c/1.png"]
    assert all("no such folder of label maps" in failure.reason for failure in summary.failed)
    found = {item.image_id: [region.name for region in item.regions] for item in RoiDataset(tmp_path / "set")}
    assert found == {"a/1.png": ["label 3"], "only": ["label 5"]}
