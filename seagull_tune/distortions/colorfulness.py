"""Colorfulness: too little colour, too much, a cast (wrong white balance), or one channel that is off.

``desaturate`` and ``oversaturate`` scale the distance of every pixel to its own luma, in sRGB. ``cast`` multiplies the
channels' light, as a wrong white balance does; its hue is drawn from the step's generator. ``channel`` multiplies the
light of one channel, as a fault of the sensor or of the processing does; which one, and whether it gains or loses, are
drawn.

Params: ``saturation``: 0 is grey, 1 leaves the picture, above 1 exaggerates; ``stops``: how far the cast's strongest
channel, or the one channel, is pulled, in powers of two of the light.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric, linear
from seagull_tune.distortions.linear import gain_table

_LUMA = (0.2126, 0.7152, 0.0722)
"""Rec. ITU-R BT.709 luma weights of R, G, B."""


def _saturate(image: Image, params: Params, rng: np.random.Generator) -> Image:
    saturation = params["saturation"]
    matrix = np.outer(np.ones(3), np.array(_LUMA) * (1.0 - saturation)) + saturation * np.eye(3)
    return np.asarray(cv2.transform(image, matrix.astype(np.float32)), dtype=np.uint8)


def _cast(image: Image, params: Params, rng: np.random.Generator) -> Image:
    hue = float(rng.random()) * 2.0 * math.pi
    gains = [2.0 ** (params["stops"] * math.cos(hue - channel * 2.0 * math.pi / 3.0)) for channel in range(3)]
    # Grey keeps its luminance, so that a cast is about colour and not about exposure.
    luminance = sum(share * gain for share, gain in zip(_LUMA, gains, strict=True))
    table = np.stack([gain_table(gain / luminance) for gain in gains], axis=-1)[None]  # (1, 256, 3)
    return np.asarray(cv2.LUT(image, table), dtype=np.uint8)


def _channel(image: Image, params: Params, rng: np.random.Generator) -> Image:
    channel, sign = int(rng.integers(3)), 1.0 if rng.random() < 0.5 else -1.0
    shifted = image.copy()
    shifted[..., channel] = cv2.LUT(
        np.ascontiguousarray(image[..., channel]), gain_table(2.0 ** (sign * params["stops"]))
    )
    return shifted


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
    Variant("colorfulness", "cast", _cast, lambda s: {"stops": geometric(s, 0.03, 8.0)}, context=_no_context),
    Variant("colorfulness", "channel", _channel, lambda s: {"stops": geometric(s, 0.05, 12.0)}, context=_no_context),
)
