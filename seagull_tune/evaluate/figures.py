"""From readings and truth to the figures of a measurement. A figure that is not defined is null, and a note says why.

Legend: N regions; T distortion types.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seagull_tune.config.evaluate import FIGURES, EvaluationSettings
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.levels import DISTORTION_TYPES, PRESENT
from seagull_tune.metrics.bootstrap import Rows, cluster_bootstrap
from seagull_tune.metrics.classification import (
    SampleScores,
    macro_f1,
    sample_scores,
    severity_accuracy,
    severity_f1,
    severity_sample_scores,
)
from seagull_tune.metrics.correlation import (
    MIN_SAMPLES,
    krcc,
    plcc,
    plcc_logistic,
    rmse,
    srcc,
    within_group_srcc,
)

Metrics = dict[str, Any]
"""Nested figures: ``metrics["quality"]["srcc"]`` is what the documentation calls ``quality.srcc``."""

_DIGITS = 6


@dataclass
class Notes:
    """Sentences about figures that are not defined."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Adds a sentence."""
        self.lines.append(line)


def figures_of(
    reading: Reading,
    truth: Truth,
    settings: EvaluationSettings,
    notes: Notes,
    name: str,
    wanted: Collection[str] = FIGURES,
) -> Metrics:
    """The figures of one reader; what it does not speak of has no key.

    Args:
        reading: of N regions.
        truth: of the same N regions.
        settings: draws and seed of the intervals.
        notes: takes a line for everything that is not defined.
        name: dotted name of the reader, for the notes; "" for the model itself.
        wanted: which of ``config.evaluate.FIGURES``.
    """
    prefix = f"{name}." if name else ""
    out: Metrics = {}
    if reading.quality is not None and "quality" in wanted:
        everything = np.ones(len(truth), bool)
        out["quality"] = score_figures(
            reading.quality, truth.quality, truth, everything, settings, notes, f"{prefix}quality"
        ) | _rater_figures(reading.quality, truth)
    if reading.importance is not None and "importance" in wanted:
        scored = np.isfinite(truth.importance)
        out["importance"] = score_figures(
            reading.importance, truth.importance, truth, scored, settings, notes, f"{prefix}importance"
        )
    if reading.types is not None and "types" in wanted:
        out["types"] = _type_figures(reading.types >= PRESENT, truth, settings)
    if reading.severities is not None and "severity" in wanted:
        out["severity"] = _severity_figures(reading.severities, truth)
    if {"types", "severity"} & set(out) and not truth.diagnosed.any():
        notes.add(f"{prefix}types, {prefix}severity: not defined, of no region it is known which distortions it has")
    return out


def score_figures(
    predicted: np.ndarray,
    true: np.ndarray,
    truth: Truth,
    scored: np.ndarray,
    settings: EvaluationSettings,
    notes: Notes,
    name: str,
) -> Metrics:
    """Figures of a score in [0, 1].

    Args:
        predicted, true: (N,).
        truth: whose photographs the intervals resample, and within which the regions are ranked.
        scored: bool (N,), the regions that count.
        settings, notes, name: as in :func:`figures_of`.
    """
    left, right, groups = predicted[scored], true[scored], truth.photographs[scored]
    problem = undefined(left, right)
    if problem:
        notes.add(f"{name}: correlations are not defined, {problem}")

    def interval(statistic: Callable[[np.ndarray, np.ndarray], float | None]) -> list[float] | None:
        return _interval(lambda rows: statistic(left[rows], right[rows]), groups, settings)

    within = np.empty(0) if problem else within_photographs(left, right, groups)
    if not problem and len(set(groups.tolist())) < 2:
        notes.add(f"{name}: no intervals, all regions are of one photograph")
    return {
        "srcc": rounded(srcc(left, right)),
        "plcc": rounded(plcc(left, right)),
        "plcc_logistic": rounded(plcc_logistic(left, right)),
        "krcc": rounded(krcc(left, right)),
        "rmse": rounded(rmse(left, right)),
        "ci95": None if problem else interval(srcc),
        "plcc_ci95": None if problem else interval(plcc),
        "rmse_ci95": interval(rmse),
        "within_image_srcc": rounded(float(np.median(within))) if len(within) else None,
        "within_image_ci95": _interval(lambda rows: float(np.median(within[rows])), np.arange(len(within)), settings),
        "n_within": len(within),
        "n_regions": int(scored.sum()),
    }


def _rater_figures(predicted: np.ndarray, truth: Truth) -> Metrics:
    """Where people rated: how far they disagreed, and how often a prediction lies as near to their mean as they do."""
    deviation = truth.deviation
    if deviation is None or not np.isfinite(deviation).any():
        return {}
    known = np.isfinite(deviation)
    near = np.abs(predicted - truth.quality)[known] <= deviation[known]
    return {
        "rater_deviation": rounded(float(deviation[known].mean())),
        "within_rater_deviation": rounded(float(near.mean())),
        "n_rated": int(known.sum()),
    }


def within_photographs(predicted: np.ndarray, true: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """SRCC inside each photograph (all regions of all its renderings), float64 (P,), where it is defined.

    A photograph with fewer than three different true values is left out; one whose predictions are constant
    counts as 0 (:func:`seagull_tune.metrics.correlation.within_group_srcc`).
    """
    found = []
    for name in dict.fromkeys(photographs.tolist()):
        rows = photographs == name
        found.append(within_group_srcc(predicted[rows], true[rows], photographs[rows]))
    return np.array([value for value in found if value is not None])


def undefined(predicted: np.ndarray, true: np.ndarray) -> str:
    """Why correlations do not exist; "" where they do."""
    if len(predicted) < MIN_SAMPLES:
        return f"there are {len(predicted)} regions; {MIN_SAMPLES} are needed"
    for side, values in (("predictions", predicted), ("true values", true)):
        if np.ptp(values) == 0:
            return f"all {side} are {values[0]:.4g}"
    return ""


def _interval(
    statistic: Callable[[Rows], float | None], clusters: np.ndarray, settings: EvaluationSettings
) -> list[float] | None:
    if not settings.bootstrap_draws or not len(clusters):
        return None
    found = cluster_bootstrap(statistic, clusters, settings.bootstrap_draws, seed=settings.seed)
    return None if found is None else [round(end, _DIGITS) for end in found.as_list()]


def _type_figures(named: np.ndarray, truth: Truth, settings: EvaluationSettings) -> Metrics:
    """Figures of types named, bool (N, T)."""
    known = truth.diagnosed
    named, present, photographs = named[known], truth.severities[known] > 0, truth.photographs[known]
    return {
        "macro_f1": rounded(macro_f1(named, present)),
        **sample_figures(sample_scores(named, present)),
        "macro_f1_ci95": _interval(lambda rows: macro_f1(named[rows], present[rows]), photographs, settings),
        "f1": {
            name: rounded(macro_f1(named[:, [column]], present[:, [column]]))
            for column, name in enumerate(DISTORTION_TYPES)
        },
    }


def _severity_figures(said: np.ndarray, truth: Truth) -> Metrics:
    """Figures of severities said, int (N, T), pooled over (region, type) pairs."""
    said, true = said[truth.diagnosed], truth.severities[truth.diagnosed]
    return {
        "accuracy": rounded(severity_accuracy(said, true)),
        "f1": rounded(severity_f1(said, true)),
        **sample_figures(severity_sample_scores(said, true)),
    }


def sample_figures(found: SampleScores | None) -> Metrics:
    """Sample-average precision, recall and F1 under the keys of metrics files; null without regions."""
    return {
        "sample_precision": rounded(found.precision if found else None),
        "sample_recall": rounded(found.recall if found else None),
        "sample_f1": rounded(found.f1 if found else None),
    }


def rounded(value: float | None) -> float | None:
    """As metrics files store it."""
    return None if value is None else round(value, _DIGITS)
