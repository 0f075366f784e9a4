"""Noise added to light: gaussian, Poisson (shot) and that of a whole sensor; banding of its rows; salt and pepper.

A local step draws its noise over the bounding box of its area, rows first.

Params: ``sigma`` (gaussian) standard deviation of the light, 1 is display white; ``gain`` (poisson) variance of the
light per unit of light, on top of a read noise of ``read`` (standard deviation); sensor has both as well, and
``correlation``, that of any two colour channels, as demosaicing leaves it; ``sigma`` (banding) standard deviation of
the light that a whole row (or column, which is drawn) is off by; ``density`` (salt_pepper) share of the pixels that
turn black or white.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric
from seagull_tune.distortions.linear import LIGHT_MAX, Float32, float_to_srgb, light_table, to_light_float

_READ = 0.002
_SENSOR_READ = 0.004
_CORRELATION = 0.5


def _shot_deviation(image: Image, params: Params) -> Float32:
    """Standard deviation of Poisson-Gaussian noise at every value, (H, W, 3) float32 on the scale 0..LIGHT_MAX.

    The affine noise model of a sensor, variance = gain * light + read^2 (Foi et al., "Practical Poissonian-Gaussian
    noise modeling and fitting for single-image raw-data", IEEE TIP 2008).
    """
    light = light_table().astype(np.float64) / LIGHT_MAX
    deviation = np.sqrt(params["gain"] * light + params["read"] ** 2) * LIGHT_MAX
    return np.asarray(cv2.LUT(image, deviation.astype(np.float32)), dtype=np.float32)


def _add(image: Image, deviation: Float32 | float, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    np.multiply(noise, np.float32(deviation) if isinstance(deviation, float) else deviation, out=noise)
    np.add(noise, to_light_float(image), out=noise)
    return float_to_srgb(noise)


def _gaussian(image: Image, params: Params, rng: np.random.Generator) -> Image:
    return _add(image, float(params["sigma"] * LIGHT_MAX), rng)


def _poisson(image: Image, params: Params, rng: np.random.Generator) -> Image:
    return _add(image, _shot_deviation(image, params), rng)


def _sensor(image: Image, params: Params, rng: np.random.Generator) -> Image:
    noise = _correlated(image.shape, params["correlation"], rng)
    noise *= _shot_deviation(image, params)
    noise += to_light_float(image)
    return float_to_srgb(noise)


def _correlated(shape: tuple[int, ...], correlation: float, rng: np.random.Generator) -> Float32:
    """Standard normal noise, (H, W, 3) float32: what channels share beside what each has alone; variances stay one."""
    shared = rng.standard_normal((*shape[:2], 1), dtype=np.float32)
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= np.float32(math.sqrt(1.0 - correlation))
    noise += np.float32(math.sqrt(correlation)) * shared
    return noise


def _band_offsets(shape: tuple[int, ...], params: Params, rng: np.random.Generator) -> Float32:
    """By how much every row, or column, is off: float32 that broadcasts to (H, W, 3), on the scale 0..LIGHT_MAX."""
    rows = bool(rng.random() < 0.5)
    offsets = rng.standard_normal((shape[0], 1, 1) if rows else (1, shape[1], 1), dtype=np.float32)
    return offsets * np.float32(params["sigma"] * LIGHT_MAX)


def _banding(image: Image, params: Params, rng: np.random.Generator) -> Image:
    return float_to_srgb(to_light_float(image) + _band_offsets(image.shape, params, rng))


def _gaussian_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    return light + rng.standard_normal(light.shape, dtype=np.float32) * np.float32(params["sigma"] * LIGHT_MAX)


def _shot_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    """Poisson-Gaussian noise; correlated where the params say so."""
    noise = _correlated(light.shape, params.get("correlation", 0.0), rng)
    variance = light * np.float32(params["gain"] / LIGHT_MAX) + np.float32(params["read"] ** 2)
    noise *= np.sqrt(variance) * np.float32(LIGHT_MAX)
    return light + noise


def _banding_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    return light + _band_offsets(light.shape, params, rng)


def _salt_pepper(image: Image, params: Params, rng: np.random.Generator) -> Image:
    draw = rng.random(image.shape[:2], dtype=np.float32)
    noisy = image.copy()
    noisy[draw < params["density"]] = 0
    noisy[draw < params["density"] / 2.0] = 255
    return noisy


def _no_context(params: Params) -> int:
    return 0


VARIANTS = (
    Variant(
        "noise",
        "gaussian",
        _gaussian,
        lambda s: {"sigma": geometric(s, 0.002, 1.0)},
        context=_no_context,
        light=_gaussian_light,
    ),
    Variant(
        "noise",
        "poisson",
        _poisson,
        lambda s: {"gain": geometric(s, 0.0001, 4.0), "read": _READ},
        context=_no_context,
        light=_shot_light,
    ),
    Variant(
        "noise",
        "sensor",
        _sensor,
        lambda s: {"gain": geometric(s, 0.0001, 4.0), "read": _SENSOR_READ, "correlation": _CORRELATION},
        context=_no_context,
        light=_shot_light,
    ),
    Variant(
        "noise",
        "banding",
        _banding,
        lambda s: {"sigma": geometric(s, 0.001, 1.0)},
        context=_no_context,
        light=_banding_light,
    ),
    Variant(
        "noise", "salt_pepper", _salt_pepper, lambda s: {"density": geometric(s, 0.0002, 0.8)}, context=_no_context
    ),
)
