"""What a training would do and need, before anything is loaded: the text of ``--dry-run``."""

from __future__ import annotations

import os
from pathlib import Path

from seagull_tune.config.train import TrainConfig
from seagull_tune.data.schema import count_samples
from seagull_tune.training.compute import GPUS, UTILISATION, hours, step_cost
from seagull_tune.training.engines import Engine, all_engines, engine_from_file, engine_from_launch
from seagull_tune.training.estimate import (
    CARDS,
    GIB,
    RESERVE,
    Memory,
    Workload,
    can_drive,
    decoder_activations,
    front_bytes,
    logit_bytes,
    memory,
)
from seagull_tune.training.stages import stage_table
from seagull_tune.tune.outline import Outline, outline_of, start_is_there, workload_of

PROCESSES = 8
"""GPUs of the table, where nothing says how many."""
VISITS = 100_000
"""Visits of samples that hours are given for, where nobody knows how many there are."""
_COLUMNS = (
    ("weights", 9), ("gradients", 11), ("optimizer", 11), ("activations", 13), ("logits", 8), ("working", 9),
    ("peak", 7),
)  # fmt: skip


def describe(stage: str, config: TrainConfig, engine_file: Path | None = None, processes: int | None = None) -> str:
    """The plan of a run: data, start, trained parts, memory and time.

    Args:
        stage: ``pretrain`` or ``finetune``.
        engine_file: accelerate configuration of the engine; None takes the launcher's, or shows a table of all.
        processes: GPUs; None takes what the engine's configuration says.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: something that is there cannot be used.
    """
    lines = [f"Train ({stage}) into {config.out}."]
    there, samples = _data_line(config)
    lines += [there, _start_line(config)]
    if config.model.language_model_sizes is None and not start_is_there(config):
        lines.append("Memory and time: not known without model.language_model_sizes (configs/model/ shows how).")
        return "\n".join(lines)
    found = outline_of(config)
    load = workload_of(config, found)
    engines = _engines(engine_file, processes)
    lines += ["", stage_table(found.rows), "", _weights_line(found), _load_line(load), ""]
    lines += [memory_table(found, load, engines), "", time_table(config, found, load, samples, engines[-1].processes)]
    return "\n".join(lines)


def _data_line(config: TrainConfig) -> tuple[str, int | None]:
    if Path(config.data).exists():
        samples = count_samples(config.data)
        return f"Data: {config.data}, {samples:,} samples.", samples
    missing = (
        f"Data: {config.data} is not there yet. Build it: seagull-tune build --images PHOTOS --out {config.data} "
        "(--config configs/data/... for another mixture), or import it: seagull-tune import --help."
    )
    return missing, None


def _start_line(config: TrainConfig) -> str:
    if config.init is None:
        return f"Start: a new model of {config.model.language_model} and {config.model.vision_tower}."
    if start_is_there(config):
        return f"Start: the checkpoint {config.init}."
    return (
        f"Start: the checkpoint {config.init} is not there yet. Make it by the stage before (seagull-tune pretrain "
        "--help); until then the sizes below are those of `model`."
    )


def _engines(file: Path | None, processes: int | None) -> tuple[Engine, ...]:
    named = engine_from_file(file) if file is not None else engine_from_launch(os.environ)
    if named is None:
        return all_engines(processes or PROCESSES)
    return (named if processes is None else named.over(processes),)


def _weights_line(found: Outline) -> str:
    size = found.size
    held = sorted(size.by_type.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{_gib(count)} GiB {kind}" for kind, count in held if count >= GIB // 100)
    loading = (size.numbers + size.four_bit_numbers) * 4
    return f"Weights: {shown}; in the machine's memory while they are loaded: {_gib(loading)} GiB per process."


def _load_line(load: Workload) -> str:
    read = f"{load.length:,} tokens each, {load.answered} of them answers" if load.length else "no text"
    notes = [name for name, on in (("bfloat16", load.half), ("gradient checkpointing", load.checkpointing)) if on]
    front = "the front is cached" if load.cached else f"pictures of {load.side} pixels, {load.regions} regions each"
    samples = f"{load.samples} sample{'s' if load.samples > 1 else ''}"
    return f"A step of one GPU: {samples}, {read}; {front}; {', '.join(notes) or 'float32'}."


def memory_of(found: Outline, load: Workload, engine: Engine) -> Memory:
    """Memory of one process of an engine."""
    held = decoder_activations(found.shape, load) + front_bytes(load, found.tower, found.patch_numbers)
    return memory(found.size, held, logit_bytes(found.shape, load), engine, load.half)


def memory_table(found: Outline, load: Workload, engines: tuple[Engine, ...]) -> str:
    """Memory per GPU under each engine, and which cards it fits."""
    cards = "".join(f"{card:>5}" for card in CARDS)
    lines = [
        "Memory per GPU in GiB (formulas: seagull_tune/training/estimate.py), and whether it fits cards of so many GB:",
        f"{'engine':<17}{'GPUs':>5}" + "".join(f"{name:>{wide}}" for name, wide in _COLUMNS) + f"{cards}{'host':>7}",
    ]
    for engine in engines:
        if not can_drive(engine, found.size):
            lines.append(f"{engine.name:<17}{engine.processes:>5}  cannot spread weights in 4 bits")
            continue
        need = memory_of(found, load, engine)
        fits = "".join(f"{'yes' if need.fits(card) else 'no':>5}" for card in CARDS)
        # The blank parts columns also where a number is wider than its place.
        sizes = "".join(f" {_gib(getattr(need, name)):>{wide - 1}}" for name, wide in _COLUMNS)
        lines.append(f"{engine.name:<17}{engine.processes:>5}{sizes}{fits}{_gib(need.host):>7}")
    lines.append(f"The peak holds {_gib(RESERVE)} GiB for libraries; under ZeRO it may be that of starting, unspread.")
    return "\n".join(lines)


def time_table(config: TrainConfig, found: Outline, load: Workload, samples: int | None, processes: int) -> str:
    """GPU hours of the run, or of so many visits where nobody knows how many samples there are."""
    cost = step_cost(found.model, found.shape, load, found.tower)
    run = config.optimisation
    if run.steps is not None:
        visits: int | None = run.steps * run.batch_size * run.accumulate * processes
    else:
        visits = samples * run.passes if samples is not None else None
    told = visits if visits is not None else VISITS
    different = min(told, samples) if samples is not None else told / run.passes
    heading = f"{told:,} visits of samples" + (" (nobody knows how many there will be)" if visits is None else "")
    lines = [
        f"Time: {cost.total / 1e12:,.1f} TFLOP a step and GPU at {UTILISATION:.0%} of the GPU's peak, {heading}:",
        f"{'GPU':<10}{'GPU hours':>11}{f'hours on {processes}':>13}",
    ]
    for gpu in GPUS:
        alone = hours(cost, load, told, different, gpu)
        lines.append(f"{gpu.name:<10}{alone:>11,.1f}{alone / processes:>13,.2f}")
    lines.append("Rendering pictures, communication and evaluation come on top.")
    return "\n".join(lines)


def _gib(count: float) -> str:
    return f"{count / GIB:.1f}"
