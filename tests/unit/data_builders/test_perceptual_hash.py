"""The perceptual hash: near copies are near, different photographs are far."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data

from data_builders.perceptual_hash import dct_hash, near_pairs

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket", "cat")


def _distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def _jpeg(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], cv2.IMREAD_COLOR))


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda x: x, 0),
        (lambda x: cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), 6),
        (lambda x: cv2.convertScaleAbs(x, alpha=1.1, beta=10), 8),
        (_jpeg, 6),
        (lambda x: np.ascontiguousarray(x[4:-4, 4:-4]), 10),
    ],
)
def test_near_copies_are_near(change: Callable[[np.ndarray], np.ndarray], most: int) -> None:
    for name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        assert _distance(dct_hash(image), dct_hash(change(image))) <= most, name


def test_different_photographs_are_far() -> None:
    hashes = [dct_hash(getattr(skimage.data, name)()) for name in ("astronaut", "coffee", "rocket", "chelsea")]
    apart = [_distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 16
    assert all(0 < h < 2**64 for h in hashes)
    assert dct_hash(np.full((40, 50, 3), 77, np.uint8)) == 0  # a flat picture looks like nothing


def test_pairs_are_found_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(0, 2**63, 50, dtype=np.uint64)
    right = np.concatenate([rng.integers(0, 2**63, 30, dtype=np.uint64), left[7:9] ^ np.uint64(0b1011)])
    assert list(near_pairs(left, right, 2)) == []
    assert list(near_pairs(left, right, 3)) == [(7, 30, 3), (8, 31, 3)]
    monkeypatch.setattr("data_builders.perceptual_hash._BLOCK", 40)
    assert list(near_pairs(left, right, 3)) == [(7, 30, 3), (8, 31, 3)]
    assert list(near_pairs(left, right[:0], 64)) == []
