"""Boxes and points: text, ends exclusive, and every way to be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.regions.boxes import box_region, parse_box, parse_point, validate_box, validate_point
from seagull_tune.regions.masks import decode


def test_box_region_has_exclusive_ends() -> None:
    region = box_region(parse_box(" 2, 1,5,4 "), 6, 8, "lamp")
    expected = np.zeros((6, 8), bool)
    expected[1:4, 2:5] = True
    np.testing.assert_array_equal(decode(region), expected)
    assert (region.area, region.box_xyxy, region.name) == (9, (2, 1, 5, 4), "lamp")
    assert box_region((0, 0, 8, 6), 6, 8).area == 48


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1.5,2,3,4", "1 2 3 4", "1,,3,4"])
def test_unreadable_box_text(text: str) -> None:
    with pytest.raises(RegionError, match="x0,y0,x1,y1"):
        parse_box(text)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((5, 1, 2, 4), "inverted"),
        ((2, 4, 5, 4), "empty"),
        ((8, 0, 12, 3), "outside the image of 8x6"),
        ((-5, -5, 0, 3), "outside the image"),
        ((-2, 1, 5, 4), r"partly outside.*Clipped to the image it is 0,1,5,4"),
        ((2, 1, 9, 7), r"partly outside.*2,1,8,6"),
        ((1, 2, 3), "3 numbers"),
    ],
)
def test_boxes_that_cannot_be_used(box: tuple[int, ...], words: str) -> None:
    with pytest.raises(RegionError, match=words):
        validate_box(box, 6, 8)


def test_points() -> None:
    assert parse_point("7, 5") == (7, 5)
    assert validate_point(7, 5, 6, 8) == (7, 5)
    for x, y in ((8, 0), (0, 6), (-1, 2)):
        with pytest.raises(RegionError, match=f"Point {x},{y} lies outside the image of 8x6"):
            validate_point(x, y, 6, 8)
    with pytest.raises(RegionError, match="x,y"):
        parse_point("7")
