"""Distortions: one family per file, physical parameters, five severities; ``recipe`` renders."""

from seagull_tune.distortions.base import Variant
from seagull_tune.distortions.recipe import (
    recipe_from_json,
    recipe_hash,
    recipe_to_json,
    render,
    severities_of,
    step_weight,
)
from seagull_tune.distortions.registry import VARIANTS, get_variant, variants_of

__all__ = [
    "VARIANTS",
    "Variant",
    "get_variant",
    "recipe_from_json",
    "recipe_hash",
    "recipe_to_json",
    "render",
    "severities_of",
    "step_weight",
    "variants_of",
]
