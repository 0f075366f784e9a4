"""How well predicted scores follow the true ones: SRCC, PLCC (raw and after a logistic), KRCC, RMSE.

A correlation does not exist for fewer than three pairs or where one side is constant; these functions then return
``None`` (never NaN, never a made-up 0), so that a report can say "not defined".

Legend: N samples. Every array argument is (N,) of finite numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from seagull_tune.errors import DataError

Scores = npt.ArrayLike
Floats = npt.NDArray[np.float64]

MIN_SAMPLES = 3
"""Fewer pairs than this have no correlation worth the name."""


def _pair(predicted: Scores, true: Scores) -> tuple[Floats, Floats]:
    """Both sides as float64 (N,).

    Raises:
        DataError: different lengths, not one-dimensional, or a value that is not finite.
    """
    left, right = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape:
        raise DataError(f"Predicted scores have shape {left.shape}, true ones {right.shape}; allowed: both (N,).")
    for name, values in (("predicted", left), ("true", right)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise DataError(
                f"The {name} score of row {int(bad[0])} is {values[bad[0]]}; allowed: finite numbers. "
                "Leave rows without a score out on both sides."
            )
    return left, right


def _degenerate(left: Floats, right: Floats) -> bool:
    return left.size < MIN_SAMPLES or bool(np.ptp(left) == 0.0 or np.ptp(right) == 0.0)


def _pearson(left: Floats, right: Floats) -> float | None:
    a, b = left - left.mean(), right - right.mean()
    # Scaled first, so that squares of very small or very large spreads neither vanish nor overflow.
    scale_a, scale_b = np.abs(a).max(), np.abs(b).max()
    if scale_a == 0.0 or scale_b == 0.0:
        return None
    a, b = a / scale_a, b / scale_b
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def plcc(predicted: Scores, true: Scores) -> float | None:
    """Pearson's linear correlation, [-1, 1]; None for N < 3 or a constant side.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    return None if _degenerate(left, right) else _pearson(left, right)


def srcc(predicted: Scores, true: Scores) -> float | None:
    """Spearman's rank correlation with mean ranks for ties, [-1, 1]; None for N < 3 or a constant side.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    if _degenerate(left, right):
        return None
    return _pearson(stats.rankdata(left), stats.rankdata(right))


def krcc(predicted: Scores, true: Scores) -> float | None:
    """Kendall's tau-b, [-1, 1]; None for N < 3 or a constant side.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    return None if _degenerate(left, right) else float(stats.kendalltau(left, right).statistic)


def rmse(predicted: Scores, true: Scores) -> float | None:
    """Root of the mean squared difference, >= 0, in the unit of the scores; None without samples.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    return float(np.sqrt(np.mean((left - right) ** 2))) if left.size else None


def _logistic(x: Floats, top: float, bottom: float, middle: float, width: float) -> Floats:
    """The four-parameter logistic; ``width`` enters as its absolute value."""
    exponent = np.clip(-(x - middle) / max(abs(width), 1e-6), -60.0, 60.0)
    return np.asarray((top - bottom) / (1.0 + np.exp(exponent)) + bottom)


@dataclass(frozen=True)
class LogisticFit:
    """A fitted four-parameter logistic of predictions.

    Attributes:
        top, bottom, middle, width: its parameters, on the scale of ``(x - centre) / scale``.
        centre, scale: standardise the predictions.
        plcc: Pearson's correlation of the mapped predictions with the true values, with the sign of the relation.
    """

    top: float
    bottom: float
    middle: float
    width: float
    centre: float
    scale: float
    plcc: float

    def __call__(self, predicted: Scores) -> Floats:
        """Predictions (N,) on the scale of the true values."""
        x = (np.asarray(predicted, dtype=np.float64) - self.centre) / self.scale
        return _logistic(x, self.top, self.bottom, self.middle, self.width)


def logistic_fit(predicted: Scores, true: Scores) -> LogisticFit | None:
    """The four-parameter logistic that maps predictions to true values best, in the sense of least squares.

    The mapping is the monotone one of the Video Quality Experts Group ("Final report ... FR-TV phase II", 2003):
    ``(b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2``, fitted to the standardised predictions from the data's own range,
    median and spread.

    Returns:
        The fit; None for N < 5 (four parameters fit anything smaller), a constant side, or where it does not converge.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    if left.size < 5 or _degenerate(left, right):
        return None
    raw = _pearson(left, right)
    # Scaled by the largest deviation first: a spread near the smallest float would vanish when squared.
    centre = float(left.mean())
    peak = float(np.abs(left - centre).max())
    if raw is None or peak == 0.0:
        return None
    spread = float(((left - centre) / peak).std())
    x = (left - centre) / peak / spread
    low, high = float(right.min()), float(right.max())
    top, bottom = (high, low) if raw >= 0.0 else (low, high)
    best: LogisticFit | None = None
    for middle, width in ((float(np.median(x)), 1.0), (0.0, 0.3)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optimize.OptimizeWarning)
            try:
                found, _ = optimize.curve_fit(_logistic, x, right, p0=(top, bottom, middle, width), maxfev=4000)
            except RuntimeError:  # scipy's word for "no convergence": the next start, or no fit, stands
                continue
        mapped = _pearson(_logistic(x, *found), right)
        if mapped is not None and (best is None or mapped > abs(best.plcc)):
            b1, b2, b3, b4 = (float(value) for value in found)
            best = LogisticFit(b1, b2, b3, b4, centre, peak * spread, float(np.copysign(mapped, b1 - b2)))
    return best


def plcc_logistic(predicted: Scores, true: Scores) -> float | None:
    """Pearson's correlation after the predictions went through :func:`logistic_fit`.

    A falling relation keeps its minus sign. Where there is no fit, or it explains less than the straight line (which is
    a limit of the logistic), the raw correlation stands, so the figure is never nearer to zero than :func:`plcc`.

    Returns:
        [-1, 1]; None for N < 5 or a constant side.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    if left.size < 5 or _degenerate(left, right):
        return None
    raw, fit = _pearson(left, right), logistic_fit(left, right)
    return fit.plcc if raw is not None and fit is not None and abs(fit.plcc) > abs(raw) else raw


def within_group_srcc(
    predicted: Scores, true: Scores, groups: Sequence[object] | npt.NDArray[np.generic], min_distinct: int = 3
) -> float | None:
    """Median of the SRCC inside each group (photograph), over the groups where it exists.

    Args:
        predicted, true: (N,).
        groups: (N,) the photograph, or the rendered picture, of each region.
        min_distinct: groups with fewer distinct true values are left out (two points always correlate fully).
            A group whose predictions are constant counts as 0: it was asked to order regions and did not.

    Returns:
        [-1, 1], or None where no group qualifies.

    Raises:
        DataError: lengths differ or a value is not finite.
    """
    left, right = _pair(predicted, true)
    if len(groups) != left.size:
        raise DataError(f"{len(groups)} groups for {left.size} samples; allowed: one group per sample.")
    members: dict[object, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    values = []
    for rows in members.values():
        if np.unique(right[rows]).size < max(min_distinct, MIN_SAMPLES):
            continue
        value = srcc(left[rows], right[rows])
        values.append(0.0 if value is None else value)
    return float(np.median(values)) if values else None
