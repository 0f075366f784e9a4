"""The closed vocabularies: distortion types, severities, quality and importance levels, and level score <-> [0, 1].

One range everywhere: quality and importance are in [0, 1], higher is better (or matters more). The five levels sit at
0, 0.25, 0.5, 0.75 and 1; a score between two levels is a distribution over its two neighbours (soft labels, as in
DeQA-Score), and the level score is the expected value of the distribution (as in Q-Align), so the pair is a round trip.
Where people disagreed, their scores are spread over more levels, around the same expected value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

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


_AGREED = 0.05
"""Raters whose scores deviate less, in distances between levels, say one score: their normal distribution is so narrow
that what it says is :func:`soft_levels` of the score alone to nine digits."""


def soft_levels(score: float, n_levels: int = 5, deviation: float | None = None) -> tuple[float, ...]:
    """Distribution over levels whose expected value is ``score``.

    One score is mass on the two neighbouring levels. Scores of several raters are taken as normal, as DeQA-Score does
    (You et al. 2025, section 3.2): level i gets the mass between the borders halfway to its neighbours, the end levels
    also what lies beyond the range, since nobody can say more than the last word,

        m_i = Phi((b_(i+1) - score) / deviation) - Phi((b_i - score) / deviation).

    Cut into levels, the mean moves (up to half a level, and inwards near the ends). It is brought back by the least
    change in the sense of relative entropy, p_i ~ m_i exp(t i), where DeQA-Score fits a line that may leave [0, 1]. As
    the deviation goes to 0 this becomes the distribution of one score.

    Args:
        score: in [0, 1]; of several raters, their mean.
        n_levels: how many levels.
        deviation: standard deviation of the raters' scores, on the same scale, >= 0; None and 0: one score.

    Returns:
        ``n_levels`` probabilities that sum to one.

    Raises:
        ValueError: ``score`` is outside [0, 1] or not a number, or ``deviation`` is negative or not a number.
    """
    if not 0.0 <= score <= 1.0:
        raise ValueError(f"A level score lies in [0, 1], got {score!r}.")
    if deviation is not None and not 0.0 <= deviation < math.inf:
        raise ValueError(f"The deviation of raters is a number from 0, got {deviation!r}.")
    position = score * (n_levels - 1)
    spread = (deviation or 0.0) * (n_levels - 1)
    if spread >= _AGREED and 0.0 < score < 1.0:
        return _with_mean(_normal_mass(position, spread, n_levels), position)
    lower = min(int(position), n_levels - 2)
    share = position - lower
    probabilities = [0.0] * n_levels
    probabilities[lower], probabilities[lower + 1] = 1.0 - share, share
    return tuple(probabilities)


def _normal_mass(mean: float, deviation: float, n_levels: int) -> list[float]:
    """Mass of a normal distribution, on the scale of level numbers, between the borders of each level."""
    above = [1.0, *(_beyond((i + 0.5 - mean) / deviation) for i in range(n_levels - 1)), 0.0]
    below = [0.0, *(_beyond((mean - i - 0.5) / deviation) for i in range(n_levels - 1)), 1.0]
    # Of two ways to write a difference, the one of the smaller numbers: far from the mean the other one is 1 - 1.
    return [a - b if a < 0.5 else d - c for a, b, c, d in zip(above, above[1:], below, below[1:], strict=False)]


def _beyond(z: float) -> float:
    """Mass of the standard normal distribution above ``z``."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _with_mean(mass: Sequence[float], mean: float) -> tuple[float, ...]:
    """``mass[i] * exp(t * i)``, normalised, with the t that makes ``mean`` the mean number; found by bisection."""
    logs = [math.log(m) if m > 0.0 else -math.inf for m in mass]
    low, high = -2e3, 2e3  # beyond what the narrowest distribution needs to move by half a level

    def tilted(slope: float) -> list[float]:
        tops = [value + slope * i for i, value in enumerate(logs)]
        weights = [math.exp(value - max(tops)) for value in tops]
        return [weight / sum(weights) for weight in weights]

    for _ in range(80):
        middle = (low + high) / 2
        if sum(i * p for i, p in enumerate(tilted(middle))) < mean:
            low = middle
        else:
            high = middle
    return tuple(tilted((low + high) / 2))


def level_score(probabilities: Sequence[float]) -> float:
    """Expected level, in [0, 1], of a distribution over evenly spaced levels (inverse of :func:`soft_levels`)."""
    total = float(sum(probabilities))
    centres = level_centres(len(probabilities))
    return float(sum(p * c for p, c in zip(probabilities, centres, strict=True)) / total)


def level_deviation(probabilities: Sequence[float]) -> float:
    """Standard deviation of a distribution over evenly spaced levels, in [0, 0.5]: how far the belief is spread."""
    mean, total = level_score(probabilities), float(sum(probabilities))
    centres = level_centres(len(probabilities))
    variance = sum(p * (c - mean) ** 2 for p, c in zip(probabilities, centres, strict=True)) / total
    return math.sqrt(max(variance, 0.0))


def nearest_level(score: float, names: Sequence[str] = QUALITY_LEVELS) -> str:
    """The word of the level nearest to ``score`` in [0, 1] (a tie goes to the higher level)."""
    return names[min(int(score * (len(names) - 1) + 0.5), len(names) - 1)]


def said_severity(probabilities: Sequence[float]) -> int:
    """The severity 0..5 that six probabilities (``none`` first) amount to.

    First whether the type is there at all (:data:`PRESENT`), then how severe it is if so: the median, since severities
    have an order, and belief that is split between slight and serious should say neither.
    """
    if 1.0 - probabilities[0] < PRESENT:
        return 0
    shares = list(accumulate(probabilities[1:]))
    return next(severity for severity, share in enumerate(shares, start=1) if share >= shares[-1] / 2.0)
