"""Configuration of the distortions: the mixture that recipes are drawn from, and the severity table."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel
from seagull_tune.levels import DISTORTION_TYPES

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class SeverityLevel(StrictModel):
    """One severity of one variant.

    Attributes:
        severity: 1..5.
        strength: where on the variant's scale of strengths, [0, 1], the params are.
        params: physical parameters of the variant.
        quality: the median whole-image quality that calibration measured with them, in [0, 1].
    """

    severity: Annotated[int, Field(ge=1, le=5)]
    strength: Share
    params: dict[str, float]
    quality: Share


class SeverityTable(StrictModel):
    """What the severities stand for.

    Attributes:
        targets: the quality that severities 1..5 aim at, falling; shared by all variants.
        measured_on: what the calibration was measured on, in words.
        measured_otherwise: variants, as ``TYPE/NAME``, that were measured on something else -> on what.
        variants: type -> variant -> its levels.
    """

    targets: tuple[Share, Share, Share, Share, Share]
    measured_on: str
    measured_otherwise: dict[str, str] = Field(default_factory=dict)
    variants: dict[str, dict[str, tuple[SeverityLevel, ...]]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if list(self.targets) != sorted(self.targets, reverse=True):
            raise ValueError(f"targets must fall from severity 1 to 5, got {self.targets}")
        unknown = sorted(set(self.variants) - set(DISTORTION_TYPES))
        if unknown:
            raise ValueError(f"unknown distortion types {unknown}; allowed: {', '.join(DISTORTION_TYPES)}")
        return self


class RecipeMix(StrictModel):
    """How distortion recipes are drawn. The shares ``pristine``, ``one``, ``two`` and ``three`` sum to one.

    Attributes:
        pristine: share of recipes without a step.
        one: share of recipes with one step.
        two, three: share of recipes with two, or three, steps of different types.
        whole_image: share of the steps that act on the whole image; the others act on some of its regions.
        background: of those others, the share that acts on all of the image but some of its regions.
        types: the distortion types to draw from, uniformly.
        variants: per type the variants to draw from; types that are not named use all of theirs.
        severities: the severities to draw from, uniformly over those that the type offers.
        continuous: whether strengths are drawn between the severities too, up to half a step to either side of the
            severity that was drawn; the severity of the result is then read from the calibrated curve.
        cycle_types: whether the first type of a recipe goes round ``types`` with the number of the sample, instead of
            being drawn: 20 samples per type are exactly 20 of each.
        pairs: share of the samples that come in pairs: two versions of one image, no pristine one among them, that
            differ in one step, which has another severity or another type at the same place.
        feather: width of the soft border of local steps, as a share of the square root of the image area in pixels.
        min_region_area: regions below this share of the image area are never distorted alone (0 allows all).
    """

    pristine: Share = 0.08
    one: Share = 0.62
    two: Share = 0.30
    three: Share = 0.0
    whole_image: Share = 0.5
    background: Share = 0.0
    types: Annotated[tuple[str, ...], Field(min_length=1)] = DISTORTION_TYPES
    variants: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    severities: Annotated[tuple[int, ...], Field(min_length=1)] = (1, 2, 3, 4, 5)
    continuous: bool = False
    cycle_types: bool = False
    pairs: Share = 0.0
    feather: Annotated[float, Field(ge=0.0, le=0.2)] = 0.015
    min_region_area: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.pristine + self.one + self.two + self.three
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"pristine + one + two + three must be 1, got {total:.6g}")
        for name in (*self.types, *self.variants):
            if name not in DISTORTION_TYPES:
                raise ValueError(f"unknown distortion type {name!r}; allowed: {', '.join(DISTORTION_TYPES)}")
        if len(set(self.types)) != len(self.types):
            raise ValueError(f"types names a type twice: {self.types}")
        for name, count in (("two", 2), ("three", 3)):
            if getattr(self, name) > 0 and len(self.types) < count:
                raise ValueError(f"{name} > 0 needs at least {name} types, since the steps of a recipe differ in type")
        if self.pairs > 0 and self.cycle_types:
            raise ValueError("pairs > 0 draws the types of second versions, and cycle_types counts types: choose one")
        if self.pairs > 0 and self.pristine >= 1.0:
            raise ValueError("pairs > 0 needs recipes that are not pristine: lower pristine below 1")
        if not all(1 <= severity <= 5 for severity in self.severities):
            raise ValueError(f"severities must be 1..5, got {self.severities}")
        return self
