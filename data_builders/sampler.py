"""Draw distortion recipes: which types, how severe, where.

Everything is drawn from the generator that is passed in, in a fixed order, so one seed is one recipe.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def draw_recipe(
    mix: RecipeMix,
    n_regions: int,
    region_areas: Sequence[float],
    rng: np.random.Generator,
    image_area: float | None = None,
) -> Recipe:
    """Draw one recipe for an image.

    The number of steps follows the shares of ``mix``. Each step draws its type uniformly (two steps have different
    types), its severity uniformly over those that the type offers, its variant uniformly over those that offer that
    severity, and its place: the whole image, or 1..n-1 of the n eligible regions.

    Args:
        mix: shares, types, severities, places.
        n_regions: regions of the image; 0 means that every step acts on the whole image.
        region_areas: area of every region in pixels.
        rng: the generator that everything is drawn from.
        image_area: height * width in pixels; without it, the sum of the region areas (a cover of the image).

    Returns:
        The recipe, its steps in :data:`STEP_ORDER`.

    Raises:
        RegionError: ``region_areas`` does not have ``n_regions`` entries.
        ConfigError: a type of the mix offers none of its severities.
    """
    if len(region_areas) != n_regions:
        raise RegionError(
            f"{len(region_areas)} region areas for {n_regions} regions; give one area in pixels for each."
        )
    total = float(sum(region_areas)) if image_area is None else float(image_area)
    n_steps = int(rng.choice(3, p=_shares(mix)))
    types = [mix.types[i] for i in rng.choice(len(mix.types), size=n_steps, replace=False)]
    steps = [_draw_step(mix, name, region_areas, total, rng) for name in types]
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
    total = mix.pristine + mix.one + mix.two
    return [mix.pristine / total, mix.one / total, mix.two / total]


def _draw_step(
    mix: RecipeMix, type_name: str, region_areas: Sequence[float], image_area: float, rng: np.random.Generator
) -> DistortionStep:
    offered = offered_severities(mix, type_name)
    severity = list(offered)[int(rng.integers(len(offered)))]
    variant = offered[severity][int(rng.integers(len(offered[severity])))]
    seed = int(rng.integers(_SEED_LIMIT))
    regions = _draw_regions(mix, region_areas, image_area, rng)
    feather = 0.0 if regions is None else round(mix.feather * math.sqrt(image_area), 2)
    return DistortionStep(
        type=type_name,
        variant=variant.variant,
        severity=severity,
        params=variant.params_for(severity, spatial_scale(image_area)),
        seed=seed,
        regions=regions,
        feather_px=feather,
    )


def _draw_regions(
    mix: RecipeMix, region_areas: Sequence[float], image_area: float, rng: np.random.Generator
) -> tuple[int, ...] | None:
    """Some of the eligible regions, or None for the whole image."""
    whole = bool(rng.random() < mix.whole_image)
    eligible = eligible_regions(mix, region_areas, image_area)
    # A step on every region would be a step on the whole image by another name.
    most = min(len(eligible), len(region_areas) - 1)
    if whole or most < 1:
        return None
    count = int(rng.integers(1, most + 1))
    chosen = rng.choice(len(eligible), size=count, replace=False)
    return tuple(sorted(eligible[int(index)] for index in chosen))
