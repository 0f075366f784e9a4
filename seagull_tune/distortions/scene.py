"""Scene light, as a RAW file holds it, and how it is developed into a picture.

Scene light is linear and has room above display white: blur spreads highlights at their true brightness, and a picture
exposed less shows what was white before. It is held as (H, W, 3) uint16, sRGB primaries, 0 is black,
:data:`SCENE_WHITE` is display white, and the largest value lies two stops above it; what is brighter is clipped, as on
a sensor. A picture (uint8) and scene light (uint16) are told apart by their type.

Development is a tone curve and the sRGB transfer function, one table over the 65536 values. The curve is straight up to
:data:`SHOULDER`; from there a shoulder of the same slope closes in on white, so that two stops of highlights keep some
drawing: T(x) = k + (1 - k) (1 - exp(-(x - k) / (1 - k))) with x = 1 at display white and k = SHOULDER.

Legend: H, W image height and width in pixels.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from seagull_tune.distortions.linear import LIGHT_MAX, Float32, UInt8, UInt16, code_table

SCENE_WHITE = 16384
"""Scene light of display white."""

SHOULDER = 0.7
"""Share of display white up to which the tone curve is straight."""

_SCENE_MAX = 65535


@cache
def _development() -> UInt8:
    """The sRGB code of every scene light: (65536,) uint8, rising."""
    light = np.arange(_SCENE_MAX + 1) / SCENE_WHITE
    bent = SHOULDER + (1.0 - SHOULDER) * (1.0 - np.exp((SHOULDER - light) / (1.0 - SHOULDER)))
    tone = np.where(light <= SHOULDER, light, bent)
    table = np.asarray(code_table()[np.rint(tone * LIGHT_MAX).astype(np.uint16)], dtype=np.uint8)
    table.setflags(write=False)
    return table


def is_scene(image: npt.NDArray[Any]) -> TypeGuard[UInt16]:
    """Whether an image is scene light, (H, W, 3) uint16."""
    return image.dtype == np.uint16 and image.ndim == 3 and image.shape[2] == 3


def develop(scene: UInt16) -> UInt8:
    """The picture of scene light: (H, W, 3) uint16 -> (H, W, 3) uint8 sRGB."""
    return np.asarray(np.take(_development(), scene), dtype=np.uint8)


def developed(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """What a photograph looks like: scene light is developed, a picture is given back as it is."""
    return develop(image) if is_scene(image) else image


def scene_to_light(scene: UInt16) -> Float32:
    """Scene light as (H, W, 3) float32 on the scale of ``distortions.linear``: ``LIGHT_MAX`` is display white."""
    return np.asarray(scene * np.float32(LIGHT_MAX / SCENE_WHITE), dtype=np.float32)


def light_to_scene(light: Float32) -> UInt16:
    """Inverse of :func:`scene_to_light`, rounded and clipped."""
    scene = np.rint(light * np.float32(SCENE_WHITE / LIGHT_MAX))
    return np.asarray(np.clip(scene, 0, _SCENE_MAX), dtype=np.uint16)
