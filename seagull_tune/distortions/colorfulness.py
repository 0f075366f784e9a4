"""Colorfulness: too little colour, too much, a cast (wrong white balance), or one channel that is off.

``desaturate`` and ``oversaturate`` scale the distance of every pixel to its own luma, in sRGB. ``cast`` multiplies the
channels' light, as a wrong white balance does; its hue is drawn from the step's generator. ``channel`` multiplies the
light of one channel, as a fault of the sensor or of the processing does; which one, and whether it gains or loses, are
drawn. Both leave the luminance of grey as it is.

Params: ``saturation``: 0 is grey, 1 leaves the picture, above 1 exaggerates; ``stops``: how far the cast's strongest
channel, or the one channel, is pulled, in powers of two of the light.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric, linear
from seagull_tune.distortions.linear import Float32, gain_table

_LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. ITU-R BT.709 luma weights of R, G, B."""


def _saturate(image: Image, params: Params, rng: np.random.Generator) -> Image:
    saturation = params["saturation"]
    matrix = np.outer(np.ones(3), np.array(_LUMA) * (1.0 - saturation)) + saturation * np.eye(3)
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), dtype=np.uint8)


def _cast_gains(params: Params, rng: np.random.Generator) -> list[float]:
    hue = float(rng.random()) * 2.0 * math.pi
    gains = [2.0 ** (params["stops"] * math.cos(hue - channel * 2.0 * math.pi / 3.0)) for channel in range(3)]
    return _at_same_luminance(gains)


def _channel_gains(params: Params, rng: np.random.Generator) -> list[float]:
    channel, sign = int(rng.integers(3)), 1.0 if rng.random() < 0.5 else -1.0
    return _at_same_luminance([2.0 ** (sign * params["stops"]) if index == channel else 1.0 for index in range(3)])


def _at_same_luminance(gains: list[float]) -> list[float]:
    """Gains with which grey keeps its luminance, so that a cast is about colour and not about exposure."""
    luminance = sum(share * gain for share, gain in zip(_LUMA, gains, strict=True))
    return [gain / luminance for gain in gains]


GainsFunction = Callable[[Params, np.random.Generator], list[float]]
"""(params, generator) -> factor of the light of R, G and B."""


def _multiply(gains_of: GainsFunction, image: Image, params: Params, rng: np.random.Generator) -> Image:
    table = np.stack([gain_table(gain) for gain in gains_of(params, rng)], axis=-1)[None]  # (1, 256, 3)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def _multiply_light(gains_of: GainsFunction, light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    return np.asarray(light * np.array(gains_of(params, rng), dtype=np.float32), dtype=np.float32)


def _no_context(params: Params) -> int:
    return 0


VARIANTS = (
    Variant(
        "colorfulness",
        "desaturate",
        _saturate,
        lambda s: {"saturation": linear(s, 0.97, 0.0)},
        context=_no_context,
    ),
    Variant(
        "colorfulness",
        "oversaturate",
        _saturate,
        lambda s: {"saturation": geometric(s, 1.05, 40.0)},
        context=_no_context,
    ),
    Variant(
        "colorfulness",
        "cast",
        partial(_multiply, _cast_gains),
        lambda s: {"stops": geometric(s, 0.03, 8.0)},
        context=_no_context,
        light=partial(_multiply_light, _cast_gains),
    ),
    Variant(
        "colorfulness",
        "channel",
        partial(_multiply, _channel_gains),
        lambda s: {"stops": geometric(s, 0.05, 12.0)},
        context=_no_context,
        light=partial(_multiply_light, _channel_gains),
    ),
)
