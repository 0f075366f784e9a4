"""Panels of a report: sizes, colours under labels, the worst first."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from seagull_tune.errors import DataError
from seagull_tune.gallery.overlay import colour_of
from seagull_tune.gallery.panels import (
    SCREEN_SIDE,
    faults,
    fit_for_screen,
    panels_of,
    photograph_panel,
    report_picture,
    score_panel,
    to_jpeg,
    to_png,
    worst_first,
)
from seagull_tune.regions.boxes import box_region
from tests.canned_answers import canned_answer


def test_regions_take_the_colours_of_their_scores() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    masks = np.zeros((3, 200, 300), bool)
    masks[0, 20:180, 20:140] = True
    masks[1, 20:180, 160:290] = True
    masks[2, 60:90, 220:270] = True  # a small region inside a large one stays visible
    picture = score_panel(image, masks, np.array([0.0, 1.0, 0.0])).astype(int)
    low, high, inner = picture[40, 40], picture[40, 180], picture[65, 230]
    assert high.sum() > low.sum() + 200
    np.testing.assert_array_equal(inner, low)
    np.testing.assert_allclose(low, 0.7 * np.array(colour_of(0.0)) + 0.3 * 0.5 * (128 + 163), atol=16)
    numbered = photograph_panel(image, masks, ["1", "2", "3"])
    assert (numbered[30:170, 30:130] != 128).any(), "a number"
    assert (numbered[170, 30] == 128).all()


def test_large_photographs_are_shrunk_and_single_pixels_are_drawn() -> None:
    image = np.zeros((1600, 1200, 3), np.uint8)
    masks = np.zeros((1, 1600, 1200), bool)
    masks[0, :800] = True
    small, small_masks = fit_for_screen(image, masks)
    assert max(small.shape) == SCREEN_SIDE and small_masks.shape == (1, *small.shape[:2])
    assert small_masks.mean() == pytest.approx(0.5, abs=0.01)
    answers = [canned_answer(box_region((1199, 1599, 1200, 1600), 1600, 1200), 0.1)]
    photograph, heat, _ = panels_of(image, answers)
    assert photograph.shape == heat.shape and (heat != 0).any()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2000, 3), (3, 2000), (60, 80)])
def test_a_picture_of_any_shape_with_any_number_of_regions(height: int, width: int) -> None:
    region = box_region((0, 0, width, height), height, width)
    for count in (1, 30):
        answers = worst_first([canned_answer(region, at / count, abstain=at == 1) for at in range(count)])
        panels = panels_of(np.zeros((height, width, 3), np.uint8), answers)
        picture = report_picture(panels, answers, "a very long name \n\u0600" * 40)
        assert picture.dtype == np.uint8 and picture.shape[1] >= 2 * panels[0].shape[1]
        assert Image.open(io.BytesIO(to_png(picture))).size == picture.shape[1::-1]


def test_png_and_jpeg_keep_the_order_of_colours() -> None:
    red = np.full((8, 8, 3), (250, 10, 30), np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(to_png(red)))) == red).all()
    assert np.abs(np.asarray(Image.open(io.BytesIO(to_jpeg(red)))).astype(int) - red).max() < 12


def test_the_worst_comes_first_and_the_most_probable_fault() -> None:
    region = box_region((0, 0, 4, 4), 8, 8)
    answers = [canned_answer(region, quality) for quality in (0.9, 0.1, 0.5)]
    assert [answer.scores.quality for answer in worst_first(answers)] == pytest.approx([0.1, 0.5, 0.9])
    ((kind, severity, probability),) = faults(answers[0])
    assert (kind, severity) == ("blur", "obvious") and probability == pytest.approx(0.8)


def test_a_photograph_that_was_changed_is_refused() -> None:
    answers = [canned_answer(box_region((0, 0, 4, 4), 8, 8), 0.5)]
    with pytest.raises(DataError, match="9x8 pixels, but 8x8"):
        panels_of(np.zeros((8, 9, 3), np.uint8), answers)
