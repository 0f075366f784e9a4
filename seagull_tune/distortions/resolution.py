"""Resolution: the picture is sampled down (area average) and back up to its size with a named interpolation.

Always computed on the whole picture, since samples lie on its grid. Params: ``factor`` >= 1, the ratio of side lengths.
"""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np

from seagull_tune.distortions.base import Image, Params, Variant, geometric

_INTERPOLATIONS = {"bicubic": cv2.INTER_CUBIC, "bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST}


def _down_up(interpolation: int, image: Image, params: Params, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    small = (max(1, round(width / params["factor"])), max(1, round(height / params["factor"])))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=interpolation), dtype=np.uint8)


def _strength(strength: float) -> dict[str, float]:
    return {"factor": geometric(strength, 1.05, 40.0)}


VARIANTS = tuple(
    Variant("resolution", name, partial(_down_up, interpolation), _strength, spatial=("factor",))
    for name, interpolation in _INTERPOLATIONS.items()
)
