"""What a training would do and need, before anything is loaded: the text of ``--dry-run``."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seagull_tune.config.train import TrainConfig
from seagull_tune.data.schema import count_samples
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.assemble import outline, without_weights
from seagull_tune.model.checkpoint import MANIFEST, read_manifest
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.records import RegionLabel
from seagull_tune.training.compute import GPUS, UTILISATION, hours, step_cost
from seagull_tune.training.engines import Engine, all_engines, engine_from_file, engine_from_launch
from seagull_tune.training.estimate import (
    CARDS,
    GIB,
    RESERVE,
    DecoderShape,
    Memory,
    ModelSize,
    Workload,
    can_drive,
    decoder_activations,
    front_bytes,
    logit_bytes,
    memory,
    shape_of,
    size_of,
)
from seagull_tune.training.stages import PartRow, apply_stage, stage_table
from seagull_tune.training.tower_cost import TowerCost, tower_cost
from seagull_tune.tune.recipe import make_light, prompts_of

PROCESSES = 8
"""GPUs of the table, where nothing says how many."""
VISITS = 100_000
"""Visits of samples that hours are given for, where nobody knows how many there are."""
_REGIONS = 8  # of a sample, where nobody knows
_DRAWN = 64  # conversations that are drawn to see how long they are
# English words and the shipped prompts: 4.5 letters a token and 6.3 tokens a message for its template, with SmolLM2.
_LETTERS_PER_TOKEN, _TOKENS_PER_MESSAGE = 4.4, 6


@dataclass(frozen=True)
class Outline:
    """A training without its weights.

    Attributes:
        model: on the meta device, frozen and adapted as the run will have it.
        rows: what is trained, by part.
        size, shape, tower: its counts.
        side, patch_numbers: of the picture that the tower sees; values of one region's patches.
    """

    model: SeagullForConditionalGeneration
    rows: list[PartRow]
    size: ModelSize
    shape: DecoderShape
    tower: TowerCost
    side: int
    patch_numbers: int


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
    if config.init is None or not _is_there(config.init):
        if config.model.language_model_sizes is None:
            lines.append(
                "Memory and time: not known, since model.language_model_sizes is not given (configs/model/ shows how)."
            )
            return "\n".join(lines)
    found = outline_of(config)
    load = workload_of(config, found)
    engines = _engines(engine_file, processes)
    lines += ["", stage_table(found.rows), "", _weights_line(found), _load_line(config, load), ""]
    lines += [memory_table(found, load, engines), "", time_table(config, found, load, samples, engines[-1].processes)]
    return "\n".join(lines)


def _is_there(folder: str) -> bool:
    return (Path(folder) / MANIFEST).is_file()


def _data_line(config: TrainConfig) -> tuple[str, int | None]:
    if not Path(config.data).exists():
        return (
            f"Data: {config.data} is not there yet. Build it: seagull-tune build --images PHOTOS --out {config.data} "
            "(--config configs/data/... for another mixture), or import it: seagull-tune import --help.",
            None,
        )
    samples = count_samples(config.data)
    return f"Data: {config.data}, {samples:,} samples.", samples


def _start_line(config: TrainConfig) -> str:
    if config.init is None:
        return f"Start: a new model of {config.model.language_model} and {config.model.vision_tower}."
    if _is_there(config.init):
        return f"Start: the checkpoint {config.init}."
    return (
        f"Start: the checkpoint {config.init} is not there yet. Make it by the stage before (seagull-tune pretrain "
        "--help); until then the sizes below are those of `model`."
    )


def outline_of(config: TrainConfig) -> Outline:
    """The model that a run will train, on the meta device, with everything that is counted of it."""
    spec, side = config.model, config.model.image_max_side
    patch, patches = spec.patch_size, spec.patches_per_region
    if config.init is not None and _is_there(config.init):
        folder = Path(config.init)
        read_manifest(folder)
        model = without_weights(SeagullConfig.from_pretrained(str(folder)))
        prepared = json.loads((folder / "processor_config.json").read_text(encoding="utf-8"))
        side = int(prepared.get("image_max_side", side))
        patch, patches = int(prepared.get("patch_size", patch)), int(prepared.get("patches_per_region", patches))
    else:
        model = outline(spec)
        if spec.mfe == "seagull":
            patch, patches = spec.crop_side, 1
    cost = tower_cost(model.vision_tower, side)
    four_bit = config.lora.quantize is not None
    # Packed weights have no place on the meta device; they are counted instead.
    with torch.device("meta"):
        rows = apply_stage(model, config.stage, config.lora.model_copy(update={"quantize": None}))
    make_light(model, config)
    cost = replace(cost, trained=config.stage.vision_tower == "full")
    return Outline(
        model, rows, size_of(model, four_bit), shape_of(model), cost, side, patch_numbers=3 * patches * patch**2
    )


def workload_of(config: TrainConfig, found: Outline) -> Workload:
    """What one device reads in one forward pass."""
    run, text = config.optimisation, config.losses.reads_text
    words, answered = conversation_tokens(config) if text else (0, 0)
    return Workload(
        samples=run.batch_size, length=found.model.config.n_image_tokens + words if text else 0, answered=answered,
        regions=_REGIONS, side=found.side, half=run.bf16, checkpointing=run.gradient_checkpointing,
        cached=config.cache_front,
    )  # fmt: skip


def conversation_tokens(config: TrainConfig) -> tuple[int, int]:
    """About how many tokens a conversation has without its picture, and how many of them are answers.

    They are drawn from made-up labels with the run's own prompts and settings, and counted by their letters: no tokenizer is
    needed. Samples are padded to the longest of their batch, so the first number is the mean of the longest.
    """
    prompts, rng = load_prompts(prompts_of(config)), random.Random(0)
    lengths, answers = [], []
    for seed in range(_DRAWN):
        labels = [_made_up(rng) for _ in range(_REGIONS)]
        messages = build_conversation(labels, seed, prompts, config.conversation).messages
        letters = Counter({m.role: 0 for m in messages})
        for message in messages:
            letters[message.role] += sum(len(part.text) for part in message.parts)
        lengths.append(round(letters.total() / _LETTERS_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(messages))
        answers.append(round(letters["assistant"] / _LETTERS_PER_TOKEN) + len(messages) // 2)
    batches = [lengths[i : i + config.optimisation.batch_size] for i in range(0, _DRAWN, config.optimisation.batch_size)]
    return round(sum(map(max, batches)) / len(batches)), round(sum(answers) / len(answers))


def _made_up(rng: random.Random) -> RegionLabel:
    severities = tuple(rng.randrange(len(SEVERITY_NAMES)) if rng.random() < 0.2 else 0 for _ in DISTORTION_TYPES)
    return RegionLabel(rng.random(), rng.random(), severities)


def _engines(file: Path | None, processes: int | None) -> tuple[Engine, ...]:
    named = engine_from_file(file) if file is not None else engine_from_launch(os.environ)
    if named is None:
        return all_engines(processes or PROCESSES)
    return (named if processes is None else named.over(processes),)


def _weights_line(found: Outline) -> str:
    counts: Counter[str] = Counter()
    tensors = {id(t): t for t in (*found.model.parameters(), *found.model.buffers())}.values()
    for tensor in tensors:
        counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel() * tensor.element_size()
    if found.size.four_bit:
        # They were counted as numbers of their type; a run packs them.
        counts["bfloat16" if counts["bfloat16"] else "float32"] -= _plain_bytes(found)
        counts["4 bits"] = found.size.four_bit
    shown = ", ".join(f"{_gib(count)} GiB {kind}" for kind, count in counts.most_common() if count >= GIB // 100)
    loading = found.size.numbers * 4 + found.size.four_bit_numbers * 4
    return f"Weights: {shown}; in the machine's memory while they are loaded: {_gib(loading)} GiB per process."


def _plain_bytes(found: Outline) -> int:
    from seagull_tune.training.estimate import decoder_matrices

    return sum(weight.numel() * weight.element_size() for weight in decoder_matrices(found.model))


def _load_line(config: TrainConfig, load: Workload) -> str:
    read = f"{load.length:,} tokens each, {load.answered} of them answers" if load.length else "no text"
    notes = [name for name, on in (("bfloat16", load.half), ("gradient checkpointing", load.checkpointing)) if on]
    front = "the front is cached" if load.cached else f"pictures of {load.side} pixels, {load.regions} regions each"
    return f"A step of one GPU: {load.samples} samples, {read}; {front}; {', '.join(notes) or 'float32'}."


def memory_of(found: Outline, load: Workload, engine: Engine) -> Memory:
    """Memory of one process of an engine."""
    held = decoder_activations(found.shape, load) + front_bytes(load, found.tower, found.patch_numbers)
    return memory(found.size, held, logit_bytes(found.shape, load), engine, load.half)


def memory_table(found: Outline, load: Workload, engines: tuple[Engine, ...]) -> str:
    """Memory per GPU under each engine, and which cards it fits."""
    cards = "".join(f"{card:>5}" for card in CARDS)
    lines = [
        "Memory per GPU in GiB (formulas: seagull_tune/training/estimate.py), and whether it fits a card of so many GB:",
        f"{'engine':<17}{'GPUs':>5}{'weights':>9}{'gradients':>11}{'optimizer':>11}{'activations':>13}{'logits':>8}"
        f"{'working':>9}{'peak':>7}{cards}{'host':>7}",
    ]
    for engine in engines:
        if not can_drive(engine, found.size):
            lines.append(f"{engine.name:<17}{engine.processes:>5}  cannot spread weights in 4 bits")
            continue
        need = memory_of(found, load, engine)
        fits = "".join(f"{'yes' if need.fits(card) else 'no':>5}" for card in CARDS)
        lines.append(
            f"{engine.name:<17}{engine.processes:>5}{_gib(need.weights):>9}{_gib(need.gradients):>11}"
            f"{_gib(need.optimizer):>11}{_gib(need.activations):>13}{_gib(need.logits):>8}{_gib(need.working):>9}"
            f"{_gib(need.peak):>7}{fits}{_gib(need.host):>7}"
        )
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
