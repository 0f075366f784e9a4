"""Exposure: over and under, a gain of linear light with clipping at white and 8-bit quantisation.

Params: ``stops``, >= 0: the light is multiplied (over) or divided (under) by 2 ** stops.
"""

from __future__ import annotations

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric
from seagull_tune.distortions.linear import Float32, gain_table


def _over(image: Image, params: Params, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.LUT(image, gain_table(2.0 ** params["stops"])), dtype=np.uint8)


def _under(image: Image, params: Params, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.LUT(image, gain_table(2.0 ** -params["stops"])), dtype=np.uint8)


def _over_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    return np.asarray(light * np.float32(2.0 ** params["stops"]), dtype=np.float32)


def _under_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    return np.asarray(light * np.float32(2.0 ** -params["stops"]), dtype=np.float32)


def _strength(strength: float) -> dict[str, float]:
    return {"stops": geometric(strength, 0.1, 8.0)}


def _no_context(params: Params) -> int:
    return 0


VARIANTS = (
    Variant("exposure", "over", _over, _strength, context=_no_context, light=_over_light),
    Variant("exposure", "under", _under, _strength, context=_no_context, light=_under_light),
)
