"""Noise: gaussian and Poisson (shot) noise added to light, and salt and pepper.

A local step draws its noise over the bounding box of its area, rows first.

Params: ``sigma`` (gaussian) standard deviation of the light, 1 is display white; ``gain`` (poisson) variance of the
light per unit of light, on top of a read noise of ``read`` (standard deviation); ``density`` (salt_pepper) share of the
pixels that turn black or white.
"""

from __future__ import annotations

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric
from seagull_tune.distortions.linear import LIGHT_MAX, Float32, float_to_srgb, light_table, to_light_float

_READ = 0.002


def _add(image: Image, deviation: Float32 | float, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    np.multiply(noise, np.float32(deviation) if isinstance(deviation, float) else deviation, out=noise)
    np.add(noise, to_light_float(image), out=noise)
    return float_to_srgb(noise)


def _gaussian(image: Image, params: Params, rng: np.random.Generator) -> Image:
    return _add(image, float(params["sigma"] * LIGHT_MAX), rng)


def _poisson(image: Image, params: Params, rng: np.random.Generator) -> Image:
    light = light_table().astype(np.float64) / LIGHT_MAX
    deviation = np.sqrt(params["gain"] * light + params["read"] ** 2) * LIGHT_MAX
    return _add(image, np.asarray(cv2.LUT(image, deviation.astype(np.float32)), dtype=np.float32), rng)


def _salt_pepper(image: Image, params: Params, rng: np.random.Generator) -> Image:
    draw = rng.random(image.shape[:2], dtype=np.float32)
    noisy = image.copy()
    noisy[draw < params["density"]] = 0
    noisy[draw < params["density"] / 2.0] = 255
    return noisy


def _no_context(params: Params) -> int:
    return 0


VARIANTS = (
    Variant("noise", "gaussian", _gaussian, lambda s: {"sigma": geometric(s, 0.002, 1.0)}, context=_no_context),
    Variant(
        "noise",
        "poisson",
        _poisson,
        lambda s: {"gain": geometric(s, 0.0001, 4.0), "read": _READ},
        context=_no_context,
    ),
    Variant(
        "noise", "salt_pepper", _salt_pepper, lambda s: {"density": geometric(s, 0.0002, 0.8)}, context=_no_context
    ),
)
