"""Sums under masks: windows give, bit for bit, what a look at the whole image gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.regions.windows import MaskWindows


@pytest.fixture
def masks() -> np.ndarray:
    """Overlapping blobs, one pixel, a frame, everything: bool (R, 60, 90)."""
    rng = np.random.default_rng(0)
    blobs = [cv2.GaussianBlur(rng.random((60, 90), dtype=np.float32), (0, 0), 6) > 0.5 for _ in range(4)]
    one, frame = np.zeros((60, 90), bool), np.ones((60, 90), bool)
    one[59, 0] = True
    frame[1:-1, 1:-1] = False
    return np.stack([*blobs, one, frame, np.ones((60, 90), bool)])


@pytest.mark.parametrize("planes", [1, 3, 4])
def test_windows_change_no_bit(masks: np.ndarray, planes: int) -> None:
    terms = np.random.default_rng(1).random((60, 90, planes), dtype=np.float32)
    found = MaskWindows(masks).means(terms)
    assert found.shape == (len(masks), planes) and found.dtype == np.float64
    for row, mask in zip(found, masks, strict=True):
        assert row.tolist() == list(cv2.mean(terms, mask.astype(np.uint8))[:planes])
        assert row == pytest.approx(terms[mask].astype(np.float64).mean(axis=0), rel=1e-12)


def test_areas_and_no_regions(masks: np.ndarray) -> None:
    windows = MaskWindows(masks)
    assert windows.areas.tolist() == masks.sum(axis=(1, 2)).tolist() and len(windows) == len(masks)
    nothing = MaskWindows(masks[:0])
    assert nothing.means(np.zeros((60, 90, 2), np.float32)).shape == (0, 2) and nothing.shape == (60, 90)


def test_masks_that_cannot_be_used_are_refused(masks: np.ndarray) -> None:
    with pytest.raises(RegionError, match="Region 1 is empty"):
        MaskWindows(np.stack([masks[0], np.zeros_like(masks[0])]))
    with pytest.raises(RegionError, match=r"allowed: bool \(R, H, W\)"):
        MaskWindows(masks.astype(np.uint8))
    with pytest.raises(RegionError, match=r"\(R, 60, 91\)"):
        MaskWindows(masks).means(np.zeros((60, 91, 1), np.float32))
