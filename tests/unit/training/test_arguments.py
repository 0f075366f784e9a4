"""Engines as they are asked for and as they are found; the Trainer's arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from torch import nn

from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import TrainingError
from seagull_tune.training import arguments
from seagull_tune.training.arguments import engine_in_use, engine_of, start_engine, total_steps, training_arguments


def _config(tmp_path: Path, **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate({"out": str(tmp_path), "data": "data", **changes})


def test_one_process_is_single() -> None:
    assert start_engine() == engine_in_use() == "single"
    assert engine_of(nn.Linear(2, 2)) == "single"


@pytest.mark.parametrize(("variable", "engine"), [("DEEPSPEED", "deepspeed"), ("FSDP", "fsdp")])
def test_the_launcher_asks_through_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str, engine: str) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{variable}", "true")
    assert engine_in_use() == engine


@pytest.mark.skipif(torch.cuda.is_available(), reason="FSDP runs on this machine")
def test_an_engine_that_would_silently_be_left_out_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(TrainingError, match=r"'fsdp', which accelerate silently leaves out.*ddp.yaml"):
        start_engine()


def test_processes_that_do_not_find_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    PartialState()  # one process, as it is
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="started 2 processes, but they run as 1"):
        start_engine()


def test_engines_are_told_by_how_the_model_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrapped(nn.Module):
        pass

    monkeypatch.setattr(arguments, "DistributedDataParallel", Wrapped)
    assert engine_of(Wrapped()) == "ddp"
    monkeypatch.setattr(Wrapped, "__module__", "deepspeed.runtime.engine")
    monkeypatch.undo()
    engine = type("DeepSpeedEngine", (nn.Module,), {"__module__": "deepspeed.runtime.engine"})
    assert engine_of(engine()) == "deepspeed"


def test_steps(tmp_path: Path) -> None:
    run = {"batch_size": 4, "accumulate": 2}
    assert total_steps(_config(tmp_path, optimisation=run), 65) == 9
    assert total_steps(_config(tmp_path, optimisation=run), 3) == 1
    assert total_steps(_config(tmp_path, optimisation=run | {"steps": 5}), 65) == 5


def test_arguments(tmp_path: Path) -> None:
    run = {"batch_size": 4, "accumulate": 2, "warmup": 0.25, "steps": 40, "max_grad_norm": 0.5}
    config = _config(tmp_path, optimisation=run, save_every=7, evaluate_every=3, log_every=2, seed=11)
    found = training_arguments(config, n_visits=100, evaluates=True)
    assert (found.max_steps, found.warmup_steps, found.max_grad_norm) == (40, 10, 0.5)
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (4, 2)
    assert (found.save_steps, found.eval_steps, found.logging_steps) == (7, 3, 2)
    assert found.seed == found.data_seed == 11
    assert found.n_gpu <= 1
    if not torch.cuda.is_available():
        assert found.device.type == "cpu"
    assert found.report_to == [] and found.run_name == tmp_path.name
    quiet = training_arguments(_config(tmp_path), n_visits=100, evaluates=False)
    assert quiet.eval_strategy == "no" and quiet.save_strategy == "no"


def test_checkpointing_is_for_text(tmp_path: Path) -> None:
    wanted = {"optimisation": {"gradient_checkpointing": True}}
    silent = training_arguments(_config(tmp_path, **wanted), 10, evaluates=False)
    spoken = training_arguments(_config(tmp_path, **wanted, losses={"answer": 1.0}), 10, evaluates=False)
    assert (silent.gradient_checkpointing, spoken.gradient_checkpointing) == (False, True)
    assert spoken.gradient_checkpointing_kwargs == {"use_reentrant": False}
