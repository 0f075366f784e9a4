"""What watches a run: every loss reaches TensorBoard, the curves are drawn, missing trackers are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from seagull_tune.errors import CheckpointError, MissingDependencyError
from seagull_tune.training import callbacks as room
from seagull_tune.training.callbacks import TENSORBOARD_FOLDER, callbacks, check_trackers, trainer_trackers
from seagull_tune.training.curves import CURVES
from seagull_tune.training.trainer import SeagullTrainer
from tests.unit.training.test_trainer import make_trainer


def _watched(tmp_path: Path) -> SeagullTrainer:
    trainer = make_trainer(tmp_path, save_every=2, evaluate_every=3)
    for callback in callbacks(tmp_path / "run", True, ("tensorboard",)):
        trainer.add_callback(callback)
    return trainer


def _scalars(run: Path) -> EventAccumulator:
    events = EventAccumulator(str(run / TENSORBOARD_FOLDER))
    events.Reload()
    return events


def test_the_event_file_holds_each_loss_each_rate_and_the_throughput(tmp_path: Path) -> None:
    trainer = _watched(tmp_path)
    trainer.train()
    events = _scalars(tmp_path / "run")
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/loss_first", "train/loss_second", "eval/loss", "eval/loss_first"} <= tags
    assert {"train/lr_mfe", "train/lr_direct_head", "train/samples_per_second", "train/grad_norm"} <= tags
    values = [event.value for event in events.Scalars("train/loss_first")]
    expected = [entry["loss_first"] for entry in trainer.state.log_history if "loss_first" in entry]
    assert values == pytest.approx(expected, rel=1e-6) and len(values) == 6


def test_curves_are_drawn_at_saves_and_cover_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[int]] = []

    def note(run: Path, log: list[dict[str, float]]) -> None:
        drawn.append([int(entry["step"]) for entry in log if "loss" in entry])
        real(run, log)

    real = room.write_curves
    monkeypatch.setattr(room, "write_curves", note)
    _watched(tmp_path).train()
    assert (tmp_path / "run" / CURVES).is_file()
    assert drawn == [[1, 2], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]]
    drawn.clear()
    (tmp_path / "run" / CURVES).unlink()
    state = json.loads((tmp_path / "run" / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["global_step"] == 4
    _watched(tmp_path).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-4"))
    assert drawn[-1] == [1, 2, 3, 4, 5, 6] and (tmp_path / "run" / CURVES).is_file()


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    trainer = _watched(tmp_path)
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / CURVES).mkdir()
    with pytest.raises(CheckpointError, match=r"curves\.png cannot be written"):
        trainer.train()


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    assert callbacks(tmp_path, False, ("tensorboard",)) == []
    assert len(callbacks(tmp_path, True, ())) == 1 and not list(tmp_path.iterdir())


def test_trackers_that_are_not_installed_are_refused_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    check_trackers(("tensorboard",))
    monkeypatch.setattr(room, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"trackio, wandb, which are .*pip install trackio wandb, or"):
        check_trackers(("trackio", "wandb"))


def test_a_folder_of_logs_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb leaves a folder of its own name where it ran; Python takes that for a package without code."""
    (tmp_path / "a_tracker").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match="a_tracker, which is not installed"):
        check_trackers(("a_tracker",))


def test_the_trainer_drives_the_trackers_of_others() -> None:
    assert trainer_trackers(("tensorboard", "wandb", "trackio")) == ["wandb", "trackio"]
