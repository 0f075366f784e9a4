"""Configuration of a training run: data, stage, losses, optimiser. One model for pre-training and fine-tuning alike."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel
from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.config.model import ModelSpec

Positive = Annotated[float, Field(gt=0.0)]
Weight = Annotated[float, Field(ge=0.0)]


class Stage(StrictModel):
    """Which parts are trained: ``frozen``, ``full``, or (language model only) ``lora``."""

    vision_tower: Literal["frozen", "full"] = "frozen"
    mfe: Literal["frozen", "full"] = "full"
    direct_head: Literal["frozen", "full"] = "full"
    projector: Literal["frozen", "full"] = "full"
    language_model: Literal["frozen", "lora", "full"] = "frozen"


class Lora(StrictModel):
    """Adapters of the language model; used where the stage says ``lora``.

    Attributes:
        rank, alpha, dropout: size, strength (``alpha / rank``) and dropout of the adapters.
        targets: names of the linear layers that get them, or ``all-linear``.
        rs_lora: strength ``alpha / sqrt(rank)``, for high ranks.
        use_dora: magnitudes of the weights are learnt apart from their directions.
        quantize: ``nf4`` holds the frozen weights in 4 bits while adapters are trained (QLoRA).
        existing: what happens to adapters that the model brings: they are trained further, and must have been made
            with the settings that stand here, or they are merged into the weights and new ones begin.
    """

    rank: Annotated[int, Field(ge=1)] = 16
    alpha: Positive = 32.0
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    rs_lora: bool = False
    use_dora: bool = False
    quantize: Literal["nf4"] | None = None
    existing: Literal["continue", "merge"] = "continue"


class SlotWeights(StrictModel):
    """Weight of each kind of value word in the level loss."""

    quality: Weight = 1.0
    importance: Weight = 1.0
    types: Weight = 1.0
    severity: Weight = 0.5
    judgement: Weight = 0.5


class LossWeights(StrictModel):
    """Weights of the losses; a loss of weight 0 is not computed.

    With ``answer`` and ``level`` 0, no text is read at all.

    Attributes:
        answer: literal words of the answers.
        level: soft labels on value words.
        direct_quality, direct_importance, direct_severity: the region tokens' own head.
        ranking: pairs of regions of a batch (of all processes) in the order of their quality, by the direct head.
        slots: weights inside ``level``.
        taught: share of the targets of quality, importance and types that is what the direct head believes, instead of
            the label.
    """

    answer: Weight = 0.0
    level: Weight = 0.0
    direct_quality: Weight = 1.0
    direct_importance: Weight = 1.0
    direct_severity: Weight = 1.0
    ranking: Weight = 0.0
    slots: SlotWeights = SlotWeights()
    taught: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    @property
    def reads_text(self) -> bool:
        """Whether the language model takes part."""
        return self.answer > 0 or self.level > 0


class LearningRates(StrictModel):
    """Peak learning rate per part."""

    vision_tower: Positive = 1e-5
    mfe: Positive = 1e-3
    direct_head: Positive = 1e-3
    projector: Positive = 1e-3
    language_model: Positive = 5e-4


class Optimisation(StrictModel):
    """How long and how fast.

    Attributes:
        passes: visits of every sample; its conversation differs from visit to visit.
        steps: optimiser steps; if given, it decides instead of ``passes``.
        batch_size: samples per device and step; accumulate: steps gathered into one update.
        warmup: share of the steps over which the learning rate rises; then it falls as a cosine.
        bf16: mixed precision (bfloat16) where the hardware has it.
        gradient_checkpointing: keep only what enters each layer of the language model, and compute the rest again in
            the backward pass: a third more arithmetic (half as much again where only adapters are trained) for a
            fraction of the memory.
        group_by_length: samples of one step have conversations of about one length, so that less is padding.
        compile: layers of the language model are compiled by torch: a minute or more at the first step, faster after.
        mixup: regions are mixed with others in training, by shares of a beta distribution with this parameter; 0 does
            not. It needs the cached front and losses that read no text.
    """

    passes: Annotated[int, Field(ge=1)] = 1
    steps: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 16
    accumulate: Annotated[int, Field(ge=1)] = 1
    learning_rates: LearningRates = LearningRates()
    weight_decay: Weight = 0.05
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    max_grad_norm: Positive = 1.0
    bf16: bool = False
    gradient_checkpointing: bool = False
    group_by_length: bool = False
    compile: bool = False
    mixup: Weight = 0.0


class TrainConfig(StrictModel):
    """One training run.

    Attributes:
        out: run folder; the finished checkpoint is ``<out>/model``.
        data: folder of the data set.
        image_root: where the reference photographs lie now, if they have moved since the data set was built.
        init: checkpoint folder to start from; none assembles a new model from ``model``.
        model: bases and sizes of a new model.
        conversation: how conversations are drawn from labels.
        prompts: folder of prompt files; none is the package's own.
        cache_front: compute the frozen front once per sample and keep it on disk (it needs a frozen tower).
        cache_dir: where that cache lies; none is ``<out>/front``.
        log_every, evaluate_every, save_every: in optimiser steps; 0 turns it off.
        keep: checkpoints kept.
        workers: data-loading processes.
        seed: of weights, order and conversations.
        report_to: trackers of the run: ``tensorboard`` writes files into ``<out>/tensorboard``; ``trackio`` and
            ``wandb`` are packages of others, with settings (and, for some, accounts) of their own.
        expect_engine: the engine that this configuration is for; a launch with another one is refused.
    """

    out: str
    data: str
    image_root: str | None = None
    init: str | None = None
    model: ModelSpec = ModelSpec()
    stage: Stage = Stage()
    lora: Lora = Lora()
    losses: LossWeights = LossWeights()
    conversation: ConversationSettings = ConversationSettings()
    prompts: str | None = None
    optimisation: Optimisation = Optimisation()
    cache_front: bool = True
    cache_dir: str | None = None
    log_every: Annotated[int, Field(ge=1)] = 10
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    save_every: Annotated[int, Field(ge=0)] = 0
    keep: Annotated[int, Field(ge=1)] = 2
    workers: Annotated[int, Field(ge=0)] = 0
    seed: int = 0
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ("tensorboard",)
    expect_engine: Literal["any", "single", "ddp", "deepspeed", "fsdp"] = "any"

    @model_validator(mode="after")
    def _caches_a_frozen_front(self) -> Self:
        if self.stage.vision_tower != "frozen" and self.cache_front:
            raise ValueError(
                "stage.vision_tower is full: what the tower sees changes at every step, so it cannot be cached; set "
                "cache_front to false"
            )
        return self

    @model_validator(mode="after")
    def _adapts_small_weights(self) -> Self:
        if self.lora.quantize is not None and self.stage.language_model != "lora":
            raise ValueError(
                f"lora.quantize is {self.lora.quantize}: weights in 4 bits cannot be trained themselves, so "
                f"stage.language_model must be lora, not {self.stage.language_model}; or set lora.quantize to null"
            )
        return self

    @model_validator(mode="after")
    def _ranks_real_regions(self) -> Self:
        if self.optimisation.mixup > 0 and self.losses.ranking > 0:
            raise ValueError(
                f"losses.ranking is {self.losses.ranking} and optimisation.mixup {self.optimisation.mixup}: mixed "
                "regions have no quality to be ranked by; set one of them to 0"
            )
        return self

    @model_validator(mode="after")
    def _mixes_cached_regions(self) -> Self:
        if self.optimisation.mixup > 0 and (self.losses.reads_text or not self.cache_front):
            raise ValueError(
                f"optimisation.mixup is {self.optimisation.mixup}: it mixes cached regions, so cache_front must be on "
                "and losses.answer and losses.level must be 0; set it to 0 here"
            )
        return self

    @model_validator(mode="after")
    def _speeds_up_what_is_read(self) -> Self:
        on = [name for name in ("group_by_length", "compile") if getattr(self.optimisation, name)]
        if on and not self.losses.reads_text:
            raise ValueError(
                f"optimisation.{' and optimisation.'.join(on)} speed up the language model, but losses.answer and "
                "losses.level are 0, so no text is read; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _caches_what_can_be_cached(self) -> Self:
        if self.init is None and self.model.mfe == "seagull" and self.cache_front:
            raise ValueError(
                "cache_front is on: the extractor 'seagull' reads whole feature maps, which are not cached; set "
                "cache_front to false"
            )
        return self
