"""sRGB <-> linear light by lookup tables, so that optics and noise act on light and not on display codes.

Light is held as 16-bit fixed point: 0 is black, ``LIGHT_MAX`` is display white. The tables come from the transfer
function of IEC 61966-2-1 (sRGB), evaluated once for the 256 codes; the way back changes codes at the midpoints of their
light, so every code comes back as it was. No power function runs per pixel.

Legend: H, W image height and width in pixels.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
UInt16 = npt.NDArray[np.uint16]
Float32 = npt.NDArray[np.float32]

LIGHT_MAX = 65535
"""Fixed-point value of display white."""


def _srgb_to_light(code: int) -> float:
    """Light in [0, 1] of an 8-bit sRGB code (IEC 61966-2-1, inverse of the gamma function)."""
    value = code / 255.0
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


@cache
def light_table() -> UInt16:
    """Fixed-point light of every sRGB code: (256,) uint16, strictly rising, 0..LIGHT_MAX."""
    table = np.array([round(_srgb_to_light(code) * LIGHT_MAX) for code in range(256)], dtype=np.uint16)
    table.setflags(write=False)
    return table


@cache
def code_table() -> UInt8:
    """The sRGB code nearest in light to every fixed-point light: (LIGHT_MAX + 1,) uint8, rising."""
    light = light_table().astype(np.int64)
    borders = (light[:-1] + light[1:] + 1) // 2
    table = np.searchsorted(borders, np.arange(LIGHT_MAX + 1), side="right").astype(np.uint8)
    table.setflags(write=False)
    return table


def to_light(image: UInt8) -> UInt16:
    """Linear light of an image.

    Args:
        image: (H, W, 3) uint8 sRGB.

    Returns:
        (H, W, 3) uint16, 0..LIGHT_MAX.
    """
    return np.asarray(cv2.LUT(image, light_table()), dtype=np.uint16)


def to_light_float(image: UInt8) -> Float32:
    """Linear light of an image as (H, W, 3) float32 on the scale 0..LIGHT_MAX (for float filters)."""
    return np.asarray(cv2.LUT(image, light_table().astype(np.float32)), dtype=np.float32)


def to_srgb(light: UInt16) -> UInt8:
    """sRGB codes of fixed-point light: (H, W, 3) uint16 -> (H, W, 3) uint8."""
    return np.asarray(np.take(code_table(), light), dtype=np.uint8)


def float_to_srgb(light: Float32) -> UInt8:
    """sRGB codes of float light on the scale 0..LIGHT_MAX, clipped: (H, W, 3) float32 (overwritten) -> uint8."""
    np.add(light, 0.5, out=light)
    np.clip(light, 0.0, float(LIGHT_MAX), out=light)
    return to_srgb(light.astype(np.uint16))


def gain_table(gain: float) -> UInt8:
    """The sRGB code table of a gain of light with clipping at white.

    Args:
        gain: factor of the light, >= 0.

    Returns:
        (256,) uint8: code out for every code in, for ``cv2.LUT``.
    """
    scaled = np.clip(np.rint(light_table().astype(np.float64) * gain), 0, LIGHT_MAX)
    return np.asarray(code_table()[scaled.astype(np.uint16)], dtype=np.uint8)
