"""Non-overlapping cover: exact, small on top of large."""

from __future__ import annotations

import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode_all
from seagull_tune.regions.partition import REST_NAME, label_map, non_overlapping


def test_small_lies_on_large_and_the_rest_is_a_region() -> None:
    small, large = box_region((4, 4, 6, 6), 10, 12, "small"), box_region((2, 2, 10, 8), 10, 12, "large")
    for given in ([small, large], [large, small]):
        cover = non_overlapping(given, 10, 12)
        assert [r.name for r in cover] == [*(r.name for r in given), REST_NAME]
        assert {r.name: r.area for r in cover} == {"small": 4, "large": 44, REST_NAME: 72}


def test_random_regions_give_an_exact_cover() -> None:
    rng = np.random.default_rng(3)
    regions = []
    for index in range(25):
        x0, y0 = int(rng.integers(0, 50)), int(rng.integers(0, 30))
        x1, y1 = int(rng.integers(x0 + 1, 61)), int(rng.integers(y0 + 1, 41))
        regions.append(box_region((x0, y0, x1, y1), 40, 60, str(index)))
    cover = non_overlapping(regions, 40, 60)
    masks = decode_all(cover)
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    originals = {r.name: m for r, m in zip(regions, decode_all(regions), strict=True)}
    for region, mask in zip(cover, masks, strict=True):
        if region.name != REST_NAME:
            assert not (mask & ~originals[region.name]).any()
    # Brute force: each pixel belongs to the smallest region over it.
    labels = label_map(regions, 40, 60)
    for y, x in rng.integers(0, (40, 60), (200, 2)):
        over = [(regions[i].area, -i) for i in range(25) if originals[str(i)][y, x]]
        assert labels[y, x] == (0 if not over else 1 - min(over)[1])


def test_covered_regions_go_and_no_region_gives_the_whole_image() -> None:
    whole = box_region((0, 0, 6, 5), 5, 6, "whole")
    twin = box_region((0, 0, 6, 5), 5, 6, "twin")
    assert [r.name for r in non_overlapping([whole, twin], 5, 6)] == ["twin"]
    rest = non_overlapping([], 5, 6)
    assert [(r.name, r.area) for r in rest] == [(REST_NAME, 30)]


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(RegionError, match=r"Region 0 belongs to an image of 6x5.*not 5x6"):
        non_overlapping([box_region((0, 0, 2, 2), 5, 6)], 6, 5)
