"""Configuration of the whole-image scorer: its parts (`RsaSpec`), its training on opinion scores, its use."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.answer import SegmenterChoice
from seagull_tune.config.base import StrictModel
from seagull_tune.config.exchange import MosTable

Positive = Annotated[float, Field(gt=0.0)]
Weight = Annotated[float, Field(ge=0.0)]
Semantics = Literal["none", "numbers", "tokens", "text"]


class BackboneSettings(StrictModel):
    """The frozen backbone whose features are re-weighted.

    Attributes:
        name: any timm model that gives feature maps.
        weights: ``embedded:NAME`` or ``hub:ID@REVISION``; None draws them at random (for tests) from ``seed``.
        seed: of random weights.
        max_side: longest side, in pixels, that the backbone sees; larger images are shrunk, their aspect ratio is kept.
        cell: side of a cell, in pixels of that image: what the attention looks at.
        levels: which of the backbone's maps are read, 0 the finest; None is all.
        mean, std: per-channel normalisation of sRGB values in [0, 1].
    """

    name: str = "efficientnet_lite0"
    weights: str | None = "embedded:efficientnet-lite0"
    seed: int = 0
    max_side: Annotated[int, Field(ge=32)] = 512
    cell: Annotated[int, Field(ge=4)] = 32
    levels: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)


class DescriberSettings(StrictModel):
    """Who says what the regions are.

    Attributes:
        model: checkpoint of a tuned model.
        bf16: run its language model in bfloat16.
        segmenter: what finds the regions; they are made into a cover of the image.
        text: ``scores`` writes what the scores say; ``generated`` lets the model speak (slower).
    """

    model: str = "runs/quickstart/model"
    bf16: bool = False
    segmenter: SegmenterChoice = SegmenterChoice()
    text: Literal["scores", "generated"] = "scores"


class RsaSpec(StrictModel):
    """The parts of a scorer.

    Attributes:
        backbone: its features.
        semantics: what is known of each region: ``none``; ``numbers`` (scores); ``tokens`` (and the region's tokens);
            ``text`` (and the text embedding).
        attention: ``rsa`` learns which regions count and where to look in them; ``uniform`` counts all regions the
            same; ``global`` is global average pooling, without any attention.
        head: ``additive`` gives a score that is a bias plus one contribution per region; ``pooled`` reads the
            re-weighted features of the whole image, and explains by the map alone.
        whole: whether what global pooling says of the whole image is a term of every region's value; always so where
            attention is ``global``.
        width: of the cells and of the head.
        heads, blocks: of the confined attention.
        dropout: in attention and head; input_dropout: of the statistics that the head reads.
    """

    backbone: BackboneSettings = BackboneSettings()
    semantics: Semantics = "text"
    attention: Literal["rsa", "uniform", "global"] = "rsa"
    head: Literal["additive", "pooled"] = "additive"
    whole: bool = True
    width: Annotated[int, Field(ge=8)] = 128
    heads: Annotated[int, Field(ge=1)] = 4
    blocks: Annotated[int, Field(ge=0)] = 1
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1
    input_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads is {self.heads}, which does not divide width {self.width}")
        if self.attention == "global" and self.semantics != "none":
            raise ValueError(
                f"attention is 'global': it knows no regions, so semantics must be 'none', not {self.semantics!r}"
            )
        if self.attention == "global" and self.head == "additive":
            raise ValueError(
                "attention is 'global': it knows no regions that a score could be added up of; set head to pooled"
            )
        return self


class OpinionData(StrictModel):
    """Pictures with a mean opinion score (MOS) each.

    Attributes:
        file: the CSV file.
        images: folder that its file names are below; None is the folder of the file.
        mos: its columns, and range and direction of the scores, which are required. ``scene`` names the group that is
            not divided between training and test (a prompt, a source photograph); ``split`` a column that says
            ``train`` or ``test`` itself.
        std: column of the raters' standard deviation, on the scale of the scores: scores that people disagree about
            weigh less. None: all weigh the same.
        max_pixels: photographs with more pixels are refused.
    """

    file: str
    images: str | None = None
    mos: MosTable
    std: str | None = None
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000


class OpinionSplit(StrictModel):
    """Which groups are kept for the test.

    Attributes:
        test: share of the groups; 0 trains on all of them.
        seed: another seed draws other groups.
    """

    test: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    seed: int = 0


class RsaLosses(StrictModel):
    """Weights of the losses; one of weight 0 is not computed. Scores are compared in [0, 1], higher is better.

    Attributes:
        plcc: ``(1 - r) / 2`` with Pearson's r over the batch.
        rank: pairs of the batch in the order of their MOS (logistic).
        l1: absolute difference.
    """

    plcc: Weight = 1.0
    rank: Weight = 0.5
    l1: Weight = 1.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not (self.plcc or self.rank or self.l1):
            raise ValueError("plcc, rank and l1 are all 0: nothing would be trained")
        return self


class RsaOptimisation(StrictModel):
    """How long and how fast.

    Attributes:
        epochs: visits of every picture.
        batch_size: pictures per device and step: correlations need many.
        learning_rate: its peak.
        warmup: share of the steps over which the learning rate rises; then it falls as a cosine.
    """

    epochs: Annotated[int, Field(ge=1)] = 30
    batch_size: Annotated[int, Field(ge=4)] = 32
    learning_rate: Positive = 1e-3
    weight_decay: Weight = 0.05
    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    max_grad_norm: Positive = 1.0


class RsaTrainConfig(StrictModel):
    """Training of a scorer on opinion scores.

    Attributes:
        out: run folder; the finished scorer is ``<out>/model``.
        data: the opinion scores.
        split: what is kept for the test.
        scorer: its parts.
        describer: who says what the regions are; its ``segmenter`` cuts the regions also where ``semantics`` is none.
        keep_describer: ``reference`` names it by hash and remembers where it was; ``inside`` copies it into the scorer.
        losses, optimisation: how it is trained.
        cache_dir: where features and descriptions are kept; None is ``<out>/cache``.
        device: where backbone and describer run while features are computed; None takes a GPU where there is one.
        log_every, save_every: in optimiser steps; 0 turns saving off.
        keep: checkpoints kept.
        seed: of weights and order.
        report_to: trackers of the run.
    """

    out: str
    data: OpinionData
    split: OpinionSplit = OpinionSplit()
    scorer: RsaSpec = RsaSpec()
    describer: DescriberSettings = DescriberSettings()
    keep_describer: Literal["reference", "inside"] = "reference"
    losses: RsaLosses = RsaLosses()
    optimisation: RsaOptimisation = RsaOptimisation()
    cache_dir: str | None = None
    device: str | None = None
    log_every: Annotated[int, Field(ge=1)] = 20
    save_every: Annotated[int, Field(ge=0)] = 200
    keep: Annotated[int, Field(ge=1)] = 2
    seed: int = 0
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()


class ScoreConfig(StrictModel):
    """How photographs are scored.

    Attributes:
        model: folder of a scorer.
        describer: checkpoint of the tuned model, where it is not where the scorer last saw it.
        device: ``cpu``, ``cuda``, ``mps``; None takes a GPU where there is one.
        max_pixels: photographs with more pixels are refused.
        cache_dir: where features and descriptions are kept; None keeps none.
        worst: regions that an explanation tells of in words.
    """

    model: str = "runs/rsa/model"
    describer: str | None = None
    device: str | None = None
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000
    cache_dir: str | None = None
    worst: Annotated[int, Field(ge=1)] = 3
