"""COCO run-length encoding, read strictly: runs of pixels down the columns, starting with background.

The text form follows pycocotools' ``rleToString``: runs as base-32 digits, from the fourth on as the difference to the
run two before. Reading is ours because the C decoder leaves memory uninitialised where the runs are too few.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seagull_tune.errors import RegionError


def mask_of_counts(counts: str | Sequence[int], height: int, width: int) -> np.ndarray:
    """The mask of COCO counts.

    Args:
        counts: compressed text, or a list of run lengths.
        height, width: size of the image in pixels.

    Returns:
        bool (H, W), column-major (Fortran) in memory.

    Raises:
        RegionError: damaged, or of another size.
    """
    runs = checked_runs(counts, height, width)
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)  # (W, H)
    return columns.T


def checked_runs(counts: str | Sequence[int], height: int, width: int) -> np.ndarray:
    """Run lengths of COCO counts, checked against the size of the image.

    Args:
        counts: compressed text, or a list of run lengths.
        height, width: size of the image in pixels.

    Returns:
        int64 (n,): none negative, and together as many pixels as the image has.

    Raises:
        RegionError: damaged, or of another size.
    """
    if isinstance(counts, str):
        runs = _runs_of_string(counts)
    else:
        whole = isinstance(counts, Sequence) and all(isinstance(run, (int, np.integer)) for run in counts)
        if not whole or any(abs(run) > height * width for run in counts):
            raise RegionError(f"RLE counts must be text or a list of run lengths in pixels; got {str(counts)[:60]!r}.")
        runs = np.asarray(counts, np.int64)
    total = int(runs.sum())
    if (len(runs) and (runs.min() < 0 or runs.max() > height * width)) or total != height * width:
        raise RegionError(
            f"RLE counts are damaged or of another size: they run over {total} pixels, and an image of {width}x"
            f"{height} (width x height) has {height * width}."
        )
    return runs


def _runs_of_string(counts: str) -> np.ndarray:
    """Compressed COCO counts -> run lengths, int64 (n,): digits of 5 bits, low first; bit 5: more, bit 4: sign."""
    codes = np.frombuffer(counts.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise RegionError(f"RLE counts are damaged: {counts[:40]!r} is not COCO's compressed form.")
    last = np.flatnonzero(codes & 32 == 0)  # the digit that ends each number
    first = np.concatenate(([0], last[:-1] + 1))
    position = np.arange(len(codes)) - np.repeat(first, last - first + 1)
    if position.max() > 7:
        raise RegionError("RLE counts are damaged: a run of more than eight digits.")
    numbers = np.add.reduceat((codes & 31) << (5 * position), first)
    negative = codes[last] & 16 != 0
    numbers -= negative * (np.int64(1) << (5 * (last - first + 1)))
    # From the fourth run on the text holds the difference to the run two before.
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    runs[2::2] = np.cumsum(numbers[2::2])
    return runs
