"""Contrast: reduced or increased around the mean brightness of the affected area, or lost in a veil of haze.

``reduce`` and ``increase`` act on sRGB codes, as display contrast does, and leave the brightness. ``haze`` acts in
linear light: I = J t + A (1 - t), the scattering model of Koschmieder (1924), with one transmission for the whole area.

Params: ``gain`` of the distance to the mean, below 1 (reduce) or above (increase, with clipping); ``transmission`` t,
the share of the light that comes through the haze, and ``airlight`` A, the veil's own light (1 is display white).
"""

from __future__ import annotations

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, Weight, geometric
from seagull_tune.distortions.linear import LIGHT_MAX, Float32, code_table, light_table

_LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. ITU-R BT.709 luma weights of R, G, B."""
_AIRLIGHT = 0.8
"""Light of the haze: bright, but short of white."""


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


def _haze(image: Image, params: Params, rng: np.random.Generator) -> Image:
    veil = params["airlight"] * (1.0 - params["transmission"]) * LIGHT_MAX
    light = np.clip(np.rint(light_table() * params["transmission"] + veil), 0, LIGHT_MAX)
    return np.asarray(cv2.LUT(image, np.take(code_table(), light.astype(np.uint16))), dtype=np.uint8)


def _haze_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    veil = params["airlight"] * (1.0 - params["transmission"]) * LIGHT_MAX
    return np.asarray(light * np.float32(params["transmission"]) + np.float32(veil), dtype=np.float32)


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
    Variant(
        "contrast",
        "haze",
        _haze,
        lambda s: {"transmission": round(1.0 - geometric(s, 0.01, 0.98), 4), "airlight": _AIRLIGHT},
        context=_no_context,
        light=_haze_light,
    ),
)
