"""The closed vocabularies: distortion types, severities, quality and importance levels, and level score <-> [0, 1].

One range everywhere: quality and importance are in [0, 1], higher is better (or matters more). The five levels sit at
0, 0.25, 0.5, 0.75 and 1; a score between two levels is a distribution over its two neighbours (soft labels, as in
DeQA-Score), and the level score is the expected value of the distribution (as in Q-Align), so the pair is a round trip.
"""

from __future__ import annotations

from collections.abc import Sequence

QUALITY_LEVELS: tuple[str, ...] = ("bad", "poor", "fair", "good", "excellent")
"""Quality words, worst first (the ITU-R BT.500 five-grade scale)."""

IMPORTANCE_LEVELS: tuple[str, ...] = ("negligible", "low", "medium", "high", "critical")
"""Importance words, least first."""

DISTORTION_TYPES: tuple[str, ...] = (
    "blur", "sharpness", "noise", "compression", "exposure", "contrast", "colorfulness", "resolution",
)  # fmt: skip
"""The closed list of distortion types. Vectors over types use this order."""

SEVERITY_NAMES: tuple[str, ...] = ("none", "slight", "moderate", "obvious", "serious", "catastrophic")
"""Severity words; the index is the severity 0..5."""

TYPE_COVERAGE = 0.5
"""A distortion holds for a region if its (feathered) weight covers at least this share of the region's area."""

PRESENT = 0.5
"""A type is said to be there from this probability on."""


def level_centres(n_levels: int) -> tuple[float, ...]:
    """The scores at which ``n_levels`` levels sit, evenly from 0 to 1."""
    return tuple(i / (n_levels - 1) for i in range(n_levels))


def soft_levels(score: float, n_levels: int = 5) -> tuple[float, ...]:
    """Distribution over levels whose expected value is ``score``: mass on the two neighbouring levels.

    Args:
        score: in [0, 1].
        n_levels: how many levels.

    Returns:
        ``n_levels`` probabilities that sum to one.

    Raises:
        ValueError: ``score`` is outside [0, 1] or not a number.
    """
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"A level score lies in [0, 1], got {score!r}.")
    position = score * (n_levels - 1)
    lower = min(int(position), n_levels - 2)
    share = position - lower
    probabilities = [0.0] * n_levels
    probabilities[lower], probabilities[lower + 1] = 1.0 - share, share
    return tuple(probabilities)


def level_score(probabilities: Sequence[float]) -> float:
    """Expected level, in [0, 1], of a distribution over evenly spaced levels (inverse of :func:`soft_levels`)."""
    total = float(sum(probabilities))
    centres = level_centres(len(probabilities))
    return float(sum(p * c for p, c in zip(probabilities, centres, strict=True)) / total)


def nearest_level(score: float, names: Sequence[str] = QUALITY_LEVELS) -> str:
    """The word of the level nearest to ``score`` in [0, 1] (a tie goes to the higher level)."""
    return names[min(int(score * (len(names) - 1) + 0.5), len(names) - 1)]


def said_severity(probabilities: Sequence[float]) -> int:
    """The severity 0..5 that six probabilities (``none`` first) amount to.

    First whether the type is there at all (:data:`PRESENT`), then how severe: the most probable of six words could be
    "none" for a type that is there, where belief is spread over the others.
    """
    if 1.0 - probabilities[0] < PRESENT:
        return 0
    return max(range(1, len(probabilities)), key=probabilities.__getitem__)
