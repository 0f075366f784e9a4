"""Every notation of the command line, and every bad one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seagull_tune.errors import DataError, RegionError
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode, encode
from seagull_tune.regions.parse import (
    RegionQuery,
    load_region_dir,
    regions_from_box,
    regions_from_label_map,
    regions_from_mask_file,
    regions_from_polygon,
)

H, W = 30, 40


class Quarters:
    """A segmenter that cuts every image into four."""

    def segment(self, image: np.ndarray) -> list[Region]:
        h, w = image.shape[:2]
        return [box_region((x, y, x + w // 2, y + h // 2), h, w, f"{x},{y}") for y in (0, h // 2) for x in (0, w // 2)]

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        return next(r for r in self.segment(image) if decode(r)[y, x])


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[5:15, 8:30] = True
    return mask


def saved(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


def test_mask_files_of_every_kind_are_the_same_region(mask: np.ndarray, tmp_path: Path) -> None:
    kinds = {
        "bits": mask,
        "ones": mask.astype(np.uint8),
        "grey": mask.astype(np.uint8) * 200,
        "deep": mask.astype(np.uint16) * 65535,
        "rgb": np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255,
        "rgba": np.dstack([mask * 255, mask * 0, mask * 0, np.full((H, W), 255)]).astype(np.uint8),
        "bytes": np.where(mask, 255, 100).astype(np.uint8),
    }
    for name, values in kinds.items():
        (region,) = regions_from_mask_file(saved(tmp_path / f"{name}.png", values), H, W)
        assert region == encode(mask, name)


def test_soft_mask_is_cut_at_half(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, W).round().astype(np.uint8), (H, 1))
    (region,) = regions_from_mask_file(saved(tmp_path / "soft.png", ramp), H, W)
    np.testing.assert_array_equal(decode(region), ramp > 127)


def test_bad_mask_files(mask: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(RegionError, match=r"small\.png has 20x10 pixels.*image has 40x30"):
        regions_from_mask_file(saved(tmp_path / "small.png", np.ones((10, 20), np.uint8)), H, W)
    with pytest.raises(RegionError, match=r"turned\.png has 30x40"):
        regions_from_mask_file(saved(tmp_path / "turned.png", mask.T.copy()), H, W)
    with pytest.raises(RegionError, match="empty"):
        regions_from_mask_file(saved(tmp_path / "empty.png", np.zeros((H, W), np.uint8)), H, W)
    labels = (np.arange(H * W) % 5).astype(np.uint8).reshape(H, W)
    with pytest.raises(RegionError, match="label map"):
        regions_from_mask_file(saved(tmp_path / "labels.png", labels), H, W)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png"):
        regions_from_mask_file(tmp_path / "text.png", H, W)


def test_label_map_folder(tmp_path: Path) -> None:
    labels = np.zeros((H, W), np.uint16)
    labels[:10], labels[20:] = 2, 900
    saved(tmp_path / "cat.png", labels)
    saved(tmp_path / "dog.tif", labels.astype(np.int32))
    for stem in ("cat", "dog"):
        assert [(r.name, r.area) for r in load_region_dir(tmp_path, stem, H, W)] == [
            ("label 2", 400),
            ("label 900", 400),
        ]
    saved(tmp_path / "grey.png", np.repeat(labels[..., None] % 256, 3, 2).astype(np.uint8))
    assert len(load_region_dir(tmp_path, "grey", H, W)) == 2
    assert len(load_region_dir(tmp_path, "cat", H, W, min_area_share=0.3)) == 2


def test_a_folder_may_hold_lists_of_regions_that_overlap(tmp_path: Path) -> None:
    masks = np.zeros((2, H, W), bool)
    masks[0, :20], masks[1, 10:, :10] = True, True
    rles = [{"size": [H, W], "counts": encode(mask).counts, "name": f"r{i}"} for i, mask in enumerate(masks)]
    (tmp_path / "cat.json").write_text(json.dumps(rles))
    found = load_region_dir(tmp_path, "cat", H, W)
    assert [(r.name, r.area) for r in found] == [("r0", masks[0].sum()), ("r1", masks[1].sum())]
    assert [r.name for r in load_region_dir(tmp_path, "cat", H, W, min_area_share=0.4)] == ["r0"]
    saved(tmp_path / "cat.png", np.ones((H, W), np.uint8))
    assert [r.name for r in load_region_dir(tmp_path, "cat", H, W)] == ["label 1"]  # a label map comes first
    (tmp_path / "dog.json").write_text(json.dumps(rles))
    with pytest.raises(RegionError, match="sizes must be equal"):
        load_region_dir(tmp_path, "dog", W, H)


def test_bad_label_map_folder(tmp_path: Path) -> None:
    saved(tmp_path / "cat.png", np.zeros((H, W), np.uint8))
    with pytest.raises(RegionError, match=r"no label map for the image 'cta'.*Did you mean 'cat'"):
        load_region_dir(tmp_path, "cta", H, W)
    with pytest.raises(RegionError, match="no such folder"):
        load_region_dir(tmp_path / "none", "cat", H, W)
    with pytest.raises(RegionError, match=r"cat\.png.*no region"):
        load_region_dir(tmp_path, "cat", H, W)
    with pytest.raises(RegionError, match=r"cat\.png has 40x30 pixels.*image has 30x30"):
        load_region_dir(tmp_path, "cat", H, 30)
    colour = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    with pytest.raises(RegionError, match="colour"):
        regions_from_label_map(saved(tmp_path / "colour.png", colour), H, W)


def test_a_label_map_with_one_region(tmp_path: Path) -> None:
    (region,) = regions_from_label_map(saved(tmp_path / "full.png", np.full((H, W), 7, np.uint8)), H, W)
    assert (region.name, region.area) == ("label 7", H * W)
    labels = np.zeros((H, W), np.uint8)
    labels[:2, :2] = 1
    path = saved(tmp_path / "dot.png", labels)
    with pytest.raises(RegionError, match=r"dot\.png: The label map has no region: its values are \[0, 1\].*2\.00%"):
        regions_from_label_map(path, H, W, min_area_share=0.02)


def test_polygon_text() -> None:
    (region,) = regions_from_polygon(" 2,3; 8,3;8,7 ;2,7;", H, W)
    assert (region.name, region.area, region.box_xyxy) == ("polygon of 4 corners", 24, (2, 3, 8, 7))
    assert regions_from_polygon("0.5,0;10,0;10,9.5", H, W)[0].area > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "corner 0 is ''"),
        ("1,2;3,4", "it has 2 corners; allowed is x,y;x,y;x,y"),
        ("1,2;3;4,5", "corner 1 is '3'"),
        ("1,2;3,4;5,x", "corner 2 is '5,x'"),
        ("1,2;3,4;5,nan", "corner 2 is '5,nan'"),
        ("1,2;3,4,5;6,7", "corner 1 is '3,4,5'"),
        ("1,2;50,4;5,9", r"Corner 1 of the polygon, 50,4, lies outside the image of 40x30"),
        ("1,2;1,2;1,2", "empty"),
    ],
)
def test_bad_polygon_text(text: str, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        regions_from_polygon(text, H, W)


def test_query_resolves_in_the_order_of_its_fields(mask: np.ndarray, tmp_path: Path) -> None:
    image = np.zeros((H, W, 3), np.uint8)
    saved(tmp_path / "photo.png", mask.astype(np.uint8))
    rois = tmp_path / "rois.json"
    rois.write_text(json.dumps([{"img": "photo.png", "points": [1, 2, 3, 4]}]))
    query = RegionQuery(
        boxes=("0,0,4,4", "1,1,3,3"), points=("39,29",), polygons=("0,0;9,0;0,9",),
        masks=(tmp_path / "photo.png",), seagull_json=rois,
        rles=(json.dumps({"size": [H, W], "counts": encode(mask).counts}),), region_dir=tmp_path, all=True,
    )  # fmt: skip
    names = [region.name for region in query.resolve(image, tmp_path / "photo.png", Quarters())]
    assert names == [
        "box 0,0,4,4", "box 1,1,3,3", "20,15", "polygon of 3 corners", "photo", "", "entry 0", "label 1",
        "0,0", "20,0", "0,15", "20,15",
    ]  # fmt: skip
    assert RegionQuery().empty
    with pytest.raises(RegionError, match="No region"):
        RegionQuery().resolve(image, "photo", Quarters())
    with pytest.raises(RegionError, match="Point 40,0"):
        RegionQuery(points=("40,0",)).resolve(image, "photo", Quarters())
    with pytest.raises(RegionError, match="partly outside"):
        regions_from_box("0,0,50,10", H, W)


def test_human_regions_of_the_outside_data_are_read() -> None:
    root = os.environ.get("SEAGULL_TUNE_TEST_DATA")
    if not root or not (Path(root) / "bsds500").is_dir():
        pytest.skip("SEAGULL_TUNE_TEST_DATA names no folder with bsds500/ in it")
    folder = Path(root) / "bsds500" / "regions"
    for path in sorted(folder.glob("*.png"))[:5]:
        w, h = Image.open(path).size
        regions = load_region_dir(folder, path.stem, h, w)
        assert len(regions) >= 2
        assert sum(region.area for region in regions) <= h * w
