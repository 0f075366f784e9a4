"""What is kept of photographs between requests: pixels by the hash of their file, encodings by that of their pixels.

Both forget what was not asked for longest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from seagull_tune.images import image_hash
from seagull_tune.infer.assessor import EncodedPhotograph, RegionAssessor
from seagull_tune.records import Region


class PixelCache:
    """Decoded photographs by the SHA-256 of their files; several threads may ask.

    Args:
        max_bytes: of pixels that are kept; a photograph of more than half of it is not.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str) -> np.ndarray | None:
        """uint8 (H, W, 3), or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: str, pixels: np.ndarray) -> np.ndarray:
        """Keeps uint8 (H, W, 3); returns what is kept, so that all who ask hold one array."""
        with self._lock:
            if key in self._kept:
                return self._kept[key]
            if 2 * pixels.nbytes > self._max_bytes:
                return pixels
            self._kept[key] = pixels
            self._bytes += pixels.nbytes
            while self._bytes > self._max_bytes:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
            return pixels


class RememberingAssessor(RegionAssessor):
    """An assessor that remembers encodings, so that a conversation's next question, or another client's, finds the
    photograph read already. Scores, texts and conversations all encode here. For one thread.

    Attributes:
        max_encodings: photographs with their regions that are kept.
        hits, misses: how often an encoding was there, and was not.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_encodings = 64
        self.hits = self.misses = 0
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], EncodedPhotograph] = OrderedDict()

    def encode(self, image: np.ndarray, regions: Sequence[Region]) -> EncodedPhotograph:
        """As :meth:`RegionAssessor.encode`; found again by the content of the photograph and the regions."""
        key = (image_hash(image), tuple(region.counts for region in regions))
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        self.misses += 1
        encoded = super().encode(image, regions)
        self._kept[key] = encoded
        while len(self._kept) > self.max_encodings:
            self._kept.popitem(last=False)
        return encoded
