"""The graph segmenter on real photographs: cover, sizes, number, determinism, prompts, speed."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from seagull_tune.config.regions import SamSettings
from seagull_tune.errors import CheckpointError, ConfigError, DataError, RegionError
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode, decode_all
from seagull_tune.segment import Segmenter, build_segmenter
from seagull_tune.segment.graph import GraphSegmenter


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_photographs_get_a_few_regions_that_cover_them(name: str) -> None:
    image = getattr(data, name)()
    regions = GraphSegmenter().segment(image)
    masks = decode_all(regions)
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert 4 <= len(regions) <= 16
    areas = [region.area for region in regions]
    assert areas == sorted(areas, reverse=True)
    assert min(areas) >= 0.02 * masks[0].size
    for mask in masks:  # merged neighbours only: every region is in one piece
        assert cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] == 2
    assert GraphSegmenter().segment(image) == regions


def test_regions_follow_the_content() -> None:
    coffee = data.coffee()
    regions = GraphSegmenter().segment(coffee)
    lab = cv2.cvtColor(coffee, cv2.COLOR_RGB2LAB).astype(np.float64).reshape(-1, 3)
    within = sum(lab[m.ravel()].var(axis=0).sum() * m.sum() for m in decode_all(regions)) / len(lab)
    assert within < 0.35 * lab.var(axis=0).sum()


@pytest.mark.parametrize("name", ["chelsea", "rocket"])
def test_settings_hold(name: str) -> None:
    image = getattr(data, name)()
    assert len(GraphSegmenter(max_regions=3).segment(image)) <= 3
    assert len(GraphSegmenter(max_regions=1).segment(image)) == 1
    large = GraphSegmenter(min_area_share=0.15).segment(image)
    assert min(region.area for region in large) >= 0.15 * image.shape[0] * image.shape[1]
    fine = GraphSegmenter(min_area_share=0.005, max_regions=40, detail=3.0).segment(image)
    assert len(fine) > len(GraphSegmenter().segment(image))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (2, 900), (3, 4), (17, 23)])
def test_small_and_thin_images(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    regions = GraphSegmenter().segment(image)
    assert sum(region.area for region in regions) == shape[0] * shape[1]


def test_an_even_surface_is_one_region_and_two_halves_are_two() -> None:
    flat = np.full((120, 200, 3), 90, np.uint8)
    assert [region.area for region in GraphSegmenter().segment(flat)] == [24000]
    flat[:, 100:] = (200, 60, 40)
    two = GraphSegmenter().segment(flat)
    assert [region.area for region in two] == [pytest.approx(12000, abs=240)] * 2


def test_point_gives_the_region_under_it() -> None:
    image = data.astronaut()
    segmenter = GraphSegmenter()
    masks = decode_all(segmenter.segment(image))
    for x, y in ((0, 0), (511, 511), (230, 120), (300, 400)):
        region = segmenter.at_point(image, x, y)
        np.testing.assert_array_equal(decode(region), masks[masks[:, y, x]][0])
        assert region.name == f"point {x},{y}"
    with pytest.raises(RegionError, match="512,0 lies outside the image of 512x512"):
        segmenter.at_point(image, 512, 0)
    other = np.ascontiguousarray(image[:, ::-1])  # a second image must not meet the first one's segmentation
    mirrored = decode_all(segmenter.segment(other))
    np.testing.assert_array_equal(decode(segmenter.at_point(other, 230, 120)), mirrored[mirrored[:, 120, 230]][0])


def test_box_gives_what_fills_it() -> None:
    scene = np.full((200, 300, 3), 60, np.uint8)
    cv2.circle(scene, (150, 100), 50, (230, 180, 40), -1)
    disc = np.zeros((200, 300), np.uint8)
    cv2.circle(disc, (150, 100), 50, 1, -1)
    segmenter = GraphSegmenter()
    region = segmenter.in_box(scene, (90, 40, 210, 160))
    assert (decode(region) & disc.astype(bool)).sum() / (decode(region) | disc.astype(bool)).sum() > 0.95
    cut = segmenter.in_box(scene, (110, 40, 210, 160))
    assert cut.box_xyxy[0] == 110
    part_of_something_larger = segmenter.in_box(scene, (5, 5, 40, 60))
    assert part_of_something_larger == box_region((5, 5, 40, 60), 200, 300, "box 5,5,40,60")
    assert segmenter.in_box(scene, (0, 0, 300, 200)).area == 60000
    with pytest.raises(RegionError, match="partly outside"):
        segmenter.in_box(scene, (250, 0, 301, 50))


def test_large_image_is_quick_and_right_at_full_size() -> None:
    image = cv2.resize(data.astronaut(), (1000, 800), interpolation=cv2.INTER_CUBIC)
    segmenter = GraphSegmenter()
    segmenter.segment(image[:40, :50].copy())
    start = time.process_time()
    regions = segmenter.segment(image)
    assert time.process_time() - start < 2.0  # 0.15 s where measured; the rest is for a loaded machine
    assert sum(region.area for region in regions) == 800_000
    assert min(region.area for region in regions) >= 0.02 * 800_000


def test_bad_images_settings_and_names() -> None:
    for image in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(DataError, match="uint8 RGB"):
            GraphSegmenter().segment(image)
    for settings in ({"min_area_share": 1.0}, {"max_regions": 0}, {"detail": 0.0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            GraphSegmenter(**settings)  # type: ignore[arg-type]
    assert isinstance(build_segmenter(), Segmenter)
    assert build_segmenter("graph", max_regions=2).name == "graph"
    with pytest.raises(ConfigError, match="Did you mean 'graph'"):
        build_segmenter("grahp")
    with pytest.raises(ConfigError, match="takes no checkpoint"):
        build_segmenter("graph", sam=SamSettings(checkpoint=Path("sam.pth")))
    with pytest.raises(CheckpointError, match="none was given"):
        build_segmenter("sam")
