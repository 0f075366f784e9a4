"""Sharpness: over-sharpening by unsharp masking, in sRGB as cameras and editors do it, with halos and clipping.

Params: ``amount`` times the difference to a gaussian of ``sigma`` pixels is added.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric

_SIGMA = 1.5


def _context(params: Params) -> int:
    return max(1, math.ceil(3.0 * params["sigma"]))


def _unsharp(image: Image, params: Params, rng: np.random.Generator) -> Image:
    size = 2 * _context(params) + 1
    soft = cv2.GaussianBlur(image, (size, size), params["sigma"], borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(cv2.addWeighted(image, 1.0 + params["amount"], soft, -params["amount"], 0.0), dtype=np.uint8)


VARIANTS = (
    Variant(
        "sharpness",
        "unsharp",
        _unsharp,
        lambda s: {"amount": geometric(s, 0.1, 60.0), "sigma": _SIGMA},
        context=_context,
        spatial=("sigma",),
    ),
)
