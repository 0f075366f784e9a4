"""What is refused before anything is loaded: overwriting, wrong engines, missing trackers, spread 4-bit weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from accelerate import PartialState

from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError, MissingDependencyError, TrainingError
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.training import callbacks
from seagull_tune.training.engines import engine_from_launch
from seagull_tune.tune.checks import check_start, refuse_spread_small_weights
from tests.tiny import make_tiny_model

ZERO3 = {"zero_optimization": {"stage": 3}}
SMALL = {"stage": {"language_model": "lora"}, "lora": {"quantize": "nf4"}}


def _config(tmp_path: Path, **changes: Any) -> TrainConfig:
    """A run whose data and start are nowhere: what is refused here was not loaded."""
    values = {"out": str(tmp_path / "run"), "data": str(tmp_path / "none"), "init": str(tmp_path / "none"), **changes}
    return TrainConfig.model_validate(values)


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the environment as accelerate's launcher does, after this process has found itself alone."""
    PartialState()

    def launch(engine: str, settings: dict[str, Any] | None = None, stage: str | None = None) -> None:
        monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
        if settings is not None:
            (tmp_path / "settings.json").write_text(json.dumps(settings))
            monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(tmp_path / "settings.json"))
        if stage is not None:
            monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", stage)

    return launch


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    config = _config(tmp_path)
    half = tmp_path / "run" / "checkpoint-4"
    half.mkdir(parents=True)
    check_start(config, resume=False)  # half a checkpoint is none
    (half / "trainer_state.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds checkpoints of an earlier run: continue it with --resume"):
        check_start(config, resume=False)
    check_start(config, resume=True)


def test_a_damaged_record_is_told_before_hours_of_work(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"train": {"started"')
    with pytest.raises(TrainingError, match=r"run\.json is damaged .*Remove it"):
        check_start(_config(tmp_path), resume=False)


@pytest.mark.parametrize("engine", ["ddp", "deepspeed", "fsdp"])
def test_an_engine_that_is_not_the_one_asked_for_is_refused(tmp_path: Path, engine: str) -> None:
    with pytest.raises(TrainingError, match=f"asks for the engine '{engine}', but 'single' is running"):
        check_start(_config(tmp_path, expect_engine=engine), resume=False)
    check_start(_config(tmp_path, expect_engine="single"), resume=False)


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"report_to names wandb.*pip install wandb"):
        check_start(_config(tmp_path, report_to=["wandb"]), resume=False)


# -- 4-bit weights ----------------------------------------------------------------------------------------------------


def test_the_stage_of_zero_is_read_from_the_launcher(
    launched: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stage() -> int:
        engine = engine_from_launch(os.environ)
        assert engine is not None
        return engine.stage

    monkeypatch.setenv("WORLD_SIZE", "1")
    assert stage() == 0
    monkeypatch.delenv("WORLD_SIZE")  # the launcher sets none for a single process
    launched("DEEPSPEED")
    assert stage() == 2, "accelerate's default"
    launched("DEEPSPEED", stage="1")
    assert stage() == 1
    launched("DEEPSPEED", ZERO3)
    assert stage() == 3
    (tmp_path / "settings.json").write_text("{half")
    with pytest.raises(ConfigError, match=r"settings\.json cannot be read as the configuration of an engine"):
        stage()


@pytest.mark.parametrize(("engine", "settings", "name"), [("DEEPSPEED", ZERO3, "ZeRO-3"), ("FSDP", None, "FSDP")])
def test_spread_4_bit_weights_are_refused(
    launched: Any, tmp_path: Path, engine: str, settings: dict[str, Any] | None, name: str
) -> None:
    launched(engine, settings)
    with pytest.raises(ConfigError, match=rf"lora\.quantize is nf4, .*{name}.*not supported.*ddp\.yaml"):
        refuse_spread_small_weights(_config(tmp_path, **SMALL))
    refuse_spread_small_weights(_config(tmp_path, stage=SMALL["stage"]))


def test_a_start_on_4_bit_weights_counts_too(launched: Any, tmp_path: Path) -> None:
    model, processor = make_tiny_model()
    model.config.quantize = "nf4"
    save_checkpoint(model, processor, tmp_path / "small")
    launched("DEEPSPEED", ZERO3)
    with pytest.raises(ConfigError, match="small were trained on nf4 weights"):
        refuse_spread_small_weights(_config(tmp_path, init=str(tmp_path / "small")))


def test_engines_that_keep_weights_whole_take_4_bits(launched: Any, tmp_path: Path) -> None:
    refuse_spread_small_weights(_config(tmp_path, **SMALL))
    launched("DEEPSPEED", stage="2")
    refuse_spread_small_weights(_config(tmp_path, **SMALL))
