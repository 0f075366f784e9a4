"""Render a recipe over its reference, and say which severities hold for which region.

A step on regions acts inside the union of their masks, or outside of it (``outside``). The border is feathered: the
area is smoothed with a gaussian window of ``feather_px`` pixels in all, quantised to 8 bits, and the distorted and the
untouched picture are blended with it in sRGB codes. Where the weight is 0 the picture stays bit for bit, where it is
full the distorted one is taken bit for bit. Every step draws from its own PCG64 generator, seeded with the step's seed
alone.

A photograph from a RAW file is scene light (``distortions.scene``). Steps that happen in front of or on the sensor act
on that light, before the tone curve, and are blended in it; then it is developed, and the other steps follow.

Legend: H, W image height and width in pixels; R regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from seagull_tune.distortions.base import Image, Variant, Weight
from seagull_tune.distortions.linear import UInt16
from seagull_tune.distortions.registry import get_variant
from seagull_tune.distortions.scene import develop, is_scene, light_to_scene, scene_to_light
from seagull_tune.distortions.serialize import recipe_from_json, recipe_hash, recipe_to_json
from seagull_tune.errors import DataError, RegionError
from seagull_tune.levels import DISTORTION_TYPES, TYPE_COVERAGE
from seagull_tune.records import DistortionStep, Recipe
from seagull_tune.regions.windows import MaskWindows

__all__ = ["recipe_from_json", "recipe_hash", "recipe_to_json", "render", "severities_of", "step_weight"]

Masks = npt.NDArray[np.bool_]
_FULL = 255


def render(image: Image | UInt16, recipe: Recipe, masks: Masks) -> Image:
    """The distorted picture of a recipe.

    Args:
        image: (H, W, 3) uint8 sRGB, the reference, or uint16 scene light; left as it is.
        recipe: the steps, applied in order; of scene light, first those that act on light.
        masks: (R, H, W) bool, the regions that the steps' indices name; R may be 0.

    Returns:
        (H, W, 3) uint8, a new array; equal to the reference, developed, for a pristine recipe.

    Raises:
        DataError: the image is neither (H, W, 3) uint8 nor scene light, a variant is unknown, a parameter is missing
            or unknown.
        RegionError: masks of another size, a region index that does not exist.
    """
    picture_like = image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    if image.size == 0 or not (picture_like or is_scene(image)):
        raise DataError(f"An image to distort is uint8 RGB (H, W, 3), got {image.dtype} {image.shape}.")
    height, width = image.shape[:2]
    _check_masks(masks, height, width)
    steps = [(step, get_variant(step.type, step.variant)) for step in recipe.steps]
    if is_scene(image):
        light_steps = [(step, variant) for step, variant in steps if variant.light is not None]
        steps = [(step, variant) for step, variant in steps if variant.light is None]
        picture = develop(_distort_light(image, light_steps, masks))
    else:
        picture = np.array(image, dtype=np.uint8, order="C")
    for step, variant in steps:
        weight = _step_weight_8bit(step, masks, height, width)
        picture = _apply_step(picture, step, variant, weight)
    return picture


def step_weight(step: DistortionStep, masks: Masks, h: int, w: int) -> npt.NDArray[np.float32]:
    """How much of the step shows at every pixel.

    Args:
        step: the step; None as its regions means the whole image.
        masks: (R, H, W) bool.
        h, w: image height and width.

    Returns:
        (H, W) float32 in [0, 1], multiples of 1/255.

    Raises:
        RegionError: masks of another size, a region index that does not exist.
    """
    _check_masks(masks, h, w)
    weight = _step_weight_8bit(step, masks, h, w)
    if weight is None:
        return np.ones((h, w), dtype=np.float32)
    return weight.astype(np.float32) / np.float32(_FULL)


def severities_of(recipe: Recipe, masks: Masks | MaskWindows) -> tuple[tuple[int, ...], ...]:
    """Severity per region and type.

    A step holds for a region if its feathered weight covers at least ``levels.TYPE_COVERAGE`` of the region's area; of
    two steps of one type the higher severity counts.

    Args:
        recipe: the steps.
        masks: (R, H, W) bool, no mask empty; or the same prepared.

    Returns:
        R tuples of eight severities 0..5, in the order of ``levels.DISTORTION_TYPES``.

    Raises:
        RegionError: an empty mask, or a region index that does not exist.
    """
    windows = MaskWindows.of(masks)
    severities = np.zeros((len(windows), len(DISTORTION_TYPES)), dtype=np.int64)
    for step in recipe.steps:
        column = severities[:, DISTORTION_TYPES.index(step.type)]  # (R,)
        weight = _step_weight_8bit(step, windows.masks, *windows.shape)
        covered = True if weight is None else windows.means(weight[:, :, None])[:, 0] / _FULL >= TYPE_COVERAGE
        np.maximum(column, step.severity, out=column, where=covered)
    return tuple(tuple(row) for row in severities.tolist())


def _check_masks(masks: Masks, height: int, width: int) -> None:
    if masks.ndim != 3 or masks.dtype != np.bool_:
        raise RegionError(f"Masks are bool (R, H, W), got {masks.dtype} {masks.shape}.")
    if masks.shape[1:] != (height, width):
        raise RegionError(
            f"Masks are {masks.shape[1]} x {masks.shape[2]} (height x width), the image is {height} x {width}; "
            "they must have the same size."
        )


def _step_weight_8bit(step: DistortionStep, masks: Masks, height: int, width: int) -> Weight | None:
    """(H, W) uint8 weight, or None where the step acts on the whole image."""
    if step.regions is None:
        return None
    outside = [index for index in step.regions if not 0 <= index < len(masks)]
    if outside or not step.regions:
        raise RegionError(
            f"Step {step.type}/{step.variant} names the regions {tuple(step.regions)}; the image has {len(masks)}, "
            "numbered from 0. Name at least one of them, or none at all (None) for the whole image."
        )
    union = np.zeros((height, width), dtype=np.uint8)
    for index in step.regions:
        np.bitwise_or(union, masks[index].view(np.uint8), out=union)
    union *= _FULL
    if step.outside:
        np.subtract(_FULL, union, out=union)
    reach = math.ceil(step.feather_px / 2.0)
    if reach < 1:
        return union
    size = 2 * reach + 1
    # 8-bit gaussians are fixed-point in OpenCV, so the weight is the same on every machine; the window is finite.
    smooth = cv2.GaussianBlur(union, (size, size), step.feather_px / 4.0, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, dtype=np.uint8)


def _distort_light(scene: UInt16, steps: Sequence[tuple[DistortionStep, Variant]], masks: Masks) -> UInt16:
    """Scene light after the steps that act on it, blended in light; where a weight is 0 it stays bit for bit."""
    for step, variant in steps:
        variant.check_params(step.params)
        assert variant.light is not None
        light = scene_to_light(scene)
        changed = variant.light(light, step.params, np.random.Generator(np.random.PCG64(step.seed)))
        weight = step_weight(step, masks, *scene.shape[:2])[..., None]
        scene = np.where(weight > 0, light_to_scene(light + weight * (changed - light)), scene)
    return scene


def _apply_step(picture: Image, step: DistortionStep, variant: Variant, weight: Weight | None) -> Image:
    """The picture after one step; ``picture`` may be overwritten."""
    rng = np.random.Generator(np.random.PCG64(step.seed))
    variant.check_params(step.params)
    if weight is None:
        return variant.apply_to_area(picture, step.params, rng, None)
    x, y, width, height = cv2.boundingRect(weight)
    if width == 0:
        return picture
    area = (slice(y, y + height), slice(x, x + width))
    if variant.context is None:
        distorted = variant.apply_to_area(picture, step.params, rng, weight)[area]
    else:
        # Only the area and the pixels that it depends on; beyond the picture's own border both reflect alike.
        reach = variant.context(step.params)
        top, left = max(0, y - reach), max(0, x - reach)
        rows, columns = slice(top, y + height + reach), slice(left, x + width + reach)
        crop = np.ascontiguousarray(picture[rows, columns])
        inner = (slice(y - top, y - top + height), slice(x - left, x - left + width))
        distorted = variant.apply_to_area(crop, step.params, rng, np.ascontiguousarray(weight[rows, columns]))[inner]
    _blend(picture[area], distorted, weight[area])
    return picture


def _blend(target: Image, distorted: Image, weight: Weight) -> None:
    """Blend ``distorted`` into ``target`` (both (h, w, 3) uint8) in place; exact where the weight is 0 or full."""
    # 255 target + weight (distorted - target) + 127 stays within 16 bits, and for x < 65535 the quotient x // 255 is
    # (x + 1 + (x >> 8)) >> 8: no pixel is gathered, none divided.
    share = cv2.merge([weight, weight, weight]).astype(np.uint16)  # (h, w, 3)
    mixed = share * distorted
    np.subtract(_FULL, share, out=share)
    share *= target
    mixed += share
    mixed += _FULL // 2
    np.right_shift(mixed, 8, out=share)
    mixed += share
    mixed += 1
    mixed >>= 8
    target[...] = mixed
