"""The record of a run: what ran, on what, from what, how it went.

A section is opened when its stage begins and completed when it ends, so a run that is killed leaves what it was.
"""

from __future__ import annotations

import hashlib
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from seagull_tune import __version__
from seagull_tune.errors import TrainingError
from seagull_tune.files import atomic_write_text, why_not_written

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "deepspeed",
    "bitsandbytes",
    "datasets",
    "timm",
    "numpy",
    "opencv-python-headless",
    "pillow",
)
RECORD = "run.json"
_FIRST_WRITTEN = ("started", "resumed_from")
"""What the opening of a section says and its completion keeps."""


def library_versions() -> dict[str, str]:
    """Versions of the libraries whose behaviour a result depends on; those that are not installed are left out."""
    found = {"python": platform.python_version(), "seagull-tune": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Commit of the checkout that the program runs from; None outside a repository or without git.

    An installed copy may lie in the folder of somebody else's repository, whose commit says nothing about it: the
    repository must know this very file.
    """
    here = Path(__file__)
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    return _git(here.parent, "rev-parse", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    """What a git command prints; None where it fails, or there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def config_hash(config: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a resolved configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far, in GB (1e9 bytes)."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes * (1024 if sys.platform != "darwin" else 1) / 1e9, 3)


def now() -> str:
    """Local time with its offset, to the second (ISO 8601)."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def begin_record(
    folder: Path, name: str, config: Mapping[str, Any], facts: Mapping[str, Any], resumed_from: str | None = None
) -> None:
    """Opens the section ``name`` of ``folder/run.json``; it has no ``finished`` until :func:`write_record`.

    Args:
        folder: the run's folder.
        name: stage, for example ``train``.
        config: its resolved configuration.
        facts: what is known before it runs.
        resumed_from: the checkpoint it goes on from; a run that does keeps the ``started`` of its first part and the
            list of all its resumptions.

    Raises:
        TrainingError: the record is damaged or cannot be written.
    """
    earlier = read_record(folder).get(name, {}) if resumed_from is not None else {}
    resumed = list(earlier.get("resumed_from", []))
    if resumed_from is not None:
        resumed.append({"checkpoint": resumed_from, "at": now()})
    opened = {"started": earlier.get("started", now()), "resumed_from": resumed}
    _write(folder, name, {**opened, **_surroundings(config), **facts})


def write_record(folder: Path, name: str, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Completes (or adds) the section ``name`` of ``folder/run.json``, keeping the sections of earlier stages.

    Args:
        folder: the run's folder.
        name: stage, for example ``train``.
        config: its resolved configuration.
        facts: what happened: steps, losses, seconds, hashes.

    Raises:
        TrainingError: the record is damaged or cannot be written.
    """
    opened = read_record(folder).get(name, {})
    begun = {} if "finished" in opened else {key: opened[key] for key in _FIRST_WRITTEN if key in opened}
    _write(
        folder, name, {**begun, "finished": now(), "peak_memory_gb": peak_memory_gb(), **_surroundings(config), **facts}
    )


def _surroundings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on besides the data: program, libraries, configuration."""
    return {
        "versions": library_versions(),
        "git_commit": git_commit(),
        "config_hash": config_hash(config),
        "config": dict(config),
    }


def read_record(folder: Path) -> dict[str, Any]:
    """All sections of ``folder/run.json``; none where it is not there.

    Raises:
        TrainingError: it is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} is damaged ({error}). Remove it, and run again.") from error


def _write(folder: Path, name: str, section: Mapping[str, Any]) -> None:
    path = folder / RECORD
    try:
        atomic_write_text(path, json.dumps({**read_record(folder), name: dict(section)}, indent=1) + "\n")
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {why_not_written(error)}.") from error
