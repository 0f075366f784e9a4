"""A tiny real RAW file: an uncompressed DNG with a Bayer pattern, whose camera colours are linear sRGB."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

_FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 10: "ii"}
"""TIFF field type -> struct format of one value (5, 10: numerator and denominator)."""

_XYZ_TO_SRGB = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)

BLACK, WHITE = 512, 15360
"""Sensor values of no light and of clipping."""


def mosaic(light: np.ndarray) -> np.ndarray:
    """What a sensor with the pattern RG/GB records: light (H, W, 3) in [0, 1] -> (H, W) uint16."""
    clipped = np.clip(light, 0.0, 1.0)
    sensor = clipped[..., 1].copy()
    sensor[0::2, 0::2] = clipped[0::2, 0::2, 0]
    sensor[1::2, 1::2] = clipped[1::2, 1::2, 2]
    return np.rint(BLACK + sensor * (WHITE - BLACK)).astype(np.uint16)


def dng_bytes(light: np.ndarray) -> bytes:
    """A DNG file of light (H, W, 3) in [0, 1], linear sRGB; 1 is where the sensor clips."""
    pixels = mosaic(light)
    height, width = pixels.shape
    matrix = [part for value in _XYZ_TO_SRGB for part in (round(value * 10000), 10000)]
    entries: list[tuple[int, int, Sequence[int] | bytes]] = [
        (254, 4, [0]), (256, 4, [width]), (257, 4, [height]), (258, 3, [16]), (259, 3, [1]), (262, 3, [32803]),
        (271, 2, b"Tiny\0"), (272, 2, b"Tiny DNG\0"), (273, 4, [8]), (274, 3, [1]), (277, 3, [1]), (278, 4, [height]),
        (279, 4, [pixels.nbytes]), (33421, 3, [2, 2]), (33422, 1, [0, 1, 1, 2]), (50706, 1, [1, 4, 0, 0]),
        (50708, 2, b"Tiny DNG\0"), (50714, 3, [BLACK]), (50717, 3, [WHITE]), (50721, 10, matrix),
        (50728, 5, [1, 1, 1, 1, 1, 1]), (50778, 3, [21]),
    ]  # fmt: skip
    start = 8 + pixels.nbytes
    later = start + 2 + 12 * len(entries) + 4  # values that do not fit into their entry
    directory, tail = struct.pack("<H", len(entries)), b""
    for tag, kind, values in entries:
        form = _FORMATS[kind]
        data = bytes(values) if kind == 2 else struct.pack(f"<{len(values)}{form[0]}", *values)
        count = len(values) // len(form)
        if len(data) <= 4:
            directory += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
        else:
            directory += struct.pack("<HHII", tag, kind, count, later + len(tail))
            tail += data + b"\0" * (len(data) % 2)
    header = struct.pack("<2sHI", b"II", 42, start)
    return header + pixels.astype("<u2").tobytes() + directory + struct.pack("<I", 0) + tail
