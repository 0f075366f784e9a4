"""Islands, holes, overlaps: drawn by hand, numbers known."""

from __future__ import annotations

import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import encode
from seagull_tune.segment.mask_cleaning import MaskFilter, without_box_overlaps, without_duplicates


def square_with_a_hole(hole: int) -> np.ndarray:
    """bool (60, 80): a 40x40 square with a square hole of this side."""
    mask = np.zeros((60, 80), bool)
    mask[10:50, 20:60] = True
    mask[15 : 15 + hole, 30 : 30 + hole] = False
    return mask


@pytest.mark.parametrize(
    ("hole", "filled", "kept"),
    [(4, True, True), (5, False, True), (28, False, True), (29, False, False)],  # of 1600: 16, 25, 784, 841 pixels
)
def test_small_holes_are_filled_and_nets_are_dropped(hole: int, filled: bool, kept: bool) -> None:
    mask = square_with_a_hole(hole)
    cleaned = MaskFilter(fill_holes_share=0.01, max_hole_share=0.5).clean(mask)
    assert (cleaned is not None) == kept
    if cleaned is not None:
        np.testing.assert_array_equal(cleaned, square_with_a_hole(0) if filled else mask)


def test_several_holes_count_together() -> None:
    mask = np.ones((50, 50), bool)
    mask[1:49, 1:49] = np.indices((48, 48)).sum(axis=0) % 2 == 0  # a chessboard: 1152 holes of one pixel
    assert MaskFilter(fill_holes_share=0.0, max_hole_share=0.4).clean(mask) is None
    assert MaskFilter(fill_holes_share=0.0, max_hole_share=0.5).clean(mask) is not None
    filled = MaskFilter(fill_holes_share=0.001, max_hole_share=0.0).clean(mask)
    assert filled is not None and filled.all()


def test_background_that_reaches_the_edge_is_no_hole() -> None:
    mask = np.ones((40, 40), bool)
    mask[10:30, 0:20] = False
    cleaned = MaskFilter(fill_holes_share=1.0, max_hole_share=0.0).clean(mask)
    assert cleaned is not None
    np.testing.assert_array_equal(cleaned, mask)


def test_islands_go_and_the_largest_piece_stays() -> None:
    mask = square_with_a_hole(0)
    mask[0:3, 0:5] = True  # 15 of 1615 pixels: 0.93 %
    mask[55:60, 70:75] = True  # 25 pixels: 1.5 %
    cleaned = MaskFilter(min_island_share=0.01).clean(mask)
    assert cleaned is not None
    assert not cleaned[:3, :5].any() and cleaned[55:60, 70:75].all() and cleaned.sum() == 1625
    largest = MaskFilter(min_island_share=1.0).clean(mask)
    assert largest is not None
    np.testing.assert_array_equal(largest, square_with_a_hole(0))


def test_a_diagonal_line_is_one_piece_and_closes_a_hole() -> None:
    mask = np.zeros((9, 9), bool)
    for i in range(5):  # a diamond whose sides touch at corners only
        mask[[i, i, 8 - i, 8 - i], [4 - i, 4 + i, 4 - i, 4 + i]] = True
    cleaned = MaskFilter(min_island_share=0.9, fill_holes_share=1.0).clean(mask)
    assert cleaned is not None and cleaned.sum() == 41


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(RegionError, match="empty"):
        MaskFilter().clean(np.zeros((3, 3), bool))


def test_the_better_of_two_stays() -> None:
    a, b, c = (np.zeros((20, 20), bool) for _ in range(3))
    a[:10], b[:10, :19], c[5:20] = True, True, True
    regions = [encode(mask) for mask in (a, b, c)]
    assert without_duplicates(regions, 0.8) == [regions[0], regions[2]]
    assert without_duplicates(regions, 0.96) == regions
    assert without_duplicates([], 0.5) == []


def test_boxes_that_overlap_go() -> None:
    corner = np.zeros((20, 20), bool)
    corner[:10, 0], corner[9, :10] = True, True  # an L: its box is that of the square, its mask is not
    regions = [encode(corner), box_region((0, 0, 10, 10), 20, 20), box_region((5, 0, 15, 10), 20, 20)]
    assert without_box_overlaps(regions, 0.7) == [regions[0], regions[2]]
    assert without_box_overlaps(regions, 0.3) == [regions[0]]  # the last one's IoU is 50 / 150
    assert without_duplicates(regions, 0.7) == regions
    assert without_box_overlaps([], 0.5) == []
