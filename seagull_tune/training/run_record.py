"""The record of a run: what ran, on what, from what, how it went."""

from __future__ import annotations

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
from seagull_tune.files import atomic_write_text

_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "deepspeed",
    "datasets",
    "timm",
    "numpy",
    "opencv-python-headless",
    "pillow",
)
RECORD = "run.json"


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
    """Commit of the checkout that the program runs from; None outside a repository or without git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True, text=True, timeout=5, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def peak_memory_gb() -> float:
    """Largest resident memory of this process so far, in GB (1e9 bytes)."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes * (1024 if sys.platform != "darwin" else 1) / 1e9, 3)


def write_record(folder: Path, name: str, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Adds the section ``name`` to ``folder/run.json``, keeping the sections of earlier stages.

    Args:
        folder: the run's folder.
        name: stage, for example ``pretrain``.
        config: its resolved configuration.
        facts: what happened: steps, losses, seconds, hashes.
    """
    path = folder / RECORD
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    record[name] = {
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": library_versions(),
        "git_commit": git_commit(),
        "peak_memory_gb": peak_memory_gb(),
        "config": dict(config),
        **facts,
    }
    atomic_write_text(path, json.dumps(record, indent=1) + "\n")
