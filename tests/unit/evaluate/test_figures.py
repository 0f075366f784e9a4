"""Figures: known values, and null with a note where there is none."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.evaluate.figures import Notes, figures_of, within_photographs
from seagull_tune.evaluate.outcomes import Reading, Truth

SETTINGS = EvaluationSettings(bootstrap_draws=200)


def _truth(n_photographs: int = 6, per_photograph: int = 10) -> Truth:
    rng = np.random.default_rng(7)
    count = n_photographs * per_photograph
    importance = rng.random(count)
    importance[::5] = np.nan
    severities = rng.integers(0, 6, (count, 8)) * (rng.random((count, 8)) < 0.3)
    names = np.repeat([f"p{i}" for i in range(n_photographs)], per_photograph)
    return Truth(names, rng.random(count), importance, severities, rng.random(count))


def _perfect(truth: Truth) -> Reading:
    types = (truth.severities > 0).astype(float)
    return Reading(truth.quality, np.nan_to_num(truth.importance), types, truth.severities)


def test_a_perfect_reader() -> None:
    truth, notes = _truth(), Notes()
    found = figures_of(_perfect(truth), truth, SETTINGS, notes, "")
    for name in ("quality", "importance"):
        score = found[name]
        for figure in ("srcc", "plcc", "krcc", "within_image_srcc"):
            assert score[figure] == pytest.approx(1.0)
        assert score["plcc_logistic"] == pytest.approx(1.0, abs=1e-3)
        assert score["rmse"] == 0.0 and score["ci95"] == [1.0, 1.0] and score["rmse_ci95"] == [0.0, 0.0]
    assert found["quality"]["n_regions"] == 60 and found["importance"]["n_regions"] == 48
    assert found["types"]["macro_f1"] == found["types"]["sample_f1"] == found["severity"]["accuracy"] == 1.0
    assert found["severity"]["f1"] == 1.0 and set(found["types"]["f1"].values()) == {1.0}
    assert notes.lines == []


def test_a_noisy_reader_lies_inside_its_intervals() -> None:
    truth = _truth(20, 12)
    noisy = np.clip(truth.quality + np.random.default_rng(1).normal(0, 0.2, len(truth)), 0, 1)
    score = figures_of(Reading(quality=noisy), truth, SETTINGS, Notes(), "")["quality"]
    for figure, interval in (("srcc", "ci95"), ("plcc", "plcc_ci95"), ("rmse", "rmse_ci95")):
        low, high = score[interval]
        assert low < score[figure] < high and high - low < 0.2
    low, high = score["within_image_ci95"]
    assert low <= score["within_image_srcc"] <= high
    assert score["n_within"] == 20


def test_only_what_is_spoken_of_has_a_key() -> None:
    truth = _truth()
    assert set(figures_of(Reading(importance=truth.area), truth, SETTINGS, Notes(), "x")) == {"importance"}


def test_constant_predictions_are_null_with_a_note() -> None:
    truth, notes = _truth(), Notes()
    score = figures_of(Reading(quality=np.full(60, 0.5)), truth, SETTINGS, notes, "baselines.trivial")["quality"]
    undefined = ("srcc", "plcc", "plcc_logistic", "krcc", "ci95", "plcc_ci95", "within_image_srcc", "within_image_ci95")
    assert [score[name] for name in undefined] == [None] * len(undefined)
    assert score["rmse"] > 0
    assert notes.lines == ["baselines.trivial.quality: correlations are not defined, all predictions are 0.5"]
    json.dumps(score, allow_nan=False)


def test_one_region_is_null_with_a_note() -> None:
    notes = Notes()
    truth = Truth(np.array(["p"]), np.array([0.4]), np.array([np.nan]), np.zeros((1, 8), np.int64), np.array([0.2]))
    reading = Reading(np.array([0.5]), np.array([0.1]), np.zeros((1, 8)), np.zeros((1, 8), np.int64))
    found = figures_of(reading, truth, SETTINGS, notes, "")
    assert found["quality"]["srcc"] is None and found["quality"]["rmse"] == pytest.approx(0.1)
    assert found["importance"]["rmse"] is None and found["importance"]["n_regions"] == 0
    assert found["types"]["macro_f1"] is None and found["types"]["sample_f1"] == 1.0
    assert [line.split(":")[0] for line in notes.lines] == ["quality", "importance"]
    assert "1 regions" in notes.lines[0] and "0 regions" in notes.lines[1]
    json.dumps(found, allow_nan=False)


def test_one_photograph_has_figures_but_no_intervals() -> None:
    truth, notes = _truth(1, 20), Notes()
    score = figures_of(Reading(quality=truth.quality**2), truth, SETTINGS, notes, "")["quality"]
    assert score["srcc"] == pytest.approx(1.0) and score["ci95"] is None and score["within_image_ci95"] is None
    assert notes.lines == ["quality: no intervals, all regions are of one photograph"]


def test_no_draws_no_intervals() -> None:
    truth = _truth()
    settings = EvaluationSettings(bootstrap_draws=0)
    assert figures_of(_perfect(truth), truth, settings, Notes(), "")["quality"]["ci95"] is None


def test_within_photographs_is_one_value_per_photograph() -> None:
    photographs = np.array(["a"] * 4 + ["b"] * 4 + ["c"] * 4)
    true = np.array([0.1, 0.2, 0.3, 0.4] * 2 + [0.5] * 4)
    predicted = np.array([1, 2, 3, 4, 4, 3, 2, 1, 1, 2, 3, 4]) / 4
    assert within_photographs(predicted, true, photographs) == pytest.approx([1.0, -1.0])
    assert within_photographs(np.r_[np.ones(4), predicted[4:]], true, photographs) == pytest.approx([0.0, -1.0])


def test_type_probability_of_one_half_counts() -> None:
    truth = _truth(2, 3)
    types = np.where(truth.severities > 0, 0.5, 0.4999)
    assert figures_of(Reading(types=types), truth, SETTINGS, Notes(), "")["types"]["macro_f1"] == 1.0
