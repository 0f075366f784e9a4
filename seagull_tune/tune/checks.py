"""What is refused before a training loads anything."""

from __future__ import annotations

from pathlib import Path

from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError, TrainingError
from seagull_tune.training.arguments import start_engine
from seagull_tune.training.callbacks import check_trackers
from seagull_tune.training.trainer import last_checkpoint


def check_start(config: TrainConfig, resume: bool) -> None:
    """Refuses to overwrite a run, and an engine that is not the one asked for.

    Raises:
        ConfigError: the folder holds checkpoints and ``resume`` is off.
        MissingDependencyError: a tracker of ``report_to`` is not installed.
        TrainingError: another engine runs.
    """
    check_trackers(config.report_to)
    out = Path(config.out)
    if not resume and last_checkpoint(out) is not None:
        raise ConfigError(
            f"{out} holds checkpoints of an earlier run: continue it with --resume, or choose another `out`."
        )
    engine = start_engine()
    if config.expect_engine not in ("any", engine):
        raise TrainingError(
            f"The run asks for the engine {config.expect_engine!r}, but {engine!r} is running; start it with "
            "`accelerate launch --config_file configs/accelerate/...`."
        )
