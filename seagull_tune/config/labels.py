"""Configuration of labels: which full-reference measure tells quality and importance, and how it maps to [0, 1]."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel

LabelMethod = Literal["seagull", "ssim", "ms_ssim", "gmsd", "vsi", "pyiqa"]


class Calibration(StrictModel):
    """A piecewise-linear map from a measure's raw values (higher is better) to quality.

    Attributes:
        version: names the measure and this map; stored with every data set. Raise it with every change.
        raw: rising raw values.
        quality: the qualities there, rising from 0 to 1.
        measured_on: what the map was fitted on.
    """

    version: str
    raw: Annotated[tuple[float, ...], Field(min_length=2)]
    quality: Annotated[tuple[float, ...], Field(min_length=2)]
    measured_on: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("raw", "quality"):
            values = getattr(self, name)
            if any(b <= a for a, b in itertools.pairwise(values)):
                raise ValueError(f"{name} must rise strictly, got {list(values)}")
        if len(self.raw) != len(self.quality) or self.quality[0] != 0.0 or self.quality[-1] != 1.0:
            raise ValueError("raw and quality need one length, and quality must go from 0 to 1")
        return self


class CalibrationTable(StrictModel):
    """``configs/data/label-calibration.yaml``: method -> its calibration."""

    methods: dict[str, Calibration]


class LabelSource(StrictModel):
    """How regions of rendered samples are labelled.

    Attributes:
        method: ``seagull`` (our masked measure), ``ssim``, ``ms_ssim``, ``gmsd``, ``vsi`` (one map, pooled under all
            masks) or ``pyiqa`` (any full-reference metric of pyiqa on the crop of each region; slow).
        metric: pyiqa's name of the metric; only for ``pyiqa``.
        accept_noncommercial: pyiqa is under the PolyForm Noncommercial licence; ``pyiqa`` is refused without this.
        device: where pyiqa computes.
        calibration: another map to quality than the shipped one; ``pyiqa`` takes values in [0, 1] as they are without
            one. Not for ``seagull``, whose map belongs to its version.
    """

    method: LabelMethod = "seagull"
    metric: str = "topiq_fr"
    accept_noncommercial: bool = False
    device: str = "cpu"
    calibration: Calibration | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.method == "pyiqa" and not self.accept_noncommercial:
            raise ValueError(
                "method 'pyiqa' computes with pyiqa, whose licence (PolyForm Noncommercial 1.0.0) forbids commercial "
                "use, perhaps also of what is made with it; if yours is not commercial, set accept_noncommercial: true "
                "(docs/licences.md), else use another method"
            )
        if self.method == "seagull" and self.calibration is not None:
            raise ValueError("the map of method 'seagull' belongs to its version; leave calibration out")
        return self
