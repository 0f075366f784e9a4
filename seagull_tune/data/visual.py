"""A photograph and its regions -> what the vision side reads. One function for training, evaluation and the web page.

Legend: H, W photograph size; h, w size the tower sees; R regions; P patches; S patch side.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seagull_tune.errors import DataError, RegionError

GEOMETRY = 8
"""Numbers that :func:`region_geometry` gives per region."""

MIN_SIDE = 32
"""Smallest side of a photograph that can be judged: below it the tower's coarsest map is less than one cell."""

_GRID = 8  # patches start on the grid of 8x8 codec blocks
_GOOD_COVERAGE = 0.75  # a patch is a candidate if it covers at least this share of the best patch's mask share


@dataclass(frozen=True)
class VisualInputs:
    """What the model reads of one photograph.

    Attributes:
        pixels: float32 (3, h, w), normalised.
        masks: float32 (R, h, w), share of each pixel inside the region.
        geometry: float32 (R, GEOMETRY).
        patches: uint8 (R, P, 3, S, S), sRGB at the photograph's own resolution; in the view ``square`` float32
            (R, 1, 3, S, S), the regions' resized boxes, normalised.
        patch_masks: uint8 (R, P, S, S), 1 inside the region; all 0 where a region has fewer patches.
    """

    pixels: np.ndarray
    masks: np.ndarray
    geometry: np.ndarray
    patches: np.ndarray
    patch_masks: np.ndarray


def region_geometry(masks: np.ndarray) -> np.ndarray:
    """Where regions lie and how large they are, independent of resolution.

    Args:
        masks: bool (R, H, W), none empty.

    Returns:
        float32 (R, GEOMETRY): area share, its square root, its log; centre x and y, box width and height, all in units
        of the image side and centred on 0; share of the box that the region fills.
    """
    _, height, width = masks.shape
    rows, columns = np.any(masks, axis=2), np.any(masks, axis=1)
    y0, x0 = rows.argmax(axis=1), columns.argmax(axis=1)
    y1, x1 = height - rows[:, ::-1].argmax(axis=1), width - columns[:, ::-1].argmax(axis=1)
    area = masks.sum(axis=(1, 2)) / (height * width)
    box_height, box_width = (y1 - y0) / height, (x1 - x0) / width
    fill = area / np.maximum(box_height * box_width, 1e-9)
    columns_out = [
        area, np.sqrt(area), np.log(area) / 4 + 0.5, (x0 + x1) / (2 * width) - 0.5, (y0 + y1) / (2 * height) - 0.5,
        box_width - 0.5, box_height - 0.5, fill - 0.5,
    ]  # fmt: skip
    return np.stack(columns_out, axis=1).astype(np.float32)


def box_masks(masks: np.ndarray) -> np.ndarray:
    """Bounding boxes of regions as masks: bool (R, H, W) -> bool (R, H, W); an empty mask stays empty."""
    rows, columns = np.any(masks, axis=2), np.any(masks, axis=1)

    def between(seen: np.ndarray) -> np.ndarray:
        reached = np.logical_or.accumulate(seen, axis=1)
        to_come = np.logical_or.accumulate(seen[:, ::-1], axis=1)[:, ::-1]
        return np.asarray(reached & to_come)

    return between(rows)[:, :, None] & between(columns)[:, None, :]


def fit_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """Size (h, w) at which the tower sees a photograph: shrunk to ``max_side`` if longer, never enlarged."""
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def patch_corners(mask: np.ndarray, size: int, count: int) -> np.ndarray:
    """Where to read a region's patches: well inside it, spread over it, on the grid of codec blocks.

    Args:
        mask: bool (H, W) with H, W >= size, not empty.
        size: patch side S.
        count: at most this many.

    Returns:
        int (K, 2) top-left corners (y, x), 1 <= K <= count, deterministic.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))

    def starts(first: int, last: int, limit: int) -> np.ndarray:
        low = max(0, (first - size // 2) // _GRID * _GRID)
        high = max(low, min(last + 1 - size // 2, limit - size))
        step = max(_GRID, (high - low) // (4 * _GRID) // 2 * _GRID)  # at most about eight positions per axis and patch
        grid = np.arange(low, high + 1, step)
        return grid[grid <= limit - size] if (grid <= limit - size).any() else np.array([limit - size])

    ys, xs = starts(rows[0], rows[-1], height), starts(columns[0], columns[-1], width)
    integral = cv2.integral(mask.astype(np.uint8))
    bottom, right = ys + size, xs + size
    inside = (
        integral[np.ix_(bottom, right)] - integral[np.ix_(ys, right)]
        - integral[np.ix_(bottom, xs)] + integral[np.ix_(ys, xs)]
    )  # fmt: skip
    if inside.max() == 0:
        return _around_pixels(mask, size, count)
    candidates = np.argwhere(inside >= max(1, _GOOD_COVERAGE * inside.max()))
    corners = np.stack([ys[candidates[:, 0]], xs[candidates[:, 1]]], axis=1)
    return _spread(corners, count)


def _around_pixels(mask: np.ndarray, size: int, count: int) -> np.ndarray:
    """Corners (K, 2) of patches around pixels of a region so thin and scattered that it slips through the grid."""
    pixels = np.argwhere(mask)
    pixels = pixels[np.linspace(0, len(pixels) - 1, min(count, len(pixels))).astype(int)]
    corners = np.clip(pixels - size // 2, 0, np.array(mask.shape) - size)
    on_grid = corners // _GRID * _GRID
    return np.unique(np.where(pixels < on_grid + size, on_grid, corners), axis=0)


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Farthest-point subset of ``points`` (K, 2), starting nearest to their centre; deterministic."""
    if len(points) <= count:
        return points
    centre = points.mean(axis=0)
    chosen = [int(np.argmin(((points - centre) ** 2).sum(axis=1)))]
    distance = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        nxt = int(distance.argmax())
        chosen.append(nxt)
        distance = np.minimum(distance, ((points - points[nxt]) ** 2).sum(axis=1))
    return points[sorted(chosen)]


def _read_patches(image: np.ndarray, masks: np.ndarray, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    height, width = image.shape[:2]
    pad = (0, max(0, size - height)), (0, max(0, size - width))
    if any(after for _, after in pad):
        # Padded pixels carry no mask, so they weigh nothing.
        image = np.pad(image, (*pad, (0, 0)), mode="edge")
        masks = np.pad(masks, ((0, 0), *pad))
    patches = np.zeros((len(masks), count, 3, size, size), np.uint8)
    weights = np.zeros((len(masks), count, size, size), np.uint8)
    for index, mask in enumerate(masks):
        for slot, (y, x) in enumerate(patch_corners(mask, size, count)):
            patches[index, slot] = image[y : y + size, x : x + size].transpose(2, 0, 1)
            weights[index, slot] = mask[y : y + size, x : x + size]
    return patches, weights


def visual_inputs(
    image: np.ndarray,
    masks: np.ndarray,
    *,
    max_side: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    patch_size: int,
    patches_per_region: int,
) -> VisualInputs:
    """Prepares a photograph and its regions.

    Args:
        image: uint8 (H, W, 3), sRGB.
        masks: bool (R, H, W), R >= 1, none empty.
        max_side: longest side that the tower sees.
        mean, std: per-channel normalisation of values in [0, 1].
        patch_size: S.
        patches_per_region: P.

    Raises:
        DataError: the photograph is smaller than :data:`MIN_SIDE`, or not an array of that kind.
        RegionError: no region, an empty region, or masks of another size or kind.
    """
    check_picture(image, masks)
    height, width = image.shape[:2]
    h, w = fit_size(height, width, max_side)
    small, soft = image, masks
    if (h, w) != (height, width):
        small = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        # One by one: at the photograph's own size, floats of all masks would take most of the memory.
        soft = np.stack([cv2.resize(m.astype(np.float32), (w, h), interpolation=cv2.INTER_AREA) for m in masks])
    patches, patch_masks = _read_patches(image, masks, patch_size, patches_per_region)
    return VisualInputs(
        normalised(small, mean, std), soft.astype(np.float32, copy=False), region_geometry(masks), patches, patch_masks
    )


def normalised(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """uint8 (h, w, 3) -> float32 (3, h, w): values in [0, 1], then less ``mean`` and over ``std`` per channel."""
    pixels = (image.astype(np.float32) / 255.0 - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def check_picture(image: np.ndarray, masks: np.ndarray) -> None:
    """Refuses what no view can be made of.

    Raises:
        DataError, RegionError: see :func:`visual_inputs`.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"The image is {image.dtype} {image.shape}; allowed: uint8 (height, width, 3), sRGB.")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise DataError(
            f"The image is {width}x{height} pixels; at least {MIN_SIDE}x{MIN_SIDE} are needed to judge a region."
        )
    if masks.dtype != np.bool_ or masks.ndim != 3:
        raise RegionError(f"Masks are {masks.dtype} {masks.shape}; allowed: bool (regions, height, width).")
    if len(masks) == 0:
        raise RegionError("No region was given; at least one is needed.")
    if masks.shape[1:] != (height, width):
        raise RegionError(
            f"Masks are {masks.shape[2]}x{masks.shape[1]} pixels, the image is {width}x{height}; they must agree."
        )
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if len(empty):
        raise RegionError(f"Region {int(empty[0]) + 1} of {len(masks)} is empty: a region needs at least one pixel.")
