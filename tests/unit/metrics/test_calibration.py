"""Calibration error and its bins, Brier score, log likelihood: known values, perfect and degenerate predictors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from seagull_tune.errors import DataError
from seagull_tune.levels import QUALITY_LEVELS, nearest_level, soft_levels
from seagull_tune.metrics.calibration import (
    LEAST,
    brier,
    level_reliability,
    nearest_levels,
    negative_log_likelihood,
    reliability,
    top_levels,
)


def test_error_by_hand() -> None:
    bins = reliability([0.62, 0.68, 0.95, 1.0], np.array([True, False, True, True]))
    assert bins.counts.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert bins.confidence[6] == pytest.approx(0.65) and bins.accuracy[6] == 0.5
    assert np.isnan(bins.confidence[0]) and np.isnan(bins.accuracy[0])
    assert bins.error == pytest.approx((2 * 0.15 + 2 * 0.025) / 4)
    assert [row["count"] for row in bins.to_rows()] == [2, 2] and bins.to_rows()[0]["from"] == pytest.approx(0.6)


def test_a_bin_holds_its_upper_edge() -> None:
    assert reliability([0.0, 0.1, 0.1000001, 1.0], np.ones(4, bool)).counts.tolist() == [2, 1, *[0] * 7, 1]


def test_a_perfect_predictor_has_almost_no_error_and_an_overconfident_one_has() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 20_000)
    correct = rng.random(20_000) < confidence
    error, worse = reliability(confidence, correct).error, reliability(confidence**0.25, correct).error
    assert error is not None and error < 0.012
    assert worse is not None and worse > 0.15


def test_constant_predictions_and_no_regions() -> None:
    constant = reliability(np.full(50, 0.4), np.arange(50) < 20)
    assert constant.error == pytest.approx(0.0, abs=1e-12) and (constant.counts > 0).sum() == 1
    nothing = reliability([], np.zeros(0, bool))
    assert nothing.error is None and nothing.to_rows() == []
    assert brier(np.zeros((0, 5)), np.zeros((0, 5))) is None
    assert negative_log_likelihood(np.zeros((0, 5)), np.zeros((0, 5))) is None


def test_levels_against_labels() -> None:
    scores = np.linspace(0.0, 1.0, 101)
    assert [QUALITY_LEVELS[i] for i in nearest_levels(scores)] == [nearest_level(float(s)) for s in scores]
    levels = np.array([[0.1, 0.6, 0.3, 0.0, 0.0], [0.0, 0.0, 0.2, 0.8, 0.0]])
    confidence, said = top_levels(levels)
    assert confidence.tolist() == [0.6, 0.8] and said.tolist() == [1, 3]
    found = level_reliability(levels, [0.3, 0.9])
    assert found.accuracy[5] == 1.0 and found.accuracy[7] == 0.0
    assert found.error == pytest.approx((0.4 + 0.8) / 2)


def test_brier_and_likelihood_of_soft_levels() -> None:
    target = np.array([soft_levels(0.375)])  # half poor, half fair
    assert brier(target, target) == 0.0
    assert negative_log_likelihood(target, target) == pytest.approx(math.log(2))
    certain = np.array([[0.0, 1.0, 0.0, 0.0, 0.0]])
    assert brier(certain, target) == pytest.approx(0.5)
    assert negative_log_likelihood(certain, target) == pytest.approx(-0.5 * math.log(LEAST))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: reliability([1.2], np.ones(1, bool)), r"row 0 is 1\.2"),
        (lambda: reliability([float("nan")], np.ones(1, bool)), "row 0 is nan"),
        (lambda: reliability([0.5], np.ones(2, bool)), r"shape \(1,\)"),
        (lambda: reliability([0.5], np.ones(1)), "float64"),
        (lambda: reliability([0.5], np.ones(1, bool), bins=0), "0 bins"),
        (lambda: nearest_levels([0.5, -0.1]), r"row 1 is -0\.1"),
        (lambda: top_levels([[0.5, 0.6]]), "sum to 1"),
        (lambda: top_levels([0.5, 0.5]), r"shape \(2,\)"),
        (lambda: brier([[0.5, 0.5]], [[0.2, 0.3, 0.5]]), r"\(1, 2\)"),
        (lambda: level_reliability([[0.5, 0.5]], [0.1, 0.2]), "1 rows"),
    ],
)
def test_what_is_no_probability_is_named(call: object, said: str) -> None:
    assert callable(call)
    with pytest.raises(DataError, match=said):
        call()
