"""What a checkpoint says about where the files of its training lie: nothing that names one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLACES = ("out", "data", "image_root", "init", "cache_dir", "prompts")
"""Keys of a training configuration that say where something lies on the machine that ran it."""

_KEPT = ("data", "init")
"""Those that help who has the whole run: they lead to the data card, and to the stage before."""
_NEAR = 2  # levels up from a checkpoint: further away, a relative path tells of this machine too


def near(place: str | Path, folder: Path) -> str | None:
    """A place as a relative link from a checkpoint's folder; None where it is too far away for that."""
    link = Path(os.path.relpath(Path(place).resolve(), folder.resolve()))
    return link.as_posix() if link.parts.count("..") <= _NEAR and not link.is_absolute() else None


def portable(config: Mapping[str, Any], folder: Path | None = None, start: Path | None = None) -> dict[str, Any]:
    """A resolved configuration without what names a place on the machine that ran it.

    Where a run started from a checkpoint, ``model`` (of a new one) was not read and is left out too.

    Args:
        config: of a training; its places are those of :data:`PLACES`.
        folder: the checkpoint that it is written into, relative to which data set and start are kept where they are
            near; None keeps none.
        start: what relative places in ``config`` are relative to; None is the working folder.
    """
    hidden = {*PLACES, "model"} if config.get("init") else set(PLACES)
    kept = {key: _without_paths(value) for key, value in config.items() if key not in hidden}
    if folder is not None:
        given = {key: config[key] for key in _KEPT if isinstance(config.get(key), str)}
        kept |= {key: near((start or Path()) / value, folder) for key, value in given.items()}
    return {key: value for key, value in kept.items() if value is not None}


def _without_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_paths(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(entry) for entry in value]
    is_path = isinstance(value, str) and (value.startswith(("/", "~", "\\\\")) or value[1:3] in (":\\", ":/"))
    return "(a path)" if is_path else value
