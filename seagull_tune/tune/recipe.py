"""One training run of the ROI model, as a table of contents; pre-training and fine-tuning are configurations of it."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor
from torch.utils.data import Dataset
from transformers import set_seed

from seagull_tune.config.train import LossWeights, TrainConfig
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError
from seagull_tune.instructions.templates import PromptLibrary, load_prompts
from seagull_tune.model.assemble import assemble
from seagull_tune.model.card import origins, write_card
from seagull_tune.model.checkpoint import PROMPTS_FOLDER, load_checkpoint, save_checkpoint
from seagull_tune.model.lora import prepare_for_mixed_precision
from seagull_tune.model.modeling import SeagullForConditionalGeneration, SeagullOutput
from seagull_tune.model.places import portable
from seagull_tune.training.arguments import training_arguments
from seagull_tune.training.callbacks import callbacks
from seagull_tune.training.compiled import compile_layers
from seagull_tune.training.run_record import begin_record, git_commit, library_versions, write_record
from seagull_tune.training.stages import PartRow, apply_stage, stage_table
from seagull_tune.training.together import alone_in, main_first
from seagull_tune.training.trainer import LossFunction, SeagullTrainer, last_checkpoint
from seagull_tune.tune.checks import check_start
from seagull_tune.tune.facts import run_facts
from seagull_tune.tune.front_cache import FrontCache, build_front_cache, front_statistics
from seagull_tune.tune.losses import answer_loss, direct_losses, ranking_loss, slot_loss
from seagull_tune.tune.mixing import mixed_losses, mixing
from seagull_tune.tune.samples import TrainingSamples, trainable_rows

MODEL_INPUTS = (
    "input_ids", "attention_mask", "pixel_values", "region_masks", "region_geometry", "patches", "patch_masks",
    "statistics", "mention_index", "mention_counts", "logits_index",
)  # fmt: skip
SECTION = "train"
"""Section of ``run.json`` that a training fills."""
_MEASURED_ROWS = 1000  # rows on which the standardising constants are measured: more changes them in the third digit
_MEASURED_ROWS_UNCACHED = 64  # each costs a pass through the tower


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to start; ``derived_from``: part -> base, also of parts that are trained in full."""

    model: SeagullForConditionalGeneration
    processor: SeagullProcessor
    train: TrainingSamples
    held_out: TrainingSamples | None
    table: list[PartRow]
    derived_from: dict[str, str]


def train(config: TrainConfig, resume: bool = False) -> Path:
    """Trains one stage and writes the finished checkpoint.

    Args:
        config: the run.
        resume: go on from the newest complete checkpoint of ``config.out``, if there is one.

    Returns:
        The folder of the finished checkpoint, ``<out>/model``.

    Raises:
        ConfigError, DataError, CheckpointError, TrainingError: see their messages.
    """
    started = time.monotonic()
    check_start(config, resume)
    with alone_in(Path(config.out)):
        set_seed(config.seed)
        prepared = prepare(config)
        trainer = build_trainer(config, prepared)
        checkpoint = last_checkpoint(Path(config.out)) if resume else None
        facts = run_facts(config, prepared.train, prepared.table, prepared.derived_from)
        if trainer.args.should_save:
            resolved = config.model_dump(mode="json")
            begin_record(Path(config.out), SECTION, resolved, facts, checkpoint.name if checkpoint else None)
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        spent = round(time.monotonic() - started, 1)
        return finish(config, prepared, trainer, {**facts, **result.metrics, "seconds": spent})


def prepare(config: TrainConfig) -> Prepared:
    """Data, model, frozen front, standardising constants, freezing."""
    # Before the model, which takes long to load: a data set that cannot be used is refused at once.
    rows = RoiDataset(Path(config.data), "train", image_root=_path(config.image_root))
    usable = trainable_rows(rows)
    if len(usable) < len(rows) and PartialState().is_main_process:
        print(f"{len(rows) - len(usable)} samples have no labelled region and are not visited.", flush=True)
    if config.init is not None:
        model, processor = load_checkpoint(Path(config.init), trainable=True)
    else:
        model, processor = assemble(config.model, config.seed)
    if torch.cuda.is_available():
        move_front(model, PartialState().device)
    prompts = load_prompts(prompts_of(config)) if config.losses.reads_text else None
    chosen = [usable[place] for place in visited_rows(config, len(usable))]
    cache = _cache_for(rows, model, processor, chosen, config)
    passes = visits_per_row(config, len(chosen))
    train_samples = TrainingSamples(rows, processor, prompts, config.conversation, passes, chosen, cache)
    measure_constants(model, train_samples)
    # Fresh adapters must not depend on whether the cache was there already (computing it draws random numbers).
    set_seed(config.seed)
    derived_from = {**(origins(Path(config.init)) if config.init else {}), **(model.config.bases or {})}
    table = apply_stage(model, config.stage, config.lora)
    make_light(model, config)
    if config.optimisation.compile:
        compile_layers(model)
    held_out = _held_out(config, model, processor, prompts)
    return Prepared(model, processor, train_samples, held_out, table, derived_from)


def move_front(model: SeagullForConditionalGeneration, device: torch.device) -> None:
    """Moves everything but the language model, which the frozen front does not need.

    The language model is in float32 still: the engine moves it when it is frozen, lighter, perhaps spread.
    """
    for name, part in model.named_children():
        if name != "language_model":
            part.to(device)


def make_light(model: SeagullForConditionalGeneration, config: TrainConfig) -> None:
    """Keeps the frozen weights of a base in bfloat16, where a run is in mixed precision; no checkpoint holds them."""
    if config.optimisation.bf16 and "language_model" in (model.config.bases or {}):
        prepare_for_mixed_precision(model.language_model)


def visited_rows(config: TrainConfig, n_rows: int) -> Sequence[int]:
    """The rows that a run visits: all, or a random part where its steps do not reach every row once."""
    visits = _visits(config)
    if visits is None or visits >= n_rows:
        return range(n_rows)
    return sorted(random.Random(config.seed).sample(range(n_rows), visits))


def visits_per_row(config: TrainConfig, n_chosen: int) -> int:
    """How often each of the chosen rows is visited, every time with a conversation of its own."""
    visits = _visits(config)
    return config.optimisation.passes if visits is None else math.ceil(visits / n_chosen)


def _visits(config: TrainConfig) -> int | None:
    """Samples that all processes together visit, where the configuration says steps; None where it says passes."""
    run = config.optimisation
    return None if run.steps is None else run.steps * run.batch_size * run.accumulate * PartialState().num_processes


def _cache_for(
    rows: RoiDataset,
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor,
    chosen: Sequence[int],
    config: TrainConfig,
) -> FrontCache | None:
    """The main process computes the cache of the chosen rows; the others wait and read it. None where it is off."""
    if not config.cache_front:
        return None
    if model.config.mfe == "seagull":
        raise ConfigError(
            f"cache_front is on: the extractor 'seagull' of {config.init} reads whole feature maps, which are not "
            "cached; set cache_front to false (and optimisation.mixup to 0)."
        )
    root = Path(config.cache_dir) if config.cache_dir else Path(config.out) / "front"
    return main_first(
        lambda: build_front_cache(rows, model, processor, root, config.workers, chosen), "compute the frozen front"
    )


def prompts_of(config: TrainConfig) -> Path | None:
    """The prompt files that belong into the checkpoint: the run's own, or those that its start brought."""
    if config.prompts is not None:
        return Path(config.prompts)
    brought = Path(config.init) / PROMPTS_FOLDER if config.init is not None else None
    return brought if brought is not None and brought.is_dir() else None


def _path(value: str | None) -> Path | None:
    return Path(value) if value is not None else None


def _held_out(
    config: TrainConfig,
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor,
    prompts: PromptLibrary | None,
) -> TrainingSamples | None:
    """Samples of the ``validation`` split, one visit each; None where evaluation is off or there is no such split."""
    if not config.evaluate_every or not RoiDataset.has_split(config.data, "validation"):
        return None
    rows = RoiDataset(Path(config.data), "validation", image_root=_path(config.image_root))
    chosen = trainable_rows(rows)
    cache = _cache_for(rows, model, processor, chosen, config)
    return TrainingSamples(rows, processor, prompts, config.conversation, 1, chosen, cache)


def measure_constants(model: SeagullForConditionalGeneration, samples: TrainingSamples) -> None:
    """Measures the extractor's and the projector's standardising constants, unless the model brings them."""
    if model.measured:
        return
    chosen = samples.chosen[:: max(1, len(samples.chosen) // _MEASURED_ROWS)]
    if samples.cache is not None:
        statistics = samples.cache.sample_statistics(chosen)
    else:
        few = samples.chosen[:: max(1, len(samples.chosen) // _MEASURED_ROWS_UNCACHED)]
        statistics = front_statistics(samples.rows, model, samples.processor, few)
    model.measure(statistics)


def roi_losses(weights: LossWeights) -> LossFunction:
    """The ROI model's losses with their weights; those of weight 0 are not computed."""
    direct = {
        "direct_quality": weights.direct_quality,
        "direct_importance": weights.direct_importance,
        "direct_severity": weights.direct_severity,
    }

    def compute(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        named: dict[str, tuple[float, Tensor]] = {}
        if any(direct.values()) and outputs.direct is not None:
            named = {
                name: (direct[name], loss)
                for name, loss in mixed_losses(partial(direct_losses, outputs.direct), batch).items()
                if direct[name] > 0
            }
        if weights.ranking > 0 and outputs.direct is not None:
            named["ranking"] = (weights.ranking, ranking_loss(outputs.direct, batch["quality_target"]))
        if weights.answer > 0 and outputs.logits is not None:
            named["answer"] = (weights.answer, answer_loss(outputs.logits, batch["target_ids"]))
        if weights.level > 0 and outputs.logits is not None:
            named["level"] = (weights.level, _level_loss(outputs, batch, weights))
        return named

    return compute


def _level_loss(outputs: SeagullOutput, batch: Mapping[str, Tensor], weights: LossWeights) -> Tensor:
    """The loss on value words. Held-out losses are against the labels alone, so that runs compare."""
    assert outputs.logits is not None
    taught = weights.taught if torch.is_grad_enabled() else 0.0
    return slot_loss(outputs.logits, batch, weights.slots.model_dump(), outputs.direct, taught)


def build_trainer(config: TrainConfig, prepared: Prepared) -> SeagullTrainer:
    """The Trainer of a prepared run."""
    processor = prepared.processor
    state = PartialState()
    if state.is_main_process:
        print(stage_table(prepared.table), flush=True)
    held_out: Dataset[TrainingItem] | None = prepared.held_out
    return SeagullTrainer(
        losses=roi_losses(config.losses), rates=config.optimisation.learning_rates, model_inputs=MODEL_INPUTS,
        resolved=portable(config.model_dump(mode="json"), _finished(config)), model=prepared.model,
        augment=mixing(config.optimisation.mixup) if config.optimisation.mixup > 0 else None,
        lengths=prepared.train.lengths() if config.optimisation.group_by_length else None,
        args=training_arguments(config, len(prepared.train), held_out is not None),
        train_dataset=prepared.train, eval_dataset=held_out,
        data_collator=collator_of(prepared),
        processing_class=processor,
        callbacks=callbacks(Path(config.out), state.is_main_process, config.report_to),
    )  # fmt: skip


def collator_of(prepared: Prepared) -> Collator:
    """Builds batches, and knows what the language model can read."""
    layout, model = prepared.processor.layout, prepared.model
    return Collator(
        prepared.processor.padding_id,
        vocabulary=model.get_input_embeddings().num_embeddings,
        context=getattr(model.config.text_config, "max_position_embeddings", None),
        placeholders=(layout.image_token_id, *layout.region_token_ids),
    )


def _finished(config: TrainConfig) -> Path:
    """Where a run leaves its finished checkpoint; those on the way lie as deep in its folder."""
    return Path(config.out) / "model"


def finish(config: TrainConfig, prepared: Prepared, trainer: SeagullTrainer, facts: Mapping[str, Any]) -> Path:
    """Writes the finished checkpoint with its card, and completes the record of the run."""
    folder = _finished(config)
    state_dict = (
        trainer.accelerator.get_state_dict(trainer.model_wrapped)
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
        else None
    )
    if trainer.args.should_save:
        model = trainer.accelerator.unwrap_model(trainer.model)
        resolved = config.model_dump(mode="json")
        done = {**facts, "steps": trainer.state.global_step}
        for_card = {**done, "versions": library_versions(), "git_commit": git_commit()}
        told = portable(resolved, folder)
        save_checkpoint(model, prepared.processor, folder, told, state_dict, prompts_of(config), for_card)
        # The record first: a card also reads figures beside the model, which may be damaged.
        write_record(Path(config.out), SECTION, resolved, {**done, "log": trainer.state.log_history})
        write_card(folder)
    trainer.accelerator.wait_for_everyone()
    return folder
