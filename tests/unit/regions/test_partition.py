"""Non-overlapping cover: exact, small on top of large."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode, decode_all, encode
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


def random_regions(rng: np.random.Generator, h: int, w: int) -> list[Region]:
    """Up to twelve regions of any shape and size: blobs, specks, stripes, the whole image; some of them equal."""
    regions: list[Region] = []
    for index in range(int(rng.integers(1, 13))):
        kind = rng.integers(4)
        mask = np.zeros((h, w), bool)
        if kind == 0:  # a blob: smooth noise above a random height
            noise = cv2.GaussianBlur(rng.standard_normal((h, w)).astype(np.float32), (0, 0), 3.0)
            mask = noise > np.quantile(noise, rng.uniform(0.05, 0.95))
        elif kind == 1:  # specks
            mask = rng.random((h, w)) < rng.uniform(0.01, 0.5)
        elif kind == 2:  # a stripe
            mask[:, int(rng.integers(0, w)) :] = True
        elif regions:  # one that was there, or the whole image
            mask = decode(regions[int(rng.integers(len(regions)))])
        if not mask.any():
            mask[:] = True
        regions.append(encode(mask, str(index)))
    return regions


@pytest.mark.parametrize("seed", range(40))
def test_any_masks_give_an_exact_cover_with_small_on_top_of_large(seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = int(rng.integers(1, 40)), int(rng.integers(1, 40))
    regions = random_regions(rng, h, w)
    masks = decode_all(regions)
    cover = non_overlapping(regions, h, w)
    # Exact: every pixel belongs to one part, and the rest is what no region claims.
    np.testing.assert_array_equal(decode_all(cover).sum(axis=0), 1)
    assert sum(region.area for region in cover) == h * w
    rest = [region for region in cover if region.name == REST_NAME]
    assert len(rest) == int(not masks.any(axis=0).all()) and cover[-len(rest) or len(cover) :] == rest
    if rest:
        np.testing.assert_array_equal(decode(rest[0]), ~masks.any(axis=0))
    # Each pixel belongs to the smallest region over it, of equal ones to the last.
    rank = np.array([region.area * len(regions) - i for i, region in enumerate(regions)])
    smallest = np.where(masks, rank[:, None, None], np.iinfo(np.int64).max).argmin(axis=0)
    for region in cover[: len(cover) - len(rest)]:
        np.testing.assert_array_equal(decode(region), masks.any(axis=0) & (smallest == int(region.name)))
    # The given order stays, only wholly covered regions are missing, and a cover is its own cover.
    names = [int(region.name) for region in cover[: len(cover) - len(rest)]]
    assert names == [i for i in range(len(regions)) if (masks[i] & (smallest == i)).any()]
    assert non_overlapping(cover, h, w) == cover


def test_the_order_of_regions_of_different_size_does_not_matter() -> None:
    rng = np.random.default_rng(7)
    regions = list({region.area: region for region in random_regions(rng, 37, 23)}.values())
    expected = {region.name: region for region in non_overlapping(regions, 37, 23)}
    for _ in range(5):
        mixed = [regions[i] for i in rng.permutation(len(regions))]
        assert {region.name: region for region in non_overlapping(mixed, 37, 23)} == expected


def test_covered_regions_go_and_no_region_gives_the_whole_image() -> None:
    whole = box_region((0, 0, 6, 5), 5, 6, "whole")
    twin = box_region((0, 0, 6, 5), 5, 6, "twin")
    assert [r.name for r in non_overlapping([whole, twin], 5, 6)] == ["twin"]
    rest = non_overlapping([], 5, 6)
    assert [(r.name, r.area) for r in rest] == [(REST_NAME, 30)]


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(RegionError, match=r"Region 0 belongs to an image of 6x5.*not 5x6"):
        non_overlapping([box_region((0, 0, 2, 2), 5, 6)], 6, 5)
