"""What is kept of photographs between requests: pixels by the hash of their file, all else by that of their pixels.

Both forget what was not asked for longest.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from seagull_tune.images import image_hash
from seagull_tune.infer.assessor import EncodedPhotograph, RegionAssessor, check_regions
from seagull_tune.infer.memory import PromptMemory
from seagull_tune.infer.prefix import SharedPrefix
from seagull_tune.records import Region

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """Values by key, as many as fit; several threads may ask.

    Args:
        max_bytes: of all that is kept; a value of more than half of it is not.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """What is kept, or None."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def put(self, key: K, value: V, n_bytes: int) -> V:
        """Keeps a value of ``n_bytes``; returns what is kept, so that all who ask hold one."""
        with self._lock:
            if key in self._kept:
                return self._kept[key][0]
            if 2 * n_bytes > self._max_bytes:
                return value
            self._kept[key] = value, n_bytes
            self._bytes += n_bytes
            while self._bytes > self._max_bytes:
                _, (_, oldest) = self._kept.popitem(last=False)
                self._bytes -= oldest
            return value


@dataclass(frozen=True)
class KnownPhotograph(EncodedPhotograph):
    """A photograph by the hash of its pixels."""

    digest: str = ""


class RememberingAssessor(RegionAssessor):
    """An assessor that remembers photographs, so that the next question, or another client's, finds them read already:
    what the tower saw, the tokens of every region, and what the language model made of the picture.

    Scores, texts and conversations all encode here. For one thread.

    Attributes:
        hits, misses: how often the encoding of a region was there, and was not.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hits = self.misses = 0
        self._photographs: ByteCache[str, EncodedPhotograph] = ByteCache(0)
        self._tokens: ByteCache[tuple[str, str], Tensor] = ByteCache(0)
        self._prefixes: ByteCache[str, SharedPrefix] = ByteCache(0)

    def remember(self, encoding_bytes: int, memory_bytes: int) -> None:
        """Begins anew to remember photographs and prompts, each kind within its bound."""
        self._photographs, self._tokens = ByteCache(encoding_bytes), ByteCache(encoding_bytes // 16)
        self._prefixes, self.memory = ByteCache(memory_bytes), PromptMemory(memory_bytes)

    def encode(
        self, image: np.ndarray, regions: Sequence[Region], maps: Sequence[Tensor] | None = None
    ) -> KnownPhotograph:
        """As :meth:`RegionAssessor.encode`; the photograph and each region are found again by their content."""
        check_regions(regions, *image.shape[:2])
        digest = image_hash(image)
        photograph = self._photographs.get(digest)
        tokens = {}
        for region in regions:
            known = self._tokens.get((digest, region.counts))
            if known is not None:
                tokens[region.counts] = known
        new = list({region.counts: region for region in regions if region.counts not in tokens}.values())
        self.hits += len(tokens)
        self.misses += len(new)
        if photograph is None or new:
            seen = maps if photograph is None else photograph.maps
            encoded = super().encode(image, new or regions[:1], seen)
            for region, found in zip(new, encoded.tokens, strict=bool(new)):
                tokens[region.counts] = self._tokens.put((digest, region.counts), found.clone(), found.nbytes)
            if photograph is None:
                nothing = replace(encoded, tokens=encoded.tokens[:0].clone())
                size = encoded.grid.nbytes + sum(level.nbytes for level in encoded.maps)
                photograph = self._photographs.put(digest, nothing, size)
        rows = torch.stack([tokens[region.counts] for region in regions])
        return KnownPhotograph(photograph.grid, rows, photograph.size, photograph.maps, digest)

    def open(self, encoded: EncodedPhotograph) -> SharedPrefix:
        """As :meth:`RegionAssessor.open`; found again."""
        if not isinstance(encoded, KnownPhotograph):
            return super().open(encoded)
        known = self._prefixes.get(encoded.digest)
        if known is None:
            known = super().open(encoded)
            known = self._prefixes.put(encoded.digest, known, known.n_bytes)
        return known
