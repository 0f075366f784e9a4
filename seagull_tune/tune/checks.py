"""What is refused before a training loads anything."""

from __future__ import annotations

import os
from pathlib import Path

from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError, TrainingError
from seagull_tune.model.checkpoint import MANIFEST, read_quantization
from seagull_tune.training.arguments import start_engine
from seagull_tune.training.callbacks import check_trackers
from seagull_tune.training.compiled import check_compiling
from seagull_tune.training.engines import engine_from_launch
from seagull_tune.training.run_record import read_record
from seagull_tune.training.trainer import last_checkpoint


def check_start(config: TrainConfig, resume: bool) -> None:
    """Refuses to overwrite a run, and an engine that is not the one asked for.

    Raises:
        ConfigError: the folder holds checkpoints and ``resume`` is off, or see :func:`refuse_spread_small_weights` and
            :func:`~seagull_tune.training.compiled.check_compiling`.
        MissingDependencyError: a tracker of ``report_to`` is not installed, or a compiler.
        TrainingError: another engine runs, or the folder holds a damaged ``run.json``, which a section is added to.
    """
    check_trackers(config.report_to)
    out = Path(config.out)
    read_record(out)
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
    refuse_spread_small_weights(config)
    if config.optimisation.compile:
        check_compiling()


def refuse_spread_small_weights(config: TrainConfig) -> None:
    """Refuses 4-bit weights under engines that spread weights over processes.

    DeepSpeed and FSDP flatten and cut packed weights without what unpacks them, unless they are stored as floats
    (bitsandbytes' ``quant_storage``). Ours are stored as bytes, since a checkpoint holds the numbers they stand for.

    Raises:
        ConfigError: ZeRO-3 or FSDP, and a language model in 4 bits; or DeepSpeed settings that cannot be read.
    """
    engine = engine_from_launch(os.environ)
    if engine is None or not engine.shards_weights:
        return
    said = _small_weights(config)
    if said is not None:
        raise ConfigError(
            f"{said}, and the launcher asked for {engine.name}, which spreads weights over processes: weights "
            "in 4 bits are not supported there. Start it with configs/accelerate/ddp.yaml (each device holds the small "
            "weights), or train without 4 bits."
        )


def _small_weights(config: TrainConfig) -> str | None:
    """Why the run would hold its language model in 4 bits, in words; None where it does not."""
    if config.lora.quantize is not None and config.stage.language_model == "lora":
        return f"lora.quantize is {config.lora.quantize}"
    # Anything else is told when the checkpoint is loaded.
    if config.init is None or not (Path(config.init) / MANIFEST).is_file():
        return None
    found = read_quantization(Path(config.init))
    return None if found is None else f"the adapters of {config.init} were trained on {found} weights"
