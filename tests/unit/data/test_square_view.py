"""The released model's view: squares, boxes, and regions that sampling would lose."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from seagull_tune.data.square_view import square_inputs
from seagull_tune.data.visual import VisualInputs
from seagull_tune.errors import RegionError

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def view(image: np.ndarray, masks: np.ndarray, side: int = 64, crop_side: int = 32) -> VisualInputs:
    return square_inputs(image, masks, side=side, mean=MEAN, std=STD, crop_side=crop_side)


def photograph(width: int = 150, height: int = 100) -> np.ndarray:
    return cv2.resize(skimage.data.coffee(), (width, height), interpolation=cv2.INTER_AREA)


def test_shapes_and_types() -> None:
    image = photograph()
    masks = np.zeros((2, 100, 150), bool)
    masks[0, 10:60, 20:100] = True
    masks[1, 90:, :] = True
    seen = view(image, masks)
    assert seen.pixels.shape == (3, 64, 64) and seen.masks.shape == (2, 64, 64)
    assert seen.patches.shape == (2, 1, 3, 32, 32) and seen.patch_masks.shape == (2, 1, 32, 32)
    assert {a.dtype for a in (seen.pixels, seen.masks, seen.patches)} == {np.dtype(np.float32)}
    assert set(np.unique(seen.masks)) == {0.0, 1.0}
    # The share of the picture that a region covers survives the squashing.
    assert seen.masks.mean(axis=(1, 2)) == pytest.approx(masks.mean(axis=(1, 2)), abs=0.02)
    assert seen.patch_masks.all()


def test_a_square_of_the_right_size_is_only_normalised() -> None:
    image = photograph(64, 64)
    seen = view(image, np.ones((1, 64, 64), bool), crop_side=64)
    expected = (image / 255.0 - MEAN) / STD
    np.testing.assert_allclose(seen.pixels, expected.transpose(2, 0, 1), atol=1e-5)
    np.testing.assert_array_equal(seen.patches[0, 0], seen.pixels)


def test_a_crop_is_the_whole_box_of_its_region() -> None:
    image = photograph()
    masks = np.zeros((1, 100, 150), bool)
    masks[0, 20:52, 30:62] = True  # exactly 32 x 32: nothing is resized, so every row and column must be there
    seen = view(image, masks)
    expected = ((image[20:52, 30:62] / 255.0 - MEAN) / STD).transpose(2, 0, 1)
    np.testing.assert_allclose(seen.patches[0, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("width", "height"), [(150, 100), (100, 150)])
def test_squashing_is_bicubic_to_the_shorter_side_and_then_bilinear(width: int, height: int) -> None:
    image = photograph(width, height)
    fitted = (96, 64) if width > height else (64, 96)
    smooth = np.asarray(Image.fromarray(image).resize(fitted, Image.Resampling.BICUBIC)).astype(np.float32)
    expected = (cv2.resize(smooth, (64, 64)) / 255.0 - MEAN) / STD
    seen = view(image, np.ones((1, height, width), bool))
    np.testing.assert_allclose(seen.pixels, expected.transpose(2, 0, 1), atol=1e-4)


def test_a_thin_region_is_not_lost() -> None:
    masks = np.zeros((1, 400, 600), bool)
    masks[0, 123, 7] = True
    assert view(photograph(600, 400), masks).masks.sum() >= 1


def test_an_empty_region_is_refused() -> None:
    with pytest.raises(RegionError, match="Region 1 of 1 is empty"):
        view(photograph(), np.zeros((1, 100, 150), bool))
