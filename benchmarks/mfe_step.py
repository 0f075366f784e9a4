"""The extractor's part of a training step of the embedded model, for benchmarks/mfe_speed.py.

A step is what configs/embedded/finetune.yaml does at every visit: forward, the configured losses, backward and AdamW,
on as many conversations about built-in photographs as its batch has, with the front computed anew (``cache_front:
false``; with the cache a step holds less of the extractor, and of the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch

from seagull_tune.config.base import load_config
from seagull_tune.config.model import ModelSpec
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.data.processor import SeagullProcessor, to_device
from seagull_tune.data.visual import fit_size
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.assemble import assemble
from seagull_tune.model.lora import prepare_for_mixed_precision
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.records import RegionLabel
from seagull_tune.training.stages import apply_stage, parameter_groups
from seagull_tune.tune.recipe import MODEL_INPUTS, roi_losses

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
ROWS, COLUMNS = 2, 3  # regions of a photograph: a grid, about as many as bench_roi has


def regions(height: int, width: int) -> np.ndarray:
    """A grid of boxes, bool (ROWS * COLUMNS, height, width)."""
    row = np.minimum(np.arange(height) * ROWS // height, ROWS - 1)
    column = np.minimum(np.arange(width) * COLUMNS // width, COLUMNS - 1)
    cell = row[:, None] * COLUMNS + column[None, :]
    return np.stack([cell == index for index in range(ROWS * COLUMNS)])


def items(processor: SeagullProcessor, config: TrainConfig) -> list[TrainingItem]:
    """A batch of conversations about distinct photographs, with random labels."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(config.optimisation.batch_size):
        image = getattr(skimage.data, PHOTOGRAPHS[index % len(PHOTOGRAPHS)])()
        height, width = fit_size(image.shape[0], image.shape[1], processor.image_max_side)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        masks = regions(height, width)
        labels = tuple(
            RegionLabel(float(rng.random()), float(rng.random()), severities)
            for severities in (
                tuple(int(s) for s in rng.integers(0, len(SEVERITY_NAMES), len(DISTORTION_TYPES))) for _ in masks
            )
        )
        conversation = build_conversation(labels, index, load_prompts(), config.conversation)
        encoded = processor.encode(conversation.messages)
        mentions = tuple(conversation.region_order[position.region] for position in encoded.region_positions)
        made.append(TrainingItem(str(index), labels, encoded, mentions, processor.visual(image, masks)))
    return made


@dataclass
class Bench:
    """A prepared model, its batch, and the two pieces of work that are compared."""

    model: SeagullForConditionalGeneration
    batch: dict[str, Any]
    config: TrainConfig
    device: str

    def __post_init__(self) -> None:
        run = self.config.optimisation
        groups = [
            {key: value for key, value in group.items() if key != "name"}
            for group in parameter_groups(self.model, run.learning_rates, run.weight_decay)
        ]
        self.optimizer = torch.optim.AdamW(groups)
        self.losses = roi_losses(self.config.losses)
        with torch.no_grad():
            maps = self.model.vision_tower(self.batch["pixel_values"])
        self.observed = {"maps": maps, "grid": self._grid()} | {
            name: self.batch[name] for name in ("region_masks", "region_geometry", "patches", "patch_masks")
        }

    def _grid(self) -> torch.Tensor:
        names = ("pixel_values", "region_masks", "region_geometry", "patches", "patch_masks")
        with torch.no_grad():
            return self.model.encode_front(**{name: self.batch[name] for name in names}).grid

    def _precision(self) -> Any:
        if not self.config.optimisation.bf16:
            return nullcontext()
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def whole(self) -> None:
        """One training step."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            outputs = self.model(**{name: self.batch[name] for name in MODEL_INPUTS if name in self.batch})
            named = self.losses(outputs, self.batch)
        torch.stack([weight * loss for weight, loss in named.values()]).sum().backward()
        self.optimizer.step()

    def extractor(self) -> None:
        """The extractor alone on the same batch: observing, tokens, and the gradients of its weights."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            tokens = self.model.mfe(self.model.mfe.observe(**self.observed))
        tokens.float().square().mean().backward()


def make_bench(spec: ModelSpec, config: TrainConfig, device: str) -> Bench:
    """Model, batch and optimiser of a fine-tuning step on fresh bases."""
    model, processor = assemble(spec, config.seed)
    model.to(device)
    batch = Collator(processor.padding_id)(items(processor, config))
    front = ("pixel_values", "region_masks", "region_geometry", "patches", "patch_masks")
    batch = {**batch, **to_device({k: v for k, v in batch.items() if k != "names"}, torch.device(device))}
    with torch.no_grad():
        model.measure(model.encode_front(**{name: batch[name] for name in front}))
    apply_stage(model, config.stage, config.lora)
    if config.optimisation.bf16:
        prepare_for_mixed_precision(model.language_model)
    return Bench(model.train(), batch, config, device)


def share_of(times: Sequence[Sequence[tuple[float, float]]], kind: int) -> float:
    """Median over rounds of the second work's time as a share of the first's; kind 0: the clock, 1: the processor."""
    return median(part[kind] / whole[kind] for whole, part in zip(*times, strict=True))


def step_share(runs: int, device: str) -> float:
    """Measures the extractor's share of a step, prints it, and returns it by the clock."""
    from benchmarks.mfe_speed import STEP_SHARE, alternately

    spec = load_config(TrainConfig, "configs/embedded/pretrain.yaml", []).model
    config = load_config(TrainConfig, "configs/embedded/finetune.yaml", [])
    bench = make_bench(spec, config, device)
    works = [bench.whole, bench.extractor]
    alternately(works, 1, device)
    times = alternately(works, runs, device)
    by_clock, by_processor = share_of(times, 0), share_of(times, 1)
    whole, part = (median(time[0] for time in column) for column in times)
    print(
        f"training step: {whole:.2f} s, of it the extractor {part:.2f} s: {by_clock:.1%} by the clock (bar "
        f"{STEP_SHARE:.0%}), {by_processor:.1%} by processor time"
    )
    return by_clock
