"""Overlays: colours in order, small regions on top, clicks that find them, any size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seagull_tune.errors import DataError, RegionError
from seagull_tune.gallery.overlay import NO_VALUE, Kind, colour_of, colour_stops, colour_table, label_map, legend, paint
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region

H, W = 60, 80


def lightness(colour: tuple[int, int, int]) -> float:
    """L* of CIELAB, 0..100."""
    pixel = np.array([[colour]], np.float32) / 255
    return float(cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0, 0])


def box(x0: int, y0: int, x1: int, y1: int) -> Region:
    return box_region((x0, y0, x1, y1), H, W)


@pytest.mark.parametrize(("kind", "sign"), [("quality", 1), ("importance", -1), ("attention", 1)])
def test_lightness_changes_evenly_with_the_score(kind: Kind, sign: int) -> None:
    steps = [sign * lightness(colour_of(value / 16, kind)) for value in range(17)]
    assert np.diff(steps).min() > 1.0 and steps[-1] - steps[0] > 55
    assert np.corrcoef(np.arange(17), steps)[0, 1] > 0.98


def test_low_importance_does_not_alarm() -> None:
    """It is pale and cold where low quality is dark and red; no two kinds share a colour."""
    low, high = colour_of(0.0, "importance"), colour_of(1.0, "importance")
    assert lightness(low) > 90 and max(low) - min(low) < 20, "nearly white"
    assert high[2] > high[0] + 60, "blue"
    assert not {tuple(c) for c in colour_table("importance").tolist()} & {
        tuple(c) for c in colour_table("quality").tolist()
    }


@pytest.mark.parametrize(("kind", "sign"), [("quality", 1), ("importance", -1), ("attention", 1)])
def test_the_order_survives_colour_blindness(kind: Kind, sign: int) -> None:
    # Vienot, Brettel and Mollon (1999): what dichromats see, in linear light; grey is the luminance alone.
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    for seen in (protan, deutan):
        values = [seen @ (np.array(colour_of(value / 8, kind)) / 255) ** 2.2 for value in range(9)]
        shown = [tuple(int(c) for c in 255 * v.clip(0, 1) ** (1 / 2.2)) for v in values]
        assert np.diff([sign * lightness((r, g, b)) for r, g, b in shown]).min() > 2.0


def test_the_alarming_end_is_red_and_values_beyond_are_the_ends() -> None:
    red, green, blue = colour_of(0.0)
    assert red > 120 and green < 40 and blue < 60
    assert colour_of(-3.0) == colour_of(0.0) and colour_of(1.0000001) == colour_of(1.0)
    assert colour_stops(count=2) == ["#{:02x}{:02x}{:02x}".format(*colour_of(v)) for v in (0.0, 1.0)]
    with pytest.raises(DataError, match="not a number"):
        colour_of(float("nan"))


def test_a_click_finds_the_smallest_region() -> None:
    regions = [box(10, 10, 30, 30), box(0, 0, 60, 60), box(15, 15, 20, 20)]
    labels = label_map(regions, H, W)
    assert labels.dtype == np.int32 and labels.shape == (H, W)
    assert [labels[y, x] for y, x in ((17, 17), (12, 12), (50, 50), (5, 70))] == [2, 0, 1, -1]
    assert (label_map([], H, W) == -1).all()
    with pytest.raises(RegionError, match="80x60"):
        label_map(regions, H, W + 1)


def test_regions_get_their_colours_and_the_rest_stays() -> None:
    image = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
    regions = [box(4, 4, 40, 40), box(10, 10, 20, 20), box(50, 10, 70, 50)]
    painted = paint(image, regions, [0.0, 1.0, None], strength=1.0)
    assert painted.dtype == np.uint8 and painted.shape == (H, W, 3)
    assert tuple(painted[30, 30]) == colour_of(0.0)
    assert tuple(painted[15, 15]) == colour_of(1.0), "the smaller one lies on top"
    assert tuple(painted[30, 60]) == NO_VALUE
    assert np.array_equal(painted[52:, :], image[52:, :]), "outside of all regions nothing changes"
    assert tuple(painted[30, 49]) == (255, 255, 255), "a border"
    important = paint(image, regions, [0.0, 1.0, None], kind="importance", strength=1.0)
    assert tuple(important[30, 30]) == colour_of(0.0, "importance")


def test_masks_and_regions_give_the_same_picture() -> None:
    image = np.random.default_rng(1).integers(0, 256, (H, W, 3), np.uint8)
    regions = [box(4, 4, 40, 40), box(10, 10, 20, 20)]
    masks = np.zeros((2, H, W), bool)
    masks[0, 4:40, 4:40] = masks[1, 10:20, 10:20] = True
    for outlined in (None, 0):
        from_regions = paint(image, regions, [0.2, 0.9], outlined=outlined)
        assert np.array_equal(paint(image, masks, np.array([0.2, 0.9]), outlined=outlined), from_regions)


def test_half_strength_lies_between_the_grey_photograph_and_the_colour() -> None:
    image = np.full((H, W, 3), (0, 200, 0), np.uint8)
    inside = paint(image, [box(0, 0, W, H)], [0.0])[30, 30].astype(int)
    grey = 70 + (1 - 70 / 255) * 0.587 * 200
    faded = (np.array([0, 200, 0]) + grey) / 2
    assert np.abs(inside - (faded + np.array(colour_of(0.0))) / 2).max() <= 1.5
    assert np.array_equal(paint(image, [box(0, 0, W, H)], [0.0], strength=0.0), image)


def test_the_outlined_region_stands_out_also_under_others() -> None:
    image = np.zeros((H, W, 3), np.uint8)
    regions = [box(10, 10, 50, 50), box(5, 5, 30, 55)]
    plain, bold = (paint(image, regions, [0.1, 0.1], outlined=index) for index in (None, 1))
    assert tuple(bold[30, 30]) == (255, 255, 255) and not np.array_equal(plain, bold)
    assert np.array_equal(plain[:, 60:], bold[:, 60:])


def test_no_region_leaves_the_photograph() -> None:
    image = np.random.default_rng(2).integers(0, 256, (H, W, 3), np.uint8)
    assert np.array_equal(paint(image, [], []), image)
    assert np.array_equal(paint(image, np.zeros((0, H, W), bool), []), image)


def test_a_large_photograph_in_strips_is_the_same_picture() -> None:
    image = np.tile(np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8), (50, 60, 1))
    h, w = image.shape[:2]
    regions = [box_region((100, 0, 1500, h), h, w), box_region((1000, 500, 3000, 1900), h, w)]
    painted = paint(image, regions, [0.0, 0.75])
    cut = paint(image[1000:1060].copy(), [box_region((1000, 0, 3000, 60), 60, w)], [0.75])
    assert np.array_equal(painted[1020:1040, 1600:2900], cut[20:40, 1600:2900])


def test_what_cannot_be_painted() -> None:
    image = np.zeros((H, W, 3), np.uint8)
    for bad in (image.astype(np.float32), image[..., 0], image[..., :2]):
        with pytest.raises(DataError, match="uint8"):
            paint(bad, [], [])
    with pytest.raises(RegionError, match="2 scores for 1 regions"):
        paint(image, [box(0, 0, 9, 9)], [0.1, 0.2])
    with pytest.raises(RegionError, match="outlined"):
        paint(image, [box(0, 0, 9, 9)], [0.1], outlined=1)
    with pytest.raises(DataError, match="strength"):
        paint(image, [], [], strength=1.5)
    with pytest.raises(DataError, match="not a number"):
        paint(image, [box(0, 0, 9, 9)], [float("nan")])
    with pytest.raises(RegionError, match="bool"):
        paint(image, np.zeros((1, H, W + 1), bool), [0.1])


@pytest.mark.parametrize(("width", "height"), [(300, 60), (60, 24), (1200, 40), (90, 300)])
def test_the_legend_runs_from_alarming_to_calm(width: int, height: int) -> None:
    picture = legend(width, height, "quality of the region, a long label")
    assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
    middle = picture[height // 2]
    coloured = np.flatnonzero((middle != 255).any(axis=1))
    assert tuple(middle[coloured[0]]) == colour_of(0.0) and tuple(middle[coloured[-1]]) == colour_of(1.0)
    other = legend(width, height, "importance", "importance")[height // 2]
    assert tuple(other[coloured[0]]) == colour_of(0.0, "importance")
    assert not (picture[-height // 4 :] == 255).all(), "numbers below"
    with pytest.raises(DataError, match="too small"):
        legend(20, 20, "quality")
