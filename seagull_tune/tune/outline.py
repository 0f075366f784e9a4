"""A training without its weights: its model on the meta device, and what a step of it reads."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from seagull_tune.config.train import TrainConfig
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.assemble import outline, without_weights
from seagull_tune.model.checkpoint import MANIFEST, read_manifest
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.records import RegionLabel
from seagull_tune.training.estimate import DecoderShape, ModelSize, Workload, shape_of, size_of
from seagull_tune.training.stages import PartRow, apply_stage
from seagull_tune.training.tower_cost import TowerCost, tower_cost
from seagull_tune.tune.recipe import make_light, prompts_of

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


def start_is_there(config: TrainConfig) -> bool:
    """Whether the checkpoint that a run starts from exists."""
    return config.init is not None and (Path(config.init) / MANIFEST).is_file()


def outline_of(config: TrainConfig) -> Outline:
    """The model that a run will train, on the meta device, with everything that is counted of it."""
    spec, side = config.model, config.model.image_max_side
    patch, patches = spec.patch_size, spec.patches_per_region
    if start_is_there(config) and config.init is not None:
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

    They are drawn from made-up labels with the run's own prompts and settings, and counted by their letters: no
    tokenizer is needed. Samples are padded to the longest of their batch, so the first number is the mean of those.
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
    batches = [
        lengths[i : i + config.optimisation.batch_size] for i in range(0, _DRAWN, config.optimisation.batch_size)
    ]
    return round(sum(map(max, batches)) / len(batches)), round(sum(answers) / len(answers))


def _made_up(rng: random.Random) -> RegionLabel:
    severities = tuple(rng.randrange(len(SEVERITY_NAMES)) if rng.random() < 0.2 else 0 for _ in DISTORTION_TYPES)
    return RegionLabel(rng.random(), rng.random(), severities)
