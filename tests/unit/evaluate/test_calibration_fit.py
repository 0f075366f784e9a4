"""The parts of a fit: temperatures that are recovered, maps that keep the order, folds that keep photographs whole."""

from __future__ import annotations

import numpy as np
import pytest

from seagull_tune.config.calibrate import CalibrationSettings
from seagull_tune.evaluate.calibration_fit import (
    fit_max_deviation,
    fit_monotone,
    fit_score_map,
    fit_types_temperature,
    photograph_folds,
)
from seagull_tune.model.calibration import expected_levels, map_scores
from tests.synthetic_levels import overconfident

SETTINGS = CalibrationSettings()


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
def test_the_temperature_is_recovered(temperature: float) -> None:
    raw = overconfident(4000, temperature)
    found = fit_score_map(raw.levels["quality"], raw.truth.quality, SETTINGS)
    assert found.temperature == pytest.approx(temperature, rel=0.12)
    types = fit_types_temperature(raw.types, raw.truth.severities > 0)
    assert types == pytest.approx(temperature, rel=0.05)


def test_the_map_follows_the_truth_and_keeps_the_order() -> None:
    rng = np.random.default_rng(1)
    raw = rng.uniform(0.2, 0.8, 2000)
    true = np.clip(raw**2 + rng.normal(0, 0.05, 2000), 0, 1)
    knots, values = fit_monotone(raw, true, SETTINGS)
    mapped = map_scores(raw, knots, values)
    assert np.abs(mapped - raw**2).mean() < 0.015
    order = np.argsort(raw)
    assert (np.diff(mapped[order]) > 0).all()
    assert (np.diff(values) >= SETTINGS.min_slope * np.diff(knots) - 1e-6).all()


def test_the_map_of_senseless_labels_still_rises_and_stays_within() -> None:
    raw = np.linspace(0.05, 0.95, 400)
    for true in (1.0 - raw, np.zeros(400), np.ones(400)):
        knots, values = fit_monotone(raw, true, SETTINGS)
        mapped = map_scores(np.linspace(0, 1, 200), knots, values)
        assert (np.diff(mapped) > 0).all() and mapped.min() >= 0.0 and mapped.max() <= 1.0


def test_where_no_score_lies_the_map_changes_nothing() -> None:
    raw = np.full(300, 0.4)  # constant predictions: one inner knot is left
    knots, values = fit_monotone(raw, np.full(300, 0.6), SETTINGS)
    assert knots == [0.0, 0.4, 1.0]
    assert values[0] == pytest.approx(0.0, abs=0.01) and values[2] == pytest.approx(1.0, abs=0.01)
    assert values[1] == pytest.approx(0.6, abs=0.01)
    assert fit_monotone(np.empty(0), np.empty(0), SETTINGS) == ([0.0, 1.0], [0.0, 1.0])


def test_labels_at_levels_make_the_score_the_mean_of_its_levels() -> None:
    raw = overconfident(500, 2.0)
    scores, levels = fit_score_map(raw.levels["quality"], raw.truth.quality, SETTINGS).apply(raw.levels["quality"])
    np.testing.assert_allclose(expected_levels(levels), scores, atol=1e-6)
    np.testing.assert_allclose(levels.sum(axis=1), 1.0, atol=1e-12)


def test_labels_off_the_levels_tell_the_score_from_the_levels() -> None:
    raw = overconfident(2000, 1.0).levels["quality"]
    true = np.full(2000, 0.08)  # certainly nearest to the lowest level, and not 0
    scores, levels = fit_score_map(raw, true, SETTINGS).apply(raw)
    assert scores.mean() == pytest.approx(0.08, abs=0.02)
    assert levels[:, 0].mean() > 0.88


def test_abstaining_keeps_the_share_that_was_asked_for() -> None:
    deviations = np.linspace(0.0, 0.4, 1001)
    threshold = fit_max_deviation(deviations, 0.9)
    assert (deviations <= threshold).mean() == pytest.approx(0.9, abs=0.002)
    assert fit_max_deviation(deviations, 1.0) == 0.5
    assert fit_max_deviation(np.full(10, 0.2), 0.5) == pytest.approx(0.2), "equal regions are kept together"


def test_photographs_stay_whole_whatever_the_order() -> None:
    names = np.array(["b", "a", "c", "a", "b", "d", "e"])
    folds = photograph_folds(names, 3)
    assert folds.tolist() == [1, 0, 2, 0, 1, 0, 1]
    assert photograph_folds(names[::-1], 3).tolist() == folds[::-1].tolist()
    assert photograph_folds(np.array(["a", "b"]), 5).max() == 1
