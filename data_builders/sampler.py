"""Draw distortion recipes: which types, how severe, where; alone or in pairs.

Everything is drawn from the generator that is passed in, in a fixed order, so one seed is one recipe. What a mix does
not ask for is not drawn: an option that is off leaves the recipes of a seed as they were before there was one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seagull_tune.config.distortions import RecipeMix
from seagull_tune.distortions.base import Variant, spatial_scale
from seagull_tune.distortions.registry import get_variant, variants_of
from seagull_tune.errors import ConfigError, RegionError
from seagull_tune.records import DistortionStep, Recipe

STEP_ORDER: tuple[str, ...] = (
    "blur", "exposure", "contrast", "colorfulness", "noise", "resolution", "sharpness", "compression",
)  # fmt: skip
"""The order in which two distortions meet a picture: optics, light, sensor, sampling, processing, coding."""

_SEED_LIMIT = 2**31


@dataclass(frozen=True)
class Place:
    """Where a step acts.

    Attributes:
        regions: indices of regions; None is the whole image.
        outside: whether it is all but those regions.
        feather_px: width of the soft border.
    """

    regions: tuple[int, ...] | None
    outside: bool
    feather_px: float

    @classmethod
    def of(cls, step: DistortionStep) -> Place:
        """Where a step acts."""
        return cls(step.regions, step.outside, step.feather_px)


def draw_recipe(
    mix: RecipeMix,
    n_regions: int,
    region_areas: Sequence[float],
    rng: np.random.Generator,
    image_area: float | None = None,
    first_type: str | None = None,
) -> Recipe:
    """Draw one recipe for an image.

    The number of steps follows the shares of ``mix``. Each step draws its type uniformly (the steps have different
    types), its severity uniformly over those that the type offers, its variant uniformly over those that offer that
    severity, and its place: the whole image, 1..n-1 of the n eligible regions, or all but those.

    Args:
        mix: shares, types, severities, places.
        n_regions: regions of the image; 0 means that every step acts on the whole image.
        region_areas: area of every region in pixels.
        rng: the generator that everything is drawn from.
        image_area: height * width in pixels; without it, the sum of the region areas (a cover of the image).
        first_type: the type of one of the steps; None draws it.

    Returns:
        The recipe, its steps in :data:`STEP_ORDER`.

    Raises:
        RegionError: ``region_areas`` does not have ``n_regions`` entries.
        ConfigError: a type of the mix offers none of its severities.
    """
    total = _image_area(n_regions, region_areas, image_area)
    n_steps = int(rng.choice(4, p=_shares(mix)))
    steps = [_draw_step(mix, name, region_areas, total, rng) for name in _draw_types(mix, n_steps, first_type, rng)]
    return _ordered(steps)


def draw_pair(
    mix: RecipeMix,
    n_regions: int,
    region_areas: Sequence[float],
    rng: np.random.Generator,
    image_area: float | None = None,
    first_type: str | None = None,
) -> tuple[Recipe, Recipe]:
    """Draw two versions of an image that differ in one step, so that what they are compared for is known.

    The first is drawn as by :func:`draw_recipe`, but never pristine. In the second, one of its steps has another
    severity of the same variant or, as often, another type at the same place.

    Args: as :func:`draw_recipe`.

    Returns:
        Two different recipes.

    Raises:
        RegionError: as :func:`draw_recipe`.
        ConfigError: as :func:`draw_recipe`; or the mix allows one type with one severity only.
    """
    distorted = 1.0 - mix.pristine
    shares = {name: getattr(mix, name) / distorted for name in ("one", "two", "three")}
    first = draw_recipe(
        mix.model_copy(update={"pristine": 0.0, **shares}), n_regions, region_areas, rng, image_area, first_type
    )
    total = _image_area(n_regions, region_areas, image_area)
    chosen = int(rng.integers(len(first.steps)))
    step, others = first.steps[chosen], [*first.steps[:chosen], *first.steps[chosen + 1 :]]
    free = [name for name in mix.types if name not in {other.type for other in first.steps}]
    severities = [s for s in get_variant(step.type, step.variant).levels if s in mix.severities and s != step.severity]
    if not free and not severities:
        raise ConfigError(
            f"mix.pairs: {step.type}/{step.variant} of severity {step.severity} has no partner: the mix allows no "
            "other severity of it and no other type. Allow more severities or types, or set mix.pairs to 0."
        )
    by_type = bool(rng.random() < 0.5)
    if severities and not (by_type and free):
        other = _with_severity(mix, step, severities[int(rng.integers(len(severities)))], total, rng)
    else:
        other = _draw_step(mix, free[int(rng.integers(len(free)))], region_areas, total, rng, Place.of(step))
    return first, _ordered([*others, other])


def _image_area(n_regions: int, region_areas: Sequence[float], image_area: float | None) -> float:
    if len(region_areas) != n_regions:
        raise RegionError(
            f"{len(region_areas)} region areas for {n_regions} regions; give one area in pixels for each."
        )
    return float(sum(region_areas)) if image_area is None else float(image_area)


def _draw_types(mix: RecipeMix, n_steps: int, first: str | None, rng: np.random.Generator) -> list[str]:
    """``n_steps`` different types, ``first`` among them where it is given."""
    if first is None or not n_steps:
        return [mix.types[i] for i in rng.choice(len(mix.types), size=n_steps, replace=False)]
    others = [name for name in mix.types if name != first]
    return [first, *(others[i] for i in rng.choice(len(others), size=n_steps - 1, replace=False))]


def _ordered(steps: Sequence[DistortionStep]) -> Recipe:
    return Recipe(steps=tuple(sorted(steps, key=lambda step: STEP_ORDER.index(step.type))))


def eligible_regions(mix: RecipeMix, region_areas: Sequence[float], image_area: float) -> tuple[int, ...]:
    """Indices of the regions that are large enough to be distorted on their own (``mix.min_region_area``)."""
    return tuple(i for i, area in enumerate(region_areas) if area >= mix.min_region_area * image_area)


def offered_severities(mix: RecipeMix, type_name: str) -> dict[int, tuple[Variant, ...]]:
    """Severity -> the variants of the type that offer it, both restricted to the mix.

    Raises:
        DataError: the mix names a variant that the type does not have.
        ConfigError: no variant offers any of the mix's severities.
    """
    names = mix.variants.get(type_name)
    variants = variants_of(type_name) if names is None else tuple(get_variant(type_name, name) for name in names)
    offered = {
        severity: found
        for severity in sorted(set(mix.severities))
        if (found := tuple(variant for variant in variants if severity in variant.levels))
    }
    if not offered:
        raise ConfigError(
            f"mix: no variant of {type_name!r} ({', '.join(v.variant for v in variants)}) offers any of the severities "
            f"{mix.severities}. Allow more severities or variants, or leave the type out of mix.types."
        )
    return offered


def _shares(mix: RecipeMix) -> list[float]:
    shares = (mix.pristine, mix.one, mix.two, mix.three)
    return [share / sum(shares) for share in shares]


def _draw_step(
    mix: RecipeMix,
    type_name: str,
    region_areas: Sequence[float],
    image_area: float,
    rng: np.random.Generator,
    place: Place | None = None,
) -> DistortionStep:
    """A step of a type; its place is drawn where none is given."""
    offered = offered_severities(mix, type_name)
    severity = list(offered)[int(rng.integers(len(offered)))]
    variant = offered[severity][int(rng.integers(len(offered[severity])))]
    seed = int(rng.integers(_SEED_LIMIT))
    place = place or _draw_place(mix, region_areas, image_area, rng)
    step = DistortionStep(
        type=type_name,
        variant=variant.variant,
        severity=severity,
        seed=seed,
        regions=place.regions,
        feather_px=place.feather_px,
        outside=place.outside,
    )
    return _with_severity(mix, step, severity, image_area, rng)


def _with_severity(
    mix: RecipeMix, step: DistortionStep, severity: int, image_area: float, rng: np.random.Generator
) -> DistortionStep:
    """The step at a severity: with the parameters of the table, or (``mix.continuous``) with ones drawn around it."""
    variant, scale = get_variant(step.type, step.variant), spatial_scale(image_area)
    if not mix.continuous:
        return replace(step, severity=severity, params=variant.params_for(severity, scale))
    strength = variant.curve.strength_at(severity + float(rng.random()) - 0.5)
    return replace(step, severity=variant.curve.severity_at(strength), params=variant.params_at(strength, scale))


def _draw_place(mix: RecipeMix, region_areas: Sequence[float], image_area: float, rng: np.random.Generator) -> Place:
    """The whole image, some of the eligible regions, or all but those."""
    everywhere = Place(None, False, 0.0)
    whole = bool(rng.random() < mix.whole_image)
    eligible = eligible_regions(mix, region_areas, image_area)
    # A step on every region would be a step on the whole image by another name.
    most = min(len(eligible), len(region_areas) - 1)
    if whole or most < 1:
        return everywhere
    count = int(rng.integers(1, most + 1))
    drawn = rng.choice(len(eligible), size=count, replace=False)
    chosen = [eligible[int(index)] for index in drawn]
    outside = mix.background > 0 and bool(rng.random() < mix.background)
    if outside:
        # What is too small to be distorted alone is too small as a background, too: keep less of the picture clean.
        while chosen and not _leaves_enough(mix, [region_areas[index] for index in chosen], image_area):
            chosen.pop()
        if not chosen:
            return everywhere
    return Place(tuple(sorted(chosen)), outside, round(mix.feather * math.sqrt(image_area), 2))


def _leaves_enough(mix: RecipeMix, areas: Sequence[float], image_area: float) -> bool:
    left = image_area - sum(areas)
    return left > 0 and left >= mix.min_region_area * image_area
