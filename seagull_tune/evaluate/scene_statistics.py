"""Natural-scene statistics of regions: what a classical, blind quality measure reads.

Source: A. Mittal, A. K. Moorthy, A. C. Bovik, "No-reference image quality assessment in the spatial domain" (BRISQUE),
IEEE Transactions on Image Processing 21(12), 2012: locally normalised luminance and the products of its neighbours,
each described by an asymmetric generalised Gaussian, at two scales. Here the statistics are taken under each region's
mask. Colourfulness: D. Hasler, S. Süsstrunk, "Measuring colourfulness in natural images", SPIE 5007, 2003.

Legend: H, W image size; R regions; F features; N values.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import chain

import cv2
import numpy as np
from scipy.special import gamma

from seagull_tune.errors import DataError, RegionError

_SHIFTS = {"horizontal": (0, 1), "vertical": (1, 0), "diagonal": (1, 1), "antidiagonal": (1, -1)}
_SCALES = (1, 2)
_WINDOW, _SIGMA = (7, 7), 7 / 6
_SHAPES = np.arange(0.2, 10.0, 0.001)
_TINY = 1e-12

_NORMALISED = ("shape", "variance")
_PRODUCT = ("shape", "mean", "left_variance", "right_variance")
_REGION = (
    "luminance_mean",
    "luminance_deviation",
    "local_deviation",
    "clipped",
    "colourfulness",
    "chroma_mean",
    "log_area",
)

FEATURE_NAMES: tuple[str, ...] = (
    *chain.from_iterable(
        (
            *(f"scale{scale}.normalised.{name}" for name in _NORMALISED),
            *(f"scale{scale}.{shift}.{name}" for shift in _SHIFTS for name in _PRODUCT),
        )
        for scale in _SCALES
    ),
    *(f"region.{name}" for name in _REGION),
)
"""The columns of :func:`region_features`: 18 per scale (as in BRISQUE) and 7 of the region as a whole."""


def region_features(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Features of regions of one photograph.

    The normalised luminance is computed once per photograph; a pixel's normalisation sees its 7x7 neighbourhood, also
    beyond the region's border. A product of neighbours counts where both lie inside the region.

    Args:
        image: uint8 (H, W, 3), sRGB.
        masks: bool (R, H, W), none empty.

    Returns:
        float64 (R, F), finite, F = ``len(FEATURE_NAMES)``.

    Raises:
        DataError: not a uint8 RGB image.
        RegionError: masks of another size, or an empty one.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise DataError(f"The image has shape {image.shape} and type {image.dtype}; allowed: uint8 (H, W, 3).")
    if masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        raise RegionError(f"Masks have shape {masks.shape}; allowed: (R, {image.shape[0]}, {image.shape[1]}).")
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if empty.size:
        raise RegionError(f"Region {int(empty[0])} is empty: a region needs at least one pixel.")
    columns = []
    for scale in _SCALES:
        small = image if scale == 1 else _shrink(image, scale)
        luminance = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        normalised, deviation = _normalise(luminance)
        fields = [normalised, *(_product(normalised, shift) for shift in _SHIFTS.values())]
        inside = masks if scale == 1 else np.stack([_shrink_mask(mask, scale) for mask in masks])
        columns.append(np.stack([_scale_features(fields, mask) for mask in inside]))
        if scale == 1:
            whole = np.stack([_whole_features(image, luminance, deviation, mask) for mask in masks])
    return np.concatenate([*columns, whole], axis=1)


def _normalise(luminance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Locally normalised luminance and the local deviation, float32 (H, W) each."""
    mean = cv2.GaussianBlur(luminance, _WINDOW, _SIGMA, borderType=cv2.BORDER_REPLICATE)
    power = cv2.GaussianBlur(luminance * luminance, _WINDOW, _SIGMA, borderType=cv2.BORDER_REPLICATE)
    deviation = np.sqrt(np.maximum(power - mean * mean, 0.0))
    return (luminance - mean) / (deviation + 1.0), deviation


def _product(field: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Each pixel times its neighbour, float32 (H, W); pixels without that neighbour hold 0 and are never counted."""
    here, there = _pair_slices(field.shape, shift)
    product = np.zeros_like(field)
    product[here] = field[here] * field[there]
    return product


def _pair_slices(shape: tuple[int, ...], shift: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the pixels that have a neighbour at ``shift`` (dy >= 0, dx), and of those neighbours."""
    (height, width), (dy, dx) = shape, shift
    rows = slice(0, max(0, height - dy)), slice(dy, height)
    left, right = slice(0, max(0, width - abs(dx))), slice(abs(dx), width)
    columns = (left, right) if dx >= 0 else (right, left)
    return (rows[0], columns[0]), (rows[1], columns[1])


def _shrink(image: np.ndarray, scale: int) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(1, width // scale), max(1, height // scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _shrink_mask(mask: np.ndarray, scale: int) -> np.ndarray:
    """Pixels of which at least half is inside; the fullest pixel where a region has none such."""
    share = _shrink(mask.astype(np.float32), scale)
    return share >= min(0.5, float(share.max()))


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _pair_masks(inside: np.ndarray) -> Iterator[np.ndarray]:
    for shift in _SHIFTS.values():
        here, there = _pair_slices(inside.shape, shift)
        both = np.zeros_like(inside)
        both[here] = inside[here] & inside[there]
        yield both


def _scale_features(fields: list[np.ndarray], mask: np.ndarray) -> np.ndarray:
    """The 18 features of one region at one scale."""
    box = _box(mask)
    inside = mask[box]
    shape, _, left, right = fit_aggd(fields[0][box][inside])
    features = [shape, (left + right) / 2]
    for field, both in zip(fields[1:], _pair_masks(inside), strict=True):
        features += fit_aggd(field[box][both])
    return np.array(features)


def _whole_features(image: np.ndarray, luminance: np.ndarray, deviation: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The 7 features of a region as a whole; values in units of the full range of 255."""
    box = _box(mask)
    inside = mask[box]
    grey = luminance[box][inside].astype(np.float64)
    red, green, blue = image[box][inside].astype(np.float64).T  # (N,) each
    red_green, yellow_blue = red - green, (red + green) / 2 - blue
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    return np.array(
        [
            grey.mean() / 255, grey.std() / 255, deviation[box][inside].mean() / 255,
            ((grey <= 2) | (grey >= 253)).mean(), (spread + 0.3 * offset) / 255,
            np.hypot(red_green, yellow_blue).mean() / 255,
            np.log(inside.sum() / mask.size),
        ]
    )  # fmt: skip


@cache
def _shape_ratios() -> tuple[np.ndarray, np.ndarray]:
    """The ratio Gamma(2/a)^2 / (Gamma(1/a) Gamma(3/a)) of every tabulated shape a, ascending, and the shapes."""
    ratio = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
    return ratio, _SHAPES


def fit_aggd(values: np.ndarray) -> tuple[float, float, float, float]:
    """Moment-matching fit of an asymmetric generalised Gaussian (BRISQUE, section III, equations 8-14).

    Args:
        values: (N,); fewer than two, or all zero, give the flattest shape with no variance.

    Returns:
        Shape in [0.2, 10), mean, left variance, right variance.
    """
    flat = float(_SHAPES[-1]), 0.0, 0.0, 0.0
    if values.size < 2:
        return flat
    exact = values.astype(np.float64)
    squares = exact * exact
    power = float(squares.mean())
    if power < _TINY:
        return flat
    below, above = exact < 0, exact > 0
    left = float(squares[below].mean()) if below.any() else _TINY
    right = float(squares[above].mean()) if above.any() else _TINY
    skew = np.sqrt(left / right)
    ratio = float(np.abs(exact).mean()) ** 2 / power
    ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    ratios, shapes = _shape_ratios()
    shape = float(np.interp(ratio, ratios, shapes))
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (np.sqrt(right) - np.sqrt(left)) * scale * gamma(2 / shape) / gamma(1 / shape)
    return shape, float(mean), left, right
