"""Recipes as canonical JSON: one text per recipe, so that texts and hashes compare.

Keys are sorted, there are no blanks, and floats are written by their shortest exact form; parsing gives the recipe
back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from seagull_tune.errors import DataError
from seagull_tune.records import DistortionStep, Recipe

_FIELDS = {"type", "variant", "severity", "params", "seed", "regions", "feather_px", "outside"}


def recipe_to_json(recipe: Recipe) -> str:
    """The canonical JSON text of a recipe: an array of steps, ``[]`` for pristine."""
    steps = [
        {
            "type": step.type,
            "variant": step.variant,
            "severity": int(step.severity),
            "params": {name: float(value) for name, value in step.params.items()},
            "seed": int(step.seed),
            "regions": None if step.regions is None else [int(index) for index in step.regions],
            "feather_px": float(step.feather_px),
            "outside": bool(step.outside),
        }
        for step in recipe.steps
    ]
    return json.dumps(steps, sort_keys=True, separators=(",", ":"), allow_nan=False)


def recipe_from_json(text: str) -> Recipe:
    """The recipe of a JSON text, as :func:`recipe_to_json` writes it.

    Raises:
        DataError: not JSON, not an array of steps, a field that is missing, unknown or of the wrong kind.
    """
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"A recipe is not JSON ({error}): {text[:80]!r}. Build the data set again.") from error
    if not isinstance(rows, list):
        raise DataError(f"A recipe is a JSON array of steps, got {type(rows).__name__}: {text[:80]!r}.")
    return Recipe(steps=tuple(_step(row) for row in rows))


def recipe_hash(recipes: Iterable[Recipe]) -> str:
    """SHA-256, in hex, over the canonical JSON of recipes, one a line; their order counts."""
    digest = hashlib.sha256()
    for recipe in recipes:
        digest.update(recipe_to_json(recipe).encode() + b"\n")
    return digest.hexdigest()


def _step(row: object) -> DistortionStep:
    if not isinstance(row, Mapping) or set(row) != _FIELDS:
        seen = sorted(row) if isinstance(row, Mapping) else type(row).__name__
        raise DataError(f"A step of a recipe has the fields {sorted(_FIELDS)}, got {seen}.")
    fields: dict[str, Any] = dict(row)
    regions = fields["regions"]
    kinds_match = (
        isinstance(fields["type"], str)
        and isinstance(fields["variant"], str)
        and _is_whole(fields["severity"])
        and _is_whole(fields["seed"])
        and _is_number(fields["feather_px"])
        and isinstance(fields["outside"], bool)
        and isinstance(fields["params"], Mapping)
        and all(_is_number(value) for value in fields["params"].values())
        and (regions is None or (isinstance(regions, list) and all(_is_whole(index) for index in regions)))
    )
    if not kinds_match:
        raise DataError(f"A step of a recipe has a field of the wrong kind: {fields!r}.")
    return DistortionStep(
        type=fields["type"],
        variant=fields["variant"],
        severity=fields["severity"],
        params={name: float(value) for name, value in fields["params"].items()},
        seed=fields["seed"],
        regions=None if regions is None else tuple(regions),
        feather_px=float(fields["feather_px"]),
        outside=fields["outside"],
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
