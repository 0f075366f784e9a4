"""What labels of one or several regions say: which is better, which should be fixed first, the worst of all."""

from __future__ import annotations

from collections.abc import Sequence

from seagull_tune.errors import DataError
from seagull_tune.levels import QUALITY_LEVELS, nearest_level
from seagull_tune.records import RegionLabel

ALIKE = 0.05
"""Qualities, or importances, that differ by less than this (a fifth of a level) are told as alike."""


def better_of(first: RegionLabel, second: RegionLabel) -> int | None:
    """0 or 1: which of two regions has the higher quality; None where they are alike."""
    difference = first.quality - second.quality
    if abs(difference) < ALIKE:
        return None
    return 0 if difference > 0 else 1


def first_to_fix(labels: Sequence[RegionLabel]) -> int | None:
    """Index of the region that should be fixed first; None where no region needs fixing.

    A region needs fixing if its quality is below the best level and its importance is scored (it is not where the
    picture is as good as pristine). Importance says how much the picture gains if the region alone is restored, so the
    most important one comes first; among those that matter about as much (:data:`ALIKE`), the one of lowest quality.
    """
    needy = {
        i: (label.importance, label.quality)
        for i, label in enumerate(labels)
        if label.importance is not None and nearest_level(label.quality) != QUALITY_LEVELS[-1]
    }
    if not needy:
        return None
    most = max(importance for importance, _ in needy.values())
    close = [i for i, (importance, _) in needy.items() if most - importance < ALIKE]
    return min(close, key=lambda i: (needy[i][1], i))


def known_severities(label: RegionLabel) -> tuple[int, ...]:
    """The severities of a region, 0..5 per type.

    Raises:
        DataError: nobody knows them.
    """
    if label.severities is None:
        raise DataError("Nobody knows which distortions this region has, so no answer can tell them.")
    return label.severities


def worst_severities(labels: Sequence[RegionLabel]) -> tuple[int, ...]:
    """Per type, the highest severity 0..5 among the regions.

    Raises:
        DataError: of one of them, nobody knows the severities.
    """
    return tuple(max(of_type) for of_type in zip(*(known_severities(label) for label in labels), strict=True))
