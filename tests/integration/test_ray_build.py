"""Ray: the same shards as in this process, though a worker is killed; a cluster that goes away is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import cv2
import pytest
import skimage.data
from PIL import Image

from data_builders.executors import RayExecutor
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.errors import DataError

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")

pytestmark = [pytest.mark.integration, pytest.mark.slow]  # a cluster takes half a minute to start


def _config(folder: Path, **keys: object) -> BuildConfig:
    values = {"source": str(folder), "samples_per_image": 6, "shard_images": 1, "workers": 2, **keys}
    return BuildConfig.model_validate(values)


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "chelsea", "coffee"):
        small = cv2.resize(getattr(skimage.data, name)(), (200, 150), interpolation=cv2.INTER_AREA)
        for part in range(2):
            Image.fromarray(small[:, part * 100 : part * 100 + 100]).save(folder / f"{name}{part}.png")
    return folder


def _once_killed(task: tuple[Path, int]) -> tuple[int, int]:
    """The square of a number; the first process that is asked for 3 is killed as by the system."""
    marker, number = task
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number, os.getpid()


def _refuse(number: int) -> int:
    raise DataError(f"{number} is no photograph")


def _slow(number: int) -> int:
    time.sleep(0.5)
    return number


def test_a_killed_worker_costs_its_task_only(tmp_path: Path) -> None:
    tasks = [(tmp_path / "killed", number) for number in range(8)]
    found = list(RayExecutor(2).run(_once_killed, tasks))
    assert sorted(square for square, _ in found) == [n * n for n in range(8)]
    assert (tmp_path / "killed").exists() and len({process for _, process in found}) >= 2
    assert os.getpid() not in {process for _, process in found}


def test_errors_of_tasks_come_through() -> None:
    with pytest.raises(DataError, match="7 is no photograph"):
        list(RayExecutor(2).run(_refuse, [7]))


def test_the_same_bytes_as_in_this_process(photographs: Path, tmp_path: Path) -> None:
    config = _config(photographs, executor="ray")
    assert build_dataset(config, tmp_path / "ray", show_progress=False).n_built == 6
    build_dataset(_config(photographs, workers=1), tmp_path / "local", show_progress=False)
    assert _content(tmp_path / "ray") == _content(tmp_path / "local")


def test_a_cluster_that_goes_away_is_told() -> None:
    results = RayExecutor(2).run(_slow, list(range(400)))
    assert next(results) in range(400)
    ray._private.worker._global_node.kill_all_processes(
        check_alive=False, allow_graceful=False
    )  # its own, by their ids
    with pytest.raises(DataError, match=r"went away.*run the same command again"):
        list(results)


def test_no_cluster_there() -> None:
    with pytest.raises(DataError, match="ray start --head"):
        list(RayExecutor(1, "127.0.0.1:1").run(_slow, [1]))
