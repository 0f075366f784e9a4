"""Contrast: reduced or increased around the mean brightness of the affected area, so that brightness itself stays.

Acts on sRGB codes, as display contrast does. Params: ``gain`` of the distance to the mean, below 1 (reduce) or above
(increase, with clipping).
"""

from __future__ import annotations

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, Weight, geometric

_LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. ITU-R BT.709 luma weights of R, G, B."""


def area_mean(image: Image, weight: Weight | None) -> dict[str, float]:
    """Mean luma of the affected area as the parameter ``pivot``, a whole sRGB code.

    Args:
        image: (H, W, 3) uint8.
        weight: (H, W) uint8, pixels above one half count; None for all.
    """
    mask = None if weight is None else (weight > 127).astype(np.uint8)
    if mask is not None and not mask.any():
        mask = None
    red, green, blue, _ = cv2.mean(image, mask)
    return {"pivot": float(round(_LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue))}


def _stretch(image: Image, params: Params, rng: np.random.Generator) -> Image:
    codes = np.arange(256, dtype=np.float64)
    table = np.rint(params["pivot"] + params["gain"] * (codes - params["pivot"]))
    return np.asarray(cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)), dtype=np.uint8)


def _no_context(params: Params) -> int:
    return 0


VARIANTS = (
    Variant(
        "contrast",
        "reduce",
        _stretch,
        lambda s: {"gain": geometric(s, 0.95, 0.01)},
        context=_no_context,
        measure=area_mean,
    ),
    Variant(
        "contrast",
        "increase",
        _stretch,
        lambda s: {"gain": geometric(s, 1.05, 60.0)},
        context=_no_context,
        measure=area_mean,
    ),
)
