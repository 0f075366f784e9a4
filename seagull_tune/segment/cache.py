"""Regions kept on disk, so that an image is never segmented twice with the same weights and settings.

One JSON file per image: ``<folder>/<first two digits>/<key>.json``, with the masks as run-length encoding and a
checksum. It appears whole or not at all, and several processes may fill one folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from seagull_tune.errors import RegionError
from seagull_tune.files import STAGING_SUFFIX
from seagull_tune.images import image_hash
from seagull_tune.records import Region
from seagull_tune.segment.base import Segmenter, check_image

_FORMAT = 1


class RegionCache:
    """A folder of regions by key. What cannot be read is found anew, what cannot be written is not kept; both warn."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when the first entry is."""
        self.folder = folder

    def path_of(self, key: str) -> Path:
        """Where the entry of a key is, or would be."""
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> list[Region] | None:
        """The regions of a key; None where they are not kept, or (with a warning) where their file is damaged."""
        path = self.path_of(key)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["format"] != _FORMAT or entry["sha256"] != _checksum(entry["regions"]):
                raise ValueError("its checksum or its format is another")
            return [Region(**{**values, "box_xyxy": tuple(values["box_xyxy"])}) for values in entry["regions"]]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError, RegionError) as error:
            warnings.warn(
                f"{path}: kept regions cannot be read ({type(error).__name__}: {error}); they are found anew.",
                stacklevel=2,
            )
            return None

    def put(self, key: str, regions: Sequence[Region]) -> None:
        """Keep the regions of a key; a folder that cannot be written costs a warning, not the regions."""
        path = self.path_of(key)
        values = [asdict(region) for region in regions]
        text = json.dumps({"format": _FORMAT, "sha256": _checksum(values), "regions": values})
        # The process id keeps two processes that found the same regions at once from sharing a staging file.
        staging = path.with_name(f".{path.name}.{os.getpid()}{STAGING_SUFFIX}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            staging.write_text(text, encoding="utf-8")
            os.replace(staging, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                staging.unlink(missing_ok=True)
            warnings.warn(f"{path}: regions cannot be kept ({error}); they will be found anew next time.", stacklevel=2)


class CachedSegmenter:
    """A segmenter whose automatic regions are kept; prompts go straight to it."""

    def __init__(self, inner: Segmenter, cache: RegionCache, identity: Mapping[str, Any]) -> None:
        """Put a cache before a segmenter.

        Args:
            inner: finds what is not kept.
            cache: where regions are kept.
            identity: everything but the image that the regions depend on: weights, settings, limits, version of the
                code. JSON values.
        """
        self.inner = inner
        self.cache = cache
        self._identity = json.dumps(identity, sort_keys=True)

    @property
    def name(self) -> str:
        """Of the segmenter behind."""
        return self.inner.name

    def key_of(self, image: np.ndarray) -> str:
        """The key of a uint8 RGB (H, W, 3) image: SHA-256 over its content and the identity, in hex."""
        return hashlib.sha256(f"{image_hash(image)}\n{self._identity}".encode()).hexdigest()

    def segment(self, image: np.ndarray) -> list[Region]:
        """As the segmenter behind, or as it once did."""
        check_image(image)
        key = self.key_of(image)
        regions = self.cache.get(key)
        if regions is None:
            regions = self.inner.segment(image)
            self.cache.put(key, regions)
        return regions

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """As the segmenter behind."""
        return self.inner.at_point(image, x, y)

    def in_box(self, image: np.ndarray, box_xyxy: Sequence[int]) -> Region:
        """As the segmenter behind."""
        return self.inner.in_box(image, box_xyxy)


def _checksum(regions: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(regions, sort_keys=True).encode()).hexdigest()
