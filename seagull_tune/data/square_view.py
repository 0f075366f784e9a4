"""A photograph as the released model sees it: squashed to a square, and the box of every region as a square of its own.

Resizing hides the evidence of blur and noise that :func:`~seagull_tune.data.visual.visual_inputs` keeps; this view is
there for weights that know no other. Unlike the release, boxes keep their last row and column, and a region so thin
that nearest-neighbour sampling loses it is found by its area.

Legend: H, W photograph size; R regions; S side of a crop.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from seagull_tune.data.visual import VisualInputs, check_picture, normalised, region_geometry


def square_inputs(
    image: np.ndarray,
    masks: np.ndarray,
    *,
    side: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    crop_side: int,
) -> VisualInputs:
    """Prepares a photograph and its regions as the released model does.

    Args:
        image: uint8 (H, W, 3), sRGB.
        masks: bool (R, H, W), R >= 1, none empty.
        side: of the square that the tower sees.
        mean, std: per-channel normalisation of values in [0, 1].
        crop_side: S.

    Returns:
        ``pixels`` (3, side, side); ``masks`` (R, side, side) of 0 and 1; ``patches`` float32 (R, 1, 3, S, S),
        normalised; ``patch_masks`` uint8 (R, 1, S, S).

    Raises:
        DataError, RegionError: see :func:`~seagull_tune.data.visual.visual_inputs`.
    """
    check_picture(image, masks)
    crops, crop_masks = [], []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        crops.append(_squash(image[box], crop_side, mean, std))
        crop_masks.append(_shrink_mask(mask[box], crop_side).astype(np.uint8))
    return VisualInputs(
        pixels=_squash(image, side, mean, std),
        masks=np.stack([_shrink_mask(mask, side) for mask in masks]),
        geometry=region_geometry(masks),
        patches=np.stack(crops)[:, None],
        patch_masks=np.stack(crop_masks)[:, None],
    )


def _squash(image: np.ndarray, side: int, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """uint8 (h, w, 3) -> float32 (3, side, side), in the release's two steps.

    Bicubic until the shorter side fits, then bilinear along the longer one.
    """
    height, width = image.shape[:2]
    scale = side / min(height, width)
    fitted = (side, int(height * scale)) if width <= height else (int(width * scale), side)
    smooth = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(fitted, Image.Resampling.BICUBIC))
    planes = normalised(smooth, mean, std).transpose(1, 2, 0)
    square = cv2.resize(np.ascontiguousarray(planes), (side, side), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def _shrink_mask(mask: np.ndarray, side: int) -> np.ndarray:
    """bool (h, w), not empty -> float32 (side, side) of 0 and 1, not empty."""
    small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_NEAREST)
    if not small.any():
        small = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return (small > 0).astype(np.float32)
