"""Two real processes: one does the work first, and a failure or a kill in either ends both."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
from functools import partial
from pathlib import Path

from seagull_tune.errors import DataError, TrainingError
from seagull_tune.training.arguments import start_engine
from seagull_tune.training.together import main_first

_LONG = 500.0  # seconds, for busy machines; a process that is not told waits for hours


def test_one_process_just_does_it() -> None:
    assert main_first(lambda: 7, "count") == 7


def _meet(rank: int, port: int) -> None:
    os.environ |= {
        "CUDA_VISIBLE_DEVICES": "", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    assert start_engine() == "ddp"


def _run(rank: int, port: int, folder: str) -> None:
    _meet(rank, port)
    place = Path(folder)

    def in_turn() -> bool:
        found = (place / "made").is_file()
        (place / "made").touch()
        return found

    def fails(where: int) -> None:
        if rank == where:
            raise DataError("photo.png, row 3: broken")

    lines = [str(main_first(in_turn, "make it"))]
    for where in (0, 1):
        try:
            main_first(partial(fails, where), "read it")
        except (DataError, TrainingError) as error:
            lines.append(f"{type(error).__name__}: {error}")
    (place / f"{rank}.txt").write_text("\n".join(lines))

    def dies() -> None:
        if rank == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        main_first(dies, "read it")
    except TrainingError as error:
        (place / "left-alone.txt").write_text(str(error))


def test_what_happens_to_one_is_known_to_both(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=_run, args=(rank, port, str(tmp_path))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(_LONG)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    first, second = ((tmp_path / f"{rank}.txt").read_text().splitlines() for rank in range(2))
    said = "DataError: photo.png, row 3: broken"
    assert first == ["False", said, f"TrainingError: Process 1 could not read it: {said}"]
    assert second == ["True", f"TrainingError: Process 0 could not read it: {said}", said]
    assert codes == [-signal.SIGKILL, 0], "the other one ended by itself, long before its patience did"
    told = (tmp_path / "left-alone.txt").read_text()
    assert told.startswith("Could not read it together: another process has ended")
