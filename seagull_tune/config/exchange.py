"""Configuration of `export` and `import`: data sets out of and into our two tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel
from seagull_tune.config.data import SplitName
from seagull_tune.config.instructions import ConversationSettings

ExportFormat = Literal["seagull", "llava", "coco"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = ("seagull", "llava", "coco")


class ExportConfig(StrictModel):
    """How a data set is exported.

    Attributes:
        format: ``seagull`` (the layout of SEAGULL-100w), ``llava`` (conversations) or ``coco`` (instances).
        split: what is exported; None takes all.
        image_root: where the photographs are now, if they were moved.
        pictures: whether the pictures are written too, as PNG files; they are what takes the time and the disk.
        workers: processes that write pictures; does not change the result.
        max_pixels: largest photograph that is decoded.
        passes: conversations per sample (``llava``); pass 0 is what the first epoch of a training sees.
        conversation: how conversations are drawn (``llava``); a training's own settings give its own conversations.
        prompts: folder of prompts (``llava``); None takes the shipped ones.
    """

    format: ExportFormat
    split: SplitName | None = None
    image_root: Path | None = None
    pictures: bool = True
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000
    passes: Annotated[int, Field(ge=1, le=1000)] = 1
    conversation: ConversationSettings = ConversationSettings()
    prompts: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.format == "seagull" and not self.pictures:
            raise ValueError("the layout 'seagull' is one of pictures; leave pictures true, or use 'coco' or 'llava'")
        return self
