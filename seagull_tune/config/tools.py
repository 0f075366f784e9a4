"""Configuration of the small commands: `validate`, `stats` and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from seagull_tune.config.base import StrictModel
from seagull_tune.config.data import SplitName


class ValidateConfig(StrictModel):
    """How `validate` checks a data set.

    Attributes:
        image_root: where the photographs are now, if they were moved.
        check_images: whether photographs are read, hashed and decoded.
        shown: problems that are printed, at most.
    """

    image_root: Path | None = None
    check_images: bool = True
    shown: Annotated[int, Field(ge=1)] = 20


class StatsConfig(StrictModel):
    """What `stats` shows.

    Attributes:
        image_root: where the photographs are now, if they were moved (for the contact sheet).
        split: split of the contact sheet; None takes all.
        images, samples_per_image: rows of the contact sheet, and samples in each.
        cell: width and height of a cell's picture in pixels.
    """

    image_root: Path | None = None
    split: SplitName | None = None
    images: Annotated[int, Field(ge=1, le=100)] = 8
    samples_per_image: Annotated[int, Field(ge=1, le=50)] = 4
    cell: Annotated[int, Field(ge=64, le=2000)] = 300


class DoctorConfig(StrictModel):
    """What `doctor` looks at besides the machine.

    Attributes:
        sam_checkpoint: a SAM checkpoint that is meant to be used.
    """

    sam_checkpoint: Path | None = None
