"""Arrays kept on disk by key: what is computed once per picture and model, and read ever after.

One safetensors file per entry, ``<folder>/<first two digits>/<key>.safetensors``, with a checksum and a note as JSON in
its header. It appears whole or not at all, so that several processes may fill one folder and any may be killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from seagull_tune.files import STAGING_SUFFIX

_FORMAT = "1"

Entry = tuple[dict[str, np.ndarray], Any]
"""Arrays by name, and the note that was kept with them."""


def key_of(*parts: Any) -> str:
    """SHA-256 (hex) over JSON values that an entry depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class ArrayCache:
    """A folder of arrays by key. What cannot be read is computed anew, what cannot be written is not kept; both warn.

    Args:
        folder: made when the first entry is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path_of(self, key: str) -> Path:
        """Where the entry of a key is, or would be."""
        return self.folder / key[:2] / f"{key}.safetensors"

    def get(self, key: str) -> Entry | None:
        """The arrays and the note of a key; None where they are not kept, or (with a warning) are damaged."""
        path = self.path_of(key)
        try:
            data = path.read_bytes()
            head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
            arrays = load(data)
            if head["format"] != _FORMAT or head["sha256"] != _checksum(arrays, head["note"]):
                raise ValueError("its checksum or its format is another")
            return arrays, json.loads(head["note"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, MemoryError, OverflowError) as error:
            warnings.warn(
                f"{path}: kept arrays cannot be read ({type(error).__name__}: {error}); they are computed anew.",
                stacklevel=2,
            )
            return None

    def put(self, key: str, arrays: Mapping[str, np.ndarray], note: Any = None) -> None:
        """Keeps the arrays of a key; a folder that cannot be written costs a warning, not the arrays.

        Args:
            arrays: by name; of any type that safetensors knows.
            note: JSON values kept with them.
        """
        path = self.path_of(key)
        whole = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        text = json.dumps(note)
        head = {"format": _FORMAT, "note": text, "sha256": _checksum(whole, text)}
        # The process id keeps two processes that computed the same entry at once from sharing a staging file.
        staging = path.with_name(f".{path.name}.{os.getpid()}{STAGING_SUFFIX}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            staging.write_bytes(save(whole, metadata=head))
            os.replace(staging, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                staging.unlink(missing_ok=True)
            warnings.warn(f"{path}: arrays cannot be kept ({error}); they will be computed again.", stacklevel=2)


def _checksum(arrays: Mapping[str, np.ndarray], note: str) -> str:
    digest = hashlib.sha256(note.encode())
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
