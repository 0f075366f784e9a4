"""A fit measured on photographs that it did not see: better than before, honest about chance, refused on too little."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seagull_tune.config.calibrate import CalibrationSettings
from seagull_tune.errors import DataError
from seagull_tune.evaluate.calibration_check import RawReading, apply, calibrate, figures_of, fit, raw_outcome
from seagull_tune.evaluate.calibration_report import abstaining_in_words, reliability_diagram, table_of
from seagull_tune.evaluate.outcomes import Reading
from seagull_tune.records import Scores
from tests.synthetic_levels import overconfident

SETTINGS = CalibrationSettings()


def test_overconfidence_goes_and_the_report_shows_it() -> None:
    found = calibrate(overconfident(3000, 2.5), SETTINGS, "weights", {"split": "validation"})
    facts = json.loads(found.calibration.model_dump_json())["facts"]
    before, after = facts["before"], facts["after"]
    for task in ("quality", "importance", "types"):
        assert before[task]["calibration_error"] > 0.1 and after[task]["calibration_error"] < 0.035, task
    assert after["quality"]["nll"] < before["quality"]["nll"] and after["quality"]["rmse"] < before["quality"]["rmse"]
    assert facts["n_regions"] == 3000 and facts["n_photographs"] == 20 and facts["split"] == "validation"
    assert facts["abstaining"]["kept"] == pytest.approx(0.9, abs=0.01)
    assert facts["abstaining"]["rmse_abstained"] > facts["abstaining"]["rmse_kept"]
    text = table_of(before, after)
    assert "calibration error" in text and len(text.splitlines()) == 1 + 6 + 6 + 1
    assert "90%" in abstaining_in_words(facts["abstaining"])
    assert reliability_diagram(found.before, found.after).startswith(b"\x89PNG")


def test_what_is_reported_is_not_what_was_fitted() -> None:
    # Labels without any relation to what is said: a fit that reports on itself would find some.
    raw = overconfident(400, 1.0, photographs=10)
    shuffled = raw.where(np.ones(400, bool))
    shuffled.truth.quality[:] = np.random.default_rng(3).permutation(raw.truth.quality)
    settings = CalibrationSettings(knots=20, prior=0.001)
    held_out = calibrate(shuffled, settings, "w", {}).calibration.facts["after"]["quality"]["rmse"]
    itself = figures_of(shuffled, apply(fit(shuffled, settings, "w"), shuffled), ["quality"])["quality"]["rmse"]
    assert itself is not None and held_out > itself


def test_one_calibration_says_the_same_of_arrays_and_of_records() -> None:
    raw = overconfident(300, 2.0)
    fitted = fit(raw, SETTINGS, "w", max_deviation=0.2)
    outcome = apply(fitted, raw)
    rows = [_scores(raw, index) for index in range(5)]
    for index, scores in enumerate(fitted.apply(rows)):
        assert scores.quality == pytest.approx(outcome.scores["quality"][index], abs=1e-9)
        assert scores.importance_levels == pytest.approx(outcome.levels["importance"][index], abs=1e-9)
        assert list(scores.types.values()) == pytest.approx(outcome.types[index], abs=1e-9)
        assert scores.quality_deviation == pytest.approx(outcome.deviation[index], abs=1e-6)


def _scores(raw: RawReading, index: int) -> Scores:
    types = {str(i): float(value) for i, value in enumerate(raw.types[index])}
    severities = {name: (1 - value, 0.0, 0.0, value, 0.0, 0.0) for name, value in types.items()}
    quality, importance = (tuple(raw.levels[task][index].tolist()) for task in ("quality", "importance"))
    return Scores(0.0, 0.0, quality, importance, severities, types)


def test_without_importance_or_types_they_stay_raw() -> None:
    raw = overconfident(400, 2.0)
    raw.truth.importance[:] = np.nan
    raw.truth.severities[:] = -1
    found = calibrate(raw, SETTINGS, "w", {})
    assert found.calibration.importance is None and found.calibration.types_temperature == 1.0
    assert set(found.calibration.facts["after"]) == {"quality"} and set(found.before) == {"quality"}
    outcome = apply(found.calibration, raw)
    assert (outcome.levels["importance"] == raw.levels["importance"]).all()
    np.testing.assert_allclose(outcome.types, raw.types, atol=1e-9)


def test_constant_predictions_are_calibrated_to_the_mean() -> None:
    raw = overconfident(400, 1.0)
    raw.levels["quality"][:] = [0.0, 0.0, 0.0, 0.1, 0.9]
    found = calibrate(raw, SETTINGS, "w", {}).calibration
    after = found.facts["after"]["quality"]
    assert after["srcc"] is None or abs(after["srcc"]) < 0.2
    assert after["calibration_error"] < 0.08 < found.facts["before"]["quality"]["calibration_error"]


def test_too_little_is_refused() -> None:
    with pytest.raises(DataError, match="199 labelled regions of 20 photographs; a calibration needs 200 of 5"):
        calibrate(overconfident(199, 1.0), SETTINGS, "w", {})
    with pytest.raises(DataError, match="of 4 photographs"):
        calibrate(overconfident(300, 1.0, photographs=4), SETTINGS, "w", {})
    raw = overconfident(300, 1.0)
    reading = Reading(quality=raw.truth.quality, types=raw.types)
    with pytest.raises(DataError, match="no level probabilities"):
        RawReading.of(reading, raw.truth)
    assert raw_outcome(raw).scores["quality"].shape == (300,)
