"""A 64-bit perceptual hash: near copies of a photograph (shrunk, recompressed, a little brighter) differ in few bits.

The low frequencies of a small grey copy, each above or below their median (the DCT hash of C. Zauner, Implementation
and Benchmarking of Perceptual Image Hash Functions, 2010).

Legend: H, W height and width in pixels; N, M numbers of hashes.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

_SIDE = 32
_KEPT = 8
_BLOCK = 1 << 22
"""Pairs that are compared at once: 32 MB of 64-bit words."""


def dct_hash(image: np.ndarray) -> int:
    """The hash of a picture.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        64 bits: the DCT coefficients 1..8 by 1..8 (no constant row or column), row by row, 1 above their median.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    spectrum = cv2.dct(cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    low = spectrum[1 : 1 + _KEPT, 1 : 1 + _KEPT].ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def near_pairs(left: np.ndarray, right: np.ndarray, distance: int) -> Iterator[tuple[int, int, int]]:
    """Pairs of hashes that differ in few bits.

    Args:
        left: uint64 (N,).
        right: uint64 (M,).
        distance: most bits that may differ.

    Yields:
        Index into ``left``, index into ``right``, and how many bits differ; in the order of ``left``.
    """
    step = max(1, _BLOCK // max(1, len(right)))
    for first in range(0, len(left), step):
        bits = np.bitwise_count(left[first : first + step, None] ^ right[None, :])  # (n, M)
        for i, j in zip(*np.nonzero(bits <= distance), strict=True):
            yield first + int(i), int(j), int(bits[i, j])
