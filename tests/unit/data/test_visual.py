"""What the vision side reads of a photograph: sizes, soft masks, geometry, native-resolution patches."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from seagull_tune.data.visual import (
    GEOMETRY,
    MIN_SIDE,
    VisualInputs,
    box_masks,
    fit_size,
    patch_corners,
    region_geometry,
    visual_inputs,
)
from seagull_tune.errors import DataError, RegionError

S, P = 16, 4


def _inputs(image: np.ndarray, masks: np.ndarray, max_side: int = 96) -> VisualInputs:
    return visual_inputs(
        image, masks, max_side=max_side, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2), patch_size=S, patches_per_region=P
    )


def _box(height: int, width: int, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def _astronaut(width: int, height: int) -> np.ndarray:
    return cv2.resize(skimage.data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)


# -- sizes and pixels ------------------------------------------------------------------------------------------------


def test_fit_size_keeps_the_aspect_and_never_enlarges() -> None:
    assert fit_size(400, 300, 200) == (200, 150)
    assert fit_size(100, 80, 200) == (100, 80)
    assert fit_size(3000, 32, 512) == (512, 5)
    assert fit_size(100_000, 32, 512) == (512, 1)


def test_pixels_are_normalised_and_channels_first() -> None:
    image = np.zeros((64, 48, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 255, 102, 0
    out = _inputs(image, np.ones((1, 64, 48), bool))
    assert out.pixels.shape == (3, 64, 48) and out.pixels.dtype == np.float32
    np.testing.assert_allclose(out.pixels[:, 5, 5], [(1 - 0.5) / 0.5, (0.4 - 0.4) / 0.25, (0 - 0.3) / 0.2], atol=1e-6)
    assert out.pixels.flags.c_contiguous


def test_masks_shrink_to_shares_of_area() -> None:
    image = _astronaut(192, 128)
    mask = _box(128, 192, 31, 11, 100, 91)
    out = _inputs(image, mask[None])
    assert out.pixels.shape == (3, 64, 96) and out.masks.shape == (1, 64, 96)
    blocks = mask.reshape(64, 2, 96, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(out.masks[0], blocks, atol=1e-6)
    np.testing.assert_allclose(out.masks[0].mean(), mask.mean(), rtol=1e-5)


def test_one_pixel_survives_shrinking() -> None:
    mask = np.zeros((1, 300, 400), bool)
    mask[0, 299, 399] = True
    out = _inputs(_astronaut(400, 300), mask)
    assert out.masks.sum() > 0
    np.testing.assert_allclose(out.masks.mean(), mask.mean(), rtol=1e-3)


def test_the_input_is_not_changed_and_the_result_is_repeatable() -> None:
    image, masks = _astronaut(200, 150), np.stack([_box(150, 200, 10, 10, 90, 70), np.ones((150, 200), bool)])
    before = image.copy(), masks.copy()
    image.flags.writeable = masks.flags.writeable = False
    first, second = _inputs(image, masks), _inputs(image, masks)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(masks, before[1])
    for name in ("pixels", "masks", "geometry", "patches", "patch_masks"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_a_region_does_not_depend_on_the_others() -> None:
    image, masks = _astronaut(200, 150), np.stack([_box(150, 200, 10, 10, 90, 70), np.ones((150, 200), bool)])
    both = _inputs(image, masks)
    for index in range(2):
        alone = _inputs(image, masks[index : index + 1])
        for name in ("masks", "geometry", "patches", "patch_masks"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(both, name)[index])


# -- geometry --------------------------------------------------------------------------------------------------------


def test_geometry_of_a_box() -> None:
    (row,) = region_geometry(_box(100, 200, 20, 10, 60, 60)[None])
    area = 40 * 50 / 20_000
    expected = [area, np.sqrt(area), np.log(area) / 4 + 0.5, 0.2 - 0.5, 0.35 - 0.5, 0.2 - 0.5, 0.5 - 0.5, 1 - 0.5]
    assert row.shape == (GEOMETRY,) and row.dtype == np.float32
    np.testing.assert_allclose(row, expected, atol=1e-6)


def test_geometry_does_not_depend_on_resolution() -> None:
    small = _box(50, 100, 10, 5, 30, 30)
    large = cv2.resize(small.astype(np.uint8), (400, 200), interpolation=cv2.INTER_NEAREST) > 0
    np.testing.assert_allclose(region_geometry(small[None]), region_geometry(large[None]), atol=1e-5)


def test_fill_of_a_triangle_is_half() -> None:
    triangle = np.tri(80, dtype=bool)
    assert abs(float(region_geometry(triangle[None])[0, 7]) - (81 / 160 - 0.5)) < 1e-6


# -- patches ---------------------------------------------------------------------------------------------------------


def _random_masks() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(60):
        height, width = (int(v) for v in rng.integers(S, 200, 2))
        mask = np.zeros((height, width), bool)
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        mask[y : y + rng.integers(1, height), x : x + rng.integers(1, width)] = True
        masks.append(mask if rng.random() < 0.7 else mask & (rng.random(mask.shape) < 0.1) | _dot(mask.shape, y, x))
    return masks


def _dot(shape: tuple[int, ...], y: int, x: int) -> np.ndarray:
    dot = np.zeros(shape, bool)
    dot[y, x] = True
    return dot


def test_corners_of_any_mask_lie_in_the_image_and_touch_the_region() -> None:
    for mask in _random_masks():
        corners = patch_corners(mask, S, P)
        assert 1 <= len(corners) <= P and corners.shape[1] == 2
        assert len(np.unique(corners, axis=0)) == len(corners)
        for y, x in corners:
            assert 0 <= y <= mask.shape[0] - S and 0 <= x <= mask.shape[1] - S
            assert mask[y : y + S, x : x + S].any()
        np.testing.assert_array_equal(corners, patch_corners(mask.copy(), S, P))


def test_corners_lie_on_the_grid_of_codec_blocks() -> None:
    for mask in (np.ones((100, 133), bool), _box(100, 133, 13, 11, 90, 80), _box(96, 128, 100, 70, 128, 96)):
        corners = patch_corners(mask, S, P)
        assert (corners % 8 == 0).all()


def test_patches_of_a_large_region_lie_well_inside_it_and_spread() -> None:
    mask = _box(200, 300, 40, 30, 260, 170)
    corners = patch_corners(mask, S, P)
    assert len(corners) == P
    for y, x in corners:
        assert mask[y : y + S, x : x + S].mean() >= 0.75
    assert np.ptp(corners[:, 0]) > 70 and np.ptp(corners[:, 1]) > 100


def test_a_disc_is_mostly_covered() -> None:
    y, x = np.mgrid[:160, :160]
    mask = (y - 70) ** 2 + (x - 90) ** 2 < 45**2
    shares = [mask[r : r + S, c : c + S].mean() for r, c in patch_corners(mask, S, P)]
    assert min(shares) >= 0.75


@pytest.mark.parametrize(
    "mask",
    [
        _dot((64, 64), 0, 0), _dot((64, 64), 63, 63), _dot((65, 71), 64, 70), _dot((16, 16), 7, 7),
        _box(64, 100, 0, 0, 100, 1), _box(64, 100, 99, 0, 100, 64), _box(61, 99, 0, 58, 99, 61),
        np.eye(190, dtype=bool), np.ones((16, 16), bool), np.ones((16, 200), bool),
    ],
)  # fmt: skip
def test_tiny_slivers_borders_and_exact_fits(mask: np.ndarray) -> None:
    corners = patch_corners(mask, S, P)
    assert len(corners) >= 1
    for y, x in corners:
        assert 0 <= y <= mask.shape[0] - S and 0 <= x <= mask.shape[1] - S
        assert mask[y : y + S, x : x + S].any()


def test_a_scattered_region_between_grid_positions_is_read_around_its_pixels() -> None:
    mask = np.zeros((2000, 2000), bool)
    mask[(100, 700, 1200, 1900), (700, 100, 1900, 1300)] = True
    corners = patch_corners(mask, S, P)
    assert len(corners) == P
    assert all(mask[y : y + S, x : x + S].sum() == 1 for y, x in corners)
    assert (corners % 8 == 0).all()


def test_patches_hold_the_photographs_own_pixels() -> None:
    image = skimage.data.chelsea()
    height, width = image.shape[:2]
    mask = _box(height, width, 100, 60, 300, 240)
    out = _inputs(image, mask[None], max_side=64)
    assert out.patches.shape == (1, P, 3, S, S) and out.patches.dtype == np.uint8
    for slot, (y, x) in enumerate(patch_corners(mask, S, P)):
        np.testing.assert_array_equal(out.patches[0, slot], image[y : y + S, x : x + S].transpose(2, 0, 1))
        np.testing.assert_array_equal(out.patch_masks[0, slot], mask[y : y + S, x : x + S])


@pytest.mark.parametrize("side", [1, 5, 12])
def test_a_small_region_is_read_at_the_photographs_own_resolution(side: int) -> None:
    # Every pixel of a patch has a value of its own, so that any resampling would show.
    height, width = 256, 300
    number = np.arange(height * width).reshape(height, width)
    image = np.stack([number % 251, number // 251 % 251, number // 251**2], axis=2).astype(np.uint8)
    mask = _box(height, width, 101, 77, 101 + side, 77 + side)
    out = _inputs(image, mask[None], max_side=64)
    there = np.flatnonzero(out.patch_masks[0].any(axis=(1, 2)))
    assert len(there) >= 1
    seen: set[int] = set()
    for slot in there:
        patch = out.patches[0, slot].astype(int)
        values = patch[0] + 251 * patch[1]
        assert (np.diff(values, axis=1) % 251**2 == 1).all() and (np.diff(values, axis=0) % 251**2 == width).all()
        seen |= set(values[out.patch_masks[0, slot] == 1].tolist())
    assert seen <= set((number[mask] % 251**2).tolist()) and len(seen) >= side * side // 2
    again = _inputs(image, mask[None], max_side=64)
    np.testing.assert_array_equal(out.patches, again.patches, err_msg="the choice is deterministic")


def test_missing_patches_carry_no_mask() -> None:
    out = _inputs(_astronaut(64, 64), _dot((64, 64), 30, 30)[None])
    assert out.patch_masks.sum() >= 1
    empty = out.patch_masks.sum(axis=(2, 3))[0] == 0
    assert empty.any() and (out.patches[0, empty] == 0).all()


def test_an_image_smaller_than_a_patch() -> None:
    image = _astronaut(40, MIN_SIDE)
    masks = np.stack([np.ones((MIN_SIDE, 40), bool), _dot((MIN_SIDE, 40), MIN_SIDE - 1, 39)])
    out = visual_inputs(image, masks, max_side=96, mean=(0.5,) * 3, std=(0.5,) * 3, patch_size=64, patches_per_region=2)
    assert out.patch_masks.reshape(2, -1).sum(axis=1).tolist() == [MIN_SIDE * 40, 1], "padding carries no mask"
    np.testing.assert_array_equal(out.patches[0, 0, :, :MIN_SIDE, :40], image.transpose(2, 0, 1))


def test_boxes_of_masks() -> None:
    ring = np.zeros((3, 9, 11), bool)
    ring[0, 2:6, 3:8] = True
    ring[0, 3:5, 4:7] = False
    ring[1, 0, 10] = ring[1, 8, 0] = True
    boxes = box_masks(ring)
    np.testing.assert_array_equal(boxes[0], _box(9, 11, 3, 2, 8, 6))
    assert boxes[1].all() and not boxes[2].any()


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (MIN_SIDE - 1, 100), (100, MIN_SIDE - 1)])
def test_too_small_images_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match=f"The image is {size[1]}x{size[0]} pixels; at least 32x32"):
        _inputs(np.zeros((*size, 3), np.uint8), np.ones((1, *size), bool))


def test_bad_regions_are_refused() -> None:
    image = _astronaut(64, 48)
    with pytest.raises(RegionError, match="No region was given"):
        _inputs(image, np.zeros((0, 48, 64), bool))
    with pytest.raises(RegionError, match="Masks are 48x64 pixels, the image is 64x48"):
        _inputs(image, np.ones((1, 64, 48), bool))
    masks = np.ones((3, 48, 64), bool)
    masks[1] = False
    with pytest.raises(RegionError, match="Region 2 of 3 is empty"):
        _inputs(image, masks)


@pytest.mark.parametrize(
    ("image", "masks", "error"),
    [
        (np.zeros((48, 64, 3), np.float32), np.ones((1, 48, 64), bool), DataError),
        (np.zeros((48, 64), np.uint8), np.ones((1, 48, 64), bool), DataError),
        (np.zeros((48, 64, 4), np.uint8), np.ones((1, 48, 64), bool), DataError),
        (np.zeros((48, 64, 3), np.uint8), np.full((1, 48, 64), 255, np.uint8), RegionError),
        (np.zeros((48, 64, 3), np.uint8), np.ones((48, 64), bool), RegionError),
    ],
)
def test_arrays_of_another_kind_are_refused(image: np.ndarray, masks: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"allowed: (uint8|bool)"):
        _inputs(image, masks)
