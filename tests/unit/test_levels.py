"""Scores and levels: a round trip, and labels as wide as raters disagreed."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist

import pytest

from seagull_tune.levels import level_deviation, level_score, nearest_level, said_severity, soft_levels

SCORES = [0.0, 1e-6, 0.05, 0.25, 0.3, 0.374, 0.376, 0.5, 0.61, 0.875, 0.99, 1.0]


@pytest.mark.parametrize("deviation", [None, 0.0, 0.013, 0.05, 0.125, 0.3, 0.7])
def test_the_level_score_of_soft_levels_is_the_score(deviation: float | None) -> None:
    for score in SCORES:
        levels = soft_levels(score, deviation=deviation)
        assert level_score(levels) == pytest.approx(score, abs=1e-9)
        assert sum(levels) == pytest.approx(1.0, abs=1e-12) and min(levels) >= 0.0


def test_one_score_lies_on_its_two_neighbours() -> None:
    assert soft_levels(0.3) == pytest.approx((0.0, 0.8, 0.2, 0.0, 0.0), abs=1e-12)
    assert soft_levels(1.0) == (0.0, 0.0, 0.0, 0.0, 1.0)
    for score in SCORES:
        assert soft_levels(score, deviation=0.0) == soft_levels(score, deviation=0.01) == soft_levels(score)


def test_scores_of_raters_are_the_mass_of_a_normal_distribution_per_level() -> None:
    """In the middle of the range nothing has to be moved back."""
    normal = NormalDist(0.5, 0.2)
    borders = [normal.cdf(b) for b in (0.125, 0.375, 0.625, 0.875)]
    expected = [b - a for a, b in zip([0.0, *borders], [*borders, 1.0], strict=True)]
    assert soft_levels(0.5, deviation=0.2) == pytest.approx(expected, abs=1e-9)


def test_the_mean_is_kept_by_a_factor_that_grows_by_level() -> None:
    """Elsewhere each level's share over its normal mass is exp(t i)."""
    normal = NormalDist(0.7, 0.15)
    borders = [normal.cdf(b) for b in (0.125, 0.375, 0.625, 0.875)]
    mass = [b - a for a, b in zip([0.0, *borders], [*borders, 1.0], strict=True)]
    shares = [math.log(p / m) for p, m in zip(soft_levels(0.7, deviation=0.15), mass, strict=True)]
    steps = [b - a for a, b in itertools.pairwise(shares)]
    assert steps == pytest.approx([steps[0]] * 4, abs=1e-6) and 0 < steps[0] < 1


def test_more_disagreement_is_wider_and_little_is_none() -> None:
    for score in (0.1, 0.5, 0.66):
        widths = []
        for deviation in (0.0125, 0.05, 0.1, 0.2, 0.4):
            levels = soft_levels(score, deviation=deviation)
            widths.append(sum(p * (i / 4 - score) ** 2 for i, p in enumerate(levels)))
        assert widths == sorted(widths) and widths[-1] > 2 * widths[0]
        assert soft_levels(score, deviation=0.0125) == pytest.approx(soft_levels(score), abs=1e-9)


@pytest.mark.parametrize(("score", "deviation"), [(1.01, None), (math.nan, 0.1), (0.5, -0.1), (0.5, math.nan)])
def test_what_is_no_score_or_deviation_is_refused(score: float, deviation: float | None) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]|from 0"):
        soft_levels(score, deviation=deviation)


def test_the_nearest_word() -> None:
    assert [nearest_level(score) for score in (0.0, 0.12, 0.125, 0.5, 0.9)] == [
        "bad", "bad", "poor", "fair", "excellent",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ((0.6, 0.1, 0.1, 0.1, 0.1, 0.0), 0),  # more likely absent
        ((0.4, 0.3, 0.1, 0.1, 0.1, 0.0), 1),  # there, though "none" is the likeliest word
        ((0.1, 0.3, 0.1, 0.1, 0.1, 0.3), 3),  # split between the ends: the middle
        ((0.5, 0.25, 0.25, 0.0, 0.0, 0.0), 1),
        ((0.0, 0.0, 0.0, 0.0, 0.0, 1.0), 5),
    ],
)
def test_the_severity_that_is_said(probabilities: tuple[float, ...], said: int) -> None:
    assert said_severity(probabilities) == said


@pytest.mark.parametrize(
    ("levels", "deviation"),
    [((0.0, 0.0, 1.0, 0.0, 0.0), 0.0), ((0.5, 0.0, 0.0, 0.0, 0.5), 0.5), ((0.0, 0.5, 0.0, 0.5, 0.0), 0.25)],
)
def test_the_deviation_of_levels(levels: tuple[float, ...], deviation: float) -> None:
    assert level_deviation(levels) == pytest.approx(deviation, abs=1e-12)
