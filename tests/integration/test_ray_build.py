"""Ray: the same shards as in this process, whatever is killed: a worker, the build, the cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from data_builders.executors import RayExecutor
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.errors import DataError
from tests.tiny_builds import config_of, content, finished, halves, kill_in_the_middle, wait_for

pytest.importorskip("ray", reason="Ray is not installed (the extra 'cluster')")

pytestmark = pytest.mark.integration

N_SHARDS = 6
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""They build nothing, and look for the head of their cluster for a minute before they end."""


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps logs and sockets; when the tests are over, no process of Ray is left.

    Not under pytest's own folder: the path of a Unix socket has at most 107 characters.
    """
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # Ray's own 15 starves its workers where other tests run beside them
        yield folder
    wait_for(lambda: not _users_of(folder))
    left = _users_of(folder)
    _switch_off(folder)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"processes of Ray outlived the tests: {left}"


def _open_files(process: Path) -> Iterator[str]:
    """The files that a process has open, by its folder in /proc."""
    for name in os.listdir(process / "fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            yield os.readlink(process / "fd" / name)


def _users_of(folder: Path, but: tuple[str, ...] = ()) -> dict[int, str]:
    """Other processes with an open file in a folder, and their names: every process of Ray has its log open.

    Args:
        but: names that do not count.
    """
    found = {}
    for number in filter(str.isdecimal, os.listdir("/proc") if os.path.isdir("/proc") else []):  # nothing on macOS
        process = Path("/proc", number)
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is not ours to look at
            if int(number) != os.getpid() and any(file.startswith(f"{folder}/") for file in _open_files(process)):
                found[int(number)] = (process / "cmdline").read_bytes().decode().replace("\0", " ").strip()
    return {number: name for number, name in found.items() if name not in but}


def _switch_off(folder: Path, but: Collection[int] = ()) -> None:
    """End all processes of Ray that keep their logs in a folder at once, as when the machine is switched off.

    Args:
        but: processes that stay.
    """
    for process in set(_users_of(folder)) - set(but):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _start_cluster(folder: Path, attempts: int = 3) -> Any:
    """A cluster of one node with two processors, which keeps its logs in a folder.

    Ray gives a new node 30 s to report; on a busy machine the first one may need longer to be read from the disk.
    """
    from ray.cluster_utils import Cluster

    lean = {"num_cpus": 2, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
    there = _users_of(folder)
    try:
        return Cluster(initialize_head=True, head_node_args=lean)
    except Exception:  # Ray raises bare ones where starting takes too long
        _switch_off(folder, but=there)  # it leaves behind what did start
        if attempts == 1:
            raise
        return _start_cluster(folder, attempts - 1)


@pytest.fixture(scope="module")
def cluster(ray_folder: Path) -> Iterator[str]:
    """The address of a cluster that all tests share."""
    made = _start_cluster(ray_folder)
    yield made.address
    made.shutdown()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halves(tmp_path_factory.mktemp("photographs"), "astronaut", "chelsea", "coffee")


def _config(photographs: Path, **keys: object) -> BuildConfig:
    return config_of(photographs, samples_per_image=40, **{"workers": 2, "executor": "ray", **keys})


@pytest.fixture(scope="module")
def expected(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Every file of the data set, as this process alone builds it."""
    folder = tmp_path_factory.mktemp("local") / "set"
    build_dataset(_config(photographs, executor="local", workers=1), folder, show_progress=False)
    return content(folder)


def _once_killed(task: tuple[Path, int]) -> tuple[int, int]:
    """The square of a number; the first process that is asked for 3 is killed as by the system."""
    marker, number = task
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number, os.getpid()


def _refuse(number: int) -> int:
    raise DataError(f"{number} is no photograph")


def test_a_killed_worker_costs_its_task_only(cluster: str, tmp_path: Path) -> None:
    tasks = [(tmp_path / "killed", number) for number in range(8)]
    found = list(RayExecutor(2, cluster).run(_once_killed, tasks))
    assert sorted(square for square, _ in found) == [n * n for n in range(8)]
    assert (tmp_path / "killed").exists() and len({process for _, process in found}) >= 2
    assert os.getpid() not in {process for _, process in found}


def test_errors_of_tasks_come_through(cluster: str) -> None:
    with pytest.raises(DataError, match="7 is no photograph"):
        list(RayExecutor(2, cluster).run(_refuse, [7]))


def test_a_killed_build_goes_on_and_gives_the_same_bytes(
    cluster: str, photographs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    config = _config(photographs, ray_address=cluster)
    kept = kill_in_the_middle(config, tmp_path / "set", tmp_path)
    assert 1 <= len(kept) < N_SHARDS
    resumed = build_dataset(config, tmp_path / "set", show_progress=False)
    assert 1 <= resumed.n_built <= N_SHARDS - len(kept)  # its actors may have finished one more before they ended
    assert kept.items() <= finished(tmp_path / "set").items()
    assert content(tmp_path / "set") == expected


def test_a_killed_build_takes_its_own_cluster_along(
    cluster: str, ray_folder: Path, photographs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    folder = ray_folder / "own"
    folder.mkdir()
    kept = kill_in_the_middle(
        _config(photographs), tmp_path / "set", tmp_path, {"RAY_TMPDIR": str(folder)},
        is_gone=lambda: not _users_of(folder, but=AGENTS),
    )  # fmt: skip
    assert 1 <= len(kept) < N_SHARDS
    _switch_off(folder)
    build_dataset(_config(photographs, ray_address=cluster), tmp_path / "set", show_progress=False)
    assert kept.items() <= finished(tmp_path / "set").items()
    assert content(tmp_path / "set") == expected


def test_a_cluster_that_goes_away_in_the_middle(
    cluster: str, ray_folder: Path, photographs: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    out, other = tmp_path / "set", _start_cluster(ray_folder)

    def go_away() -> None:
        wait_for(lambda: finished(out))
        _switch_off(Path(other.head_node.get_session_dir_path()))

    watch = threading.Thread(target=go_away)
    watch.start()
    with pytest.raises(DataError, match=r"went away.*run the same command again"):
        build_dataset(_config(photographs, ray_address=other.address), out, show_progress=False)
    watch.join()
    kept = finished(out)
    assert 1 <= len(kept) < N_SHARDS
    build_dataset(_config(photographs, ray_address=cluster), out, show_progress=False)
    assert kept.items() <= finished(out).items()
    assert content(out) == expected
    other.shutdown()


def test_no_cluster_there() -> None:
    with pytest.raises(DataError, match="ray start --head"):
        list(RayExecutor(1, "127.0.0.1:1").run(_refuse, [1]))
