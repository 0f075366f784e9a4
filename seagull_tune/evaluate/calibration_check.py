"""A calibration, fitted to readings and measured by cross-validation: what is reported of a photograph comes from a fit
that saw none of its regions, and what is stored is fitted on all.

Legend: N regions; L levels; T distortion types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from seagull_tune.config.calibrate import CalibrationSettings
from seagull_tune.errors import DataError
from seagull_tune.evaluate.calibration_fit import (
    fit_max_deviation,
    fit_score_map,
    fit_types_temperature,
    photograph_folds,
)
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.levels import level_centres, soft_levels
from seagull_tune.metrics.calibration import (
    Reliability,
    brier,
    level_reliability,
    negative_log_likelihood,
    reliability,
)
from seagull_tune.metrics.correlation import rmse, srcc
from seagull_tune.model.calibration import Calibration, ScoreMap, expected_levels

TASKS = ("quality", "importance")
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class RawReading:
    """What a model says of N regions before calibration, and what is true of them.

    Attributes:
        levels: per task, float64 (N, L).
        types: float64 (N, T), the probability that a type is there.
        truth: of the same regions.
    """

    levels: Mapping[str, np.ndarray]
    types: np.ndarray
    truth: Truth

    @classmethod
    def of(cls, reading: Reading, truth: Truth) -> RawReading:
        """From a reading that holds level probabilities.

        Raises:
            DataError: it does not.
        """
        if reading.quality_levels is None or reading.importance_levels is None or reading.types is None:
            raise DataError("The predictions hold no level probabilities; remove their file to read the regions again.")
        return cls({"quality": reading.quality_levels, "importance": reading.importance_levels}, reading.types, truth)

    def true(self, task: str) -> np.ndarray:
        """Labels of a task, float64 (N,); NaN where there is none."""
        return self.truth.quality if task == "quality" else self.truth.importance

    def where(self, rows: np.ndarray) -> RawReading:
        """The regions of a mask bool (N,)."""
        levels = {task: values[rows] for task, values in self.levels.items()}
        return RawReading(levels, self.types[rows], self.truth.rows(rows))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What is said of N regions, raw or calibrated: scores and levels per task, types (N, T)."""

    scores: Mapping[str, np.ndarray]
    levels: Mapping[str, np.ndarray]
    types: np.ndarray

    @property
    def deviation(self) -> np.ndarray:
        """Standard deviation of the quality that is believed, float64 (N,)."""
        levels = self.levels["quality"]
        centres = np.array(level_centres(levels.shape[1]))
        return np.sqrt(np.maximum(levels @ centres**2 - (levels @ centres) ** 2, 0.0))


@dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration, and the errors without and with one on photographs that it was not fitted to.

    Attributes:
        calibration: fitted on all regions.
        before, after: reliability of the levels, per task that was calibrated.
    """

    calibration: Calibration
    before: Mapping[str, Reliability]
    after: Mapping[str, Reliability]


def refuse_few(n_regions: int, n_photographs: int, settings: CalibrationSettings, where: str) -> None:
    """Refuses data that a calibration would only echo.

    Raises:
        DataError: fewer regions or photographs than ``settings`` want.
    """
    if n_regions < settings.min_regions or n_photographs < settings.min_photographs:
        raise DataError(
            f"{where}: {n_regions} labelled regions of {n_photographs} photographs; a calibration needs "
            f"{settings.min_regions} of {settings.min_photographs}. Build a larger held-out set (seagull-tune build "
            "--images OTHER_PHOTOGRAPHS --set split.all_into=validation), or lower calibration.min_regions and "
            "calibration.min_photographs with --set."
        )


def calibrate(raw: RawReading, settings: CalibrationSettings, digest: str, facts: Mapping[str, Any]) -> Calibrated:
    """Fits a calibration to a raw reading, and measures it by cross-validation over photographs.

    Args:
        raw: of N regions.
        settings: how.
        digest: of the weights that it will belong to.
        facts: on what; the figures are added.

    Raises:
        DataError: too few regions or photographs.
    """
    names = raw.truth.photographs
    refuse_few(len(names), len(set(names.tolist())), settings, "Calibration")
    before, after = raw_outcome(raw), _left_out(raw, settings)
    threshold = fit_max_deviation(after.deviation, settings.keep)
    fitted = fit(raw, settings, digest, threshold)
    tasks = [task for task in TASKS if getattr(fitted, task) is not None]
    figures = {
        "n_regions": len(names), "n_photographs": len(set(names.tolist())), "folds": settings.folds,
        "before": figures_of(raw, before, tasks), "after": figures_of(raw, after, tasks),
        "abstaining": abstaining_figures(raw, after, threshold),
    }  # fmt: skip
    stored = fitted.model_copy(update={"facts": {**facts, **figures}})
    return Calibrated(stored, reliabilities(raw, before, tasks), reliabilities(raw, after, tasks))


def fit(raw: RawReading, settings: CalibrationSettings, digest: str, max_deviation: float = 0.5) -> Calibration:
    """A calibration of all regions of a reading."""
    maps: dict[str, ScoreMap | None] = {}
    for task in TASKS:
        scored = np.isfinite(raw.true(task))
        enough = int(scored.sum()) >= settings.min_regions // 2
        maps[task] = fit_score_map(raw.levels[task][scored], raw.true(task)[scored], settings) if enough else None
    quality = maps["quality"]
    if quality is None:
        raise DataError("No region has a quality to calibrate against.")
    known = raw.truth.diagnosed
    temperature = fit_types_temperature(raw.types[known], raw.truth.severities[known] > 0) if known.any() else 1.0
    return Calibration(
        model=digest, quality=quality, importance=maps["importance"], types_temperature=temperature,
        max_deviation=max_deviation, min_pixels=settings.min_pixels,
    )  # fmt: skip


def apply(calibration: Calibration, raw: RawReading) -> Outcome:
    """What a calibrated model says, region by region as :meth:`Calibration.apply` does it."""
    scores, levels = {}, {}
    for task in TASKS:
        chosen: ScoreMap | None = getattr(calibration, task)
        values = raw.levels[task]
        scores[task], levels[task] = (expected_levels(values), values) if chosen is None else chosen.apply(values)
    safe = np.clip(raw.types, 1e-12, 1.0 - 1e-12)
    odds = (np.log(safe) - np.log1p(-safe)) / calibration.types_temperature
    return Outcome(scores, levels, 1.0 / (1.0 + np.exp(-odds)))


def raw_outcome(raw: RawReading) -> Outcome:
    """What is said without a calibration."""
    return Outcome({task: expected_levels(levels) for task, levels in raw.levels.items()}, raw.levels, raw.types)


def _left_out(raw: RawReading, settings: CalibrationSettings) -> Outcome:
    """What is said of every photograph by a fit that did not see it."""
    start = raw_outcome(raw)
    scores = {task: values.copy() for task, values in start.scores.items()}
    levels = {task: np.array(values) for task, values in start.levels.items()}
    types = np.array(start.types)
    folds = photograph_folds(raw.truth.photographs, settings.folds)
    for fold in np.unique(folds):
        rows = folds == fold
        outcome = apply(fit(raw.where(~rows), settings, "left out"), raw.where(rows))
        for task in TASKS:
            scores[task][rows], levels[task][rows] = outcome.scores[task], outcome.levels[task]
        types[rows] = outcome.types
    return Outcome(scores, levels, types)


def reliabilities(raw: RawReading, outcome: Outcome, tasks: list[str]) -> dict[str, Reliability]:
    """Reliability of the level that is said, per task, over the regions that have a label."""
    found = {}
    for task in tasks:
        scored = np.isfinite(raw.true(task))
        found[task] = level_reliability(outcome.levels[task][scored], raw.true(task)[scored])
    return found


def figures_of(raw: RawReading, outcome: Outcome, tasks: list[str]) -> dict[str, dict[str, float | None]]:
    """Errors of what is said: per task and for the types."""
    found: dict[str, dict[str, float | None]] = {}
    for task, bins in reliabilities(raw, outcome, tasks).items():
        scored = np.isfinite(raw.true(task))
        true, levels = raw.true(task)[scored], outcome.levels[task][scored]
        target = np.array([soft_levels(float(value), levels.shape[1]) for value in true])
        found[task] = _rounded(
            {
                "calibration_error": bins.error,
                "accuracy": float((bins.accuracy[bins.counts > 0] * bins.counts[bins.counts > 0]).sum() / len(true)),
                "rmse": rmse(outcome.scores[task][scored], true), "srcc": srcc(outcome.scores[task][scored], true),
                "brier": brier(levels, target), "nll": negative_log_likelihood(levels, target),
            }
        )  # fmt: skip
    known = raw.truth.diagnosed
    if known.any():
        present, said = raw.truth.severities[known] > 0, outcome.types[known]
        sure = np.maximum(said, 1.0 - said).ravel()
        found["types"] = _rounded({"calibration_error": reliability(sure, ((said >= 0.5) == present).ravel()).error})
    return found


def abstaining_figures(raw: RawReading, outcome: Outcome, max_deviation: float) -> dict[str, float | None]:
    """What abstaining by the deviation is worth: the error of the regions that are relied on, and of the others."""
    kept = outcome.deviation <= max_deviation
    error = outcome.scores["quality"] - raw.truth.quality
    return _rounded(
        {
            "max_deviation": max_deviation,
            "kept": float(kept.mean()),
            "rmse_kept": float(np.sqrt(np.mean(error[kept] ** 2))) if kept.any() else None,
            "rmse_abstained": float(np.sqrt(np.mean(error[~kept] ** 2))) if (~kept).any() else None,
        }
    )


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, _DIGITS) for name, value in values.items()}
