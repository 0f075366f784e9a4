"""Fits a calibration to raw level probabilities and the truth: temperatures, monotone maps, the point to abstain from.

Why against the nearest level: a reader takes "poor, 70 %" to mean that the label lies nearest to "poor" in seven of ten
cases, and that is what the calibration error counts. Against soft levels a model that is right about a score between
two levels would have to call either of them a coin toss.

Legend: N regions; L levels; K knots.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import LinearConstraint, minimize, minimize_scalar

from seagull_tune.config.calibrate import CalibrationSettings
from seagull_tune.levels import level_centres
from seagull_tune.metrics.calibration import LEAST, nearest_levels
from seagull_tune.model.calibration import ScoreMap, expected_levels, map_scores, tempered, with_means

_TEMPERATURES = (0.2, 10.0)
_DECIMALS = 6


def fit_score_map(levels: np.ndarray, true: np.ndarray, settings: CalibrationSettings) -> ScoreMap:
    """The map of scores that errs least in square, that of the levels' means, then the temperature under which the
    levels nearest to the labels are likeliest.

    Args:
        levels: float64 (N, L), raw probabilities.
        true: float64 (N,), labels, [0, 1].
        settings: knots, prior, slope.
    """
    raw = expected_levels(levels)
    nearest = nearest_levels(true, levels.shape[1])
    knots, values = fit_monotone(raw, true, settings)
    _, centres = fit_monotone(raw, np.array(level_centres(levels.shape[1]))[nearest], settings)
    means, hit = map_scores(raw, knots, centres), (np.arange(len(true)), nearest)
    temperature = _best_temperature(lambda t: with_means(tempered(levels, t), means)[hit])
    return ScoreMap(temperature=temperature, raw=tuple(knots), calibrated=tuple(values), means=tuple(centres))


def fit_monotone(raw: np.ndarray, true: np.ndarray, settings: CalibrationSettings) -> tuple[list[float], list[float]]:
    """A strictly rising map of [0, 1] into itself, of straight lines between a few knots, by least squares.

    Isotonic regression would follow every region, and make all regions of a stair equal; a few knots at even shares of
    the raw scores cannot. Where no scores lie, a knot stays where it changes nothing.

    Args:
        raw, true: float64 (N,), [0, 1].
        settings: knots, prior, slope.

    Returns:
        K raw scores, from 0 to 1, and what they become.
    """
    inner = np.quantile(raw, np.linspace(0.0, 1.0, settings.knots + 2)[1:-1]) if len(raw) else np.empty(0)
    knots = _apart(np.concatenate([[0.0], inner, [1.0]]).round(_DECIMALS))
    hats = np.stack([np.interp(raw, knots, row) for row in np.eye(len(knots))], axis=1)  # (N, K)
    curvature = hats.T @ hats + settings.prior * np.eye(len(knots))
    pull = hats.T @ true + settings.prior * knots
    size = max(1.0, float(len(raw)))
    steps = np.diff(np.eye(len(knots)), axis=0)  # (K - 1, K)
    found = minimize(
        lambda v: (v @ curvature @ v / 2 - pull @ v) / size,
        knots,
        jac=lambda v: (curvature @ v - pull) / size,
        bounds=[(0.0, 1.0)] * len(knots),
        constraints=[LinearConstraint(steps, settings.min_slope * np.diff(knots), np.inf)],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return knots.tolist(), _rising(found.x, knots, settings.min_slope)


def _apart(knots: np.ndarray, least: float = 0.02) -> np.ndarray:
    """Knots without those that lie closer than ``least`` to the one before, or to the end."""
    kept = [0.0]
    for knot in knots[1:-1]:
        if knot - kept[-1] >= least and 1.0 - knot >= least:
            kept.append(float(knot))
    return np.array([*kept, 1.0])


def _rising(values: np.ndarray, knots: np.ndarray, slope: float) -> list[float]:
    """What the solver found, held to its constraints to the last digit: it keeps them to a tolerance only."""
    least = slope * np.diff(knots)
    out = np.clip(values, 0.0, 1.0)
    for i in range(1, len(out)):
        out[i] = max(out[i], out[i - 1] + least[i - 1])
    out[-1] = min(out[-1], 1.0)
    for i in range(len(out) - 2, -1, -1):
        out[i] = min(out[i], out[i + 1] - least[i])
    return [float(value) for value in out.round(_DECIMALS)]


def fit_types_temperature(types: np.ndarray, present: np.ndarray) -> float:
    """The temperature of the presence of distortions under which what is there, and what is not, is likeliest.

    Args:
        types: float64 (N, T), raw probabilities that a type is there.
        present: bool (N, T), whether it is.
    """
    safe = np.clip(types, LEAST, 1.0 - LEAST)
    odds = np.log(safe) - np.log1p(-safe)
    signs = np.where(present, 1.0, -1.0)
    return _best_temperature(lambda t: 1.0 / (1.0 + np.exp(-signs * odds / t)))


def _best_temperature(likelihood: Callable[[float], np.ndarray]) -> float:
    def surprise(log_temperature: float) -> float:
        return float(-np.log(np.maximum(likelihood(float(np.exp(log_temperature))), LEAST)).mean())

    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(surprise, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x).round(_DECIMALS))


def fit_max_deviation(deviations: np.ndarray, keep: float) -> float:
    """The deviation that a share ``keep`` of the regions do not exceed.

    Args:
        deviations: float64 (N,), of the calibrated quality, of regions that nothing was fitted to.
        keep: (0, 1]; 1 keeps every deviation that can be.
    """
    return 0.5 if keep >= 1.0 else float(min(0.5, np.quantile(deviations, keep, method="higher")))


def photograph_folds(photographs: np.ndarray, folds: int) -> np.ndarray:
    """Which part each region belongs to: photographs stay whole, and every part has as many of them, to one.

    Args:
        photographs: str (N,).
        folds: parts, at most one per photograph.

    Returns:
        int64 (N,), 0..parts - 1; the names in their order are dealt out in turn, whatever the order of the rows.
    """
    names, place = np.unique(photographs, return_inverse=True)
    return np.asarray(place % min(folds, len(names)), dtype=np.int64)
