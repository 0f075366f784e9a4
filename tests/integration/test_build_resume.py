"""A build that is killed: the same shards as one that was not, and no process stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import skimage.data
from PIL import Image

from data_builders.pipeline import build_dataset
from data_builders.validate import validate_dataset
from seagull_tune.config.data import BuildConfig

pytestmark = pytest.mark.integration

SCRIPT = """
import sys
from data_builders.pipeline import build_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig

if __name__ == "__main__":
    build_dataset(load_config(BuildConfig, None, sys.argv[2:]), sys.argv[1])
"""
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
ROOT = Path(__file__).resolve().parents[2]


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _shards(folder: Path) -> list[Path]:
    return sorted((folder / "samples").glob("*.parquet"))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in PHOTOGRAPHS:
        small = cv2.resize(getattr(skimage.data, name)(), (200, 150), interpolation=cv2.INTER_AREA)
        for part in range(2):
            Image.fromarray(small[:, part * 100 : part * 100 + 100]).save(folder / f"{name}{part}.png")
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_build_goes_on_and_gives_the_same_bytes(photographs: Path, tmp_path: Path, workers: int) -> None:
    script = tmp_path / "build.py"
    script.write_text(SCRIPT)
    keys = {"source": photographs, "samples_per_image": 60, "shard_images": 1, "split.test": 0.25}
    options = [f"{key}={value}" for key, value in keys.items()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    killed = tmp_path / "killed"
    command = [sys.executable, str(script), str(killed), *options, f"workers={workers}"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not _shards(killed) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the build ended before it could be killed: give it more samples"
    _wait_until_gone(process.pid)
    done = _shards(killed)
    assert 1 <= len(done) < 8
    kept = {path: path.stat().st_mtime_ns for path in done}

    config = BuildConfig.model_validate(
        {"source": str(photographs), "samples_per_image": 60, "shard_images": 1, "split": {"test": 0.25}}
    )
    resumed = build_dataset(config, killed, show_progress=False)
    assert resumed.n_built == 8 - len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == kept
    whole = build_dataset(config, tmp_path / "whole", show_progress=False)
    assert _content(killed) == _content(tmp_path / "whole")
    assert resumed.recipe_hash == whole.recipe_hash
    assert validate_dataset(killed, show_progress=False).ok


def _wait_until_gone(group: int) -> None:
    """Workers notice that their parent is gone and end; none may be left to write into the folder."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("worker processes outlived the build that was killed")
