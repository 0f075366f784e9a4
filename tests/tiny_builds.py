"""Builds of a few seconds that can be killed in the middle, and what they leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import pytest
import skimage.data
from PIL import Image

from seagull_tune.config.data import BuildConfig

ROOT = Path(__file__).resolve().parents[1]
_SCRIPT = """
import json
import sys
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig

if __name__ == "__main__":
    build_dataset(BuildConfig.model_validate(json.loads(sys.argv[2])), sys.argv[1])
"""
_PATIENCE = 180.0
"""Seconds until a test gives up; a busy machine takes ten times as long as an idle one."""


def halves(folder: Path, *names: str) -> Path:
    """Two small photographs, 100x150, of each of these pictures of scikit-image."""
    for name in names:
        small = cv2.resize(getattr(skimage.data, name)(), (200, 150), interpolation=cv2.INTER_AREA)
        for part in range(2):
            Image.fromarray(small[:, part * 100 : part * 100 + 100]).save(folder / f"{name}{part}.png")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a data set, but hidden ones (the lock)."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def finished(folder: Path) -> dict[Path, int]:
    """The finished shards of a data set, and when they were written, in ns."""
    return {path: path.stat().st_mtime_ns for path in sorted((folder / "samples").glob("*.parquet"))}


def wait_for(happened: Callable[[], object]) -> bool:
    """Waits until it has happened; False where it takes too long."""
    deadline = time.monotonic() + _PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill_in_the_middle(
    config: BuildConfig,
    out: Path,
    scratch: Path,
    environment: Mapping[str, str] | None = None,
    is_gone: Callable[[], bool] | None = None,
) -> dict[Path, int]:
    """Builds in a process of its own, which is killed as by the system when its first shard is there.

    Args:
        scratch: a folder for the script that is run.
        environment: more variables for the process.
        is_gone: whether none of its processes is left that might write; by default none of its group.

    Returns:
        The shards that it finished, as :func:`finished` gives them; no process of it writes any more.
    """
    script = scratch / "build.py"
    script.write_text(_SCRIPT)
    command = [sys.executable, str(script), str(out), config.model_dump_json(exclude_unset=True)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(environment or {})}
    process = _begun(command, variables, out)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the build ended before it could be killed: give it more samples"
    if not wait_for(is_gone or (lambda: not _group_exists(process.pid))):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("worker processes outlived the build that was killed")
    return finished(out)


def _begun(command: list[str], variables: Mapping[str, str], out: Path, attempts: int = 3) -> subprocess.Popen[bytes]:
    """A build whose first shard is there; one that refuses is begun again, as its message says (Ray's cluster may not
    start in time on a busy machine).
    """
    process = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: finished(out) or process.poll() is not None)
    return _begun(command, variables, out, attempts - 1) if process.poll() and attempts > 1 else process


def _group_exists(group: int) -> bool:
    """Workers notice that their parent is gone and end; none may be left to write into the folder."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def config_of(source: Path, **keys: Any) -> BuildConfig:
    """A build with one photograph a shard."""
    return BuildConfig.model_validate({"source": str(source), "shard_images": 1, **keys})
