"""Configuration of the commands that answer: `assess`, `ask` and `chat`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel
from seagull_tune.config.regions import SamSettings, check_sam


class SegmenterChoice(StrictModel):
    """What finds regions where a point is given, or all regions are asked for.

    Attributes:
        method: ``graph`` (no weights) or ``sam``.
        sam: how SAM finds regions; only for ``sam``, which needs ``sam.checkpoint``.
        min_area_share: regions below this share of the image are left out.
        max_regions: most regions of an image; the largest are kept.
    """

    method: Literal["graph", "sam"] = "graph"
    sam: SamSettings = SamSettings()
    min_area_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02
    max_regions: Annotated[int, Field(ge=1, le=1000)] = 16

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_sam(self.method, self.sam)
        return self


class Engine(StrictModel):
    """Where and how a tuned model runs.

    Attributes:
        device: ``cpu``, ``cuda``, ``mps``; None takes a GPU where there is one.
        bf16: run the language model in bfloat16: faster on recent processors, scores move in the third digit.
        chunk: regions that are read together; bounds memory.
    """

    device: str | None = None
    bf16: bool = False
    chunk: Annotated[int, Field(ge=1)] = 32


class AnswerConfig(Engine):
    """How a tuned model answers.

    Attributes:
        model: checkpoint folder.
        max_pixels: photographs with more pixels are refused.
        max_new_tokens: longest answer of `ask` and `chat`, in tokens.
        text: whether `assess` also lets the model describe every region (slower).
        segmenter: what finds regions.
    """

    model: str = "runs/quickstart/model"
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 128
    text: bool = False
    segmenter: SegmenterChoice = SegmenterChoice()
