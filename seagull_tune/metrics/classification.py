"""How well types and severities are told: F1 over types; precision, recall and F1 per sample; accuracy of severities.

Legend: N regions, T distortion types (the order of ``levels.DISTORTION_TYPES``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seagull_tune.errors import DataError
from seagull_tune.levels import SEVERITY_NAMES

Flags = npt.NDArray[np.bool_]
Severities = npt.NDArray[np.integer]


def _flags(predicted: npt.ArrayLike, true: npt.ArrayLike) -> tuple[Flags, Flags]:
    left, right = np.asarray(predicted), np.asarray(true)
    if left.ndim != 2 or left.shape != right.shape:
        raise DataError(f"Predicted types have shape {left.shape}, true ones {right.shape}; allowed: both (N, T).")
    for name, values in (("predicted", left), ("true", right)):
        if values.dtype != np.bool_:
            raise DataError(
                f"The {name} types are {values.dtype}; allowed: bool. Compare probabilities with a threshold first."
            )
    return left, right


def macro_f1(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float | None:
    """Mean over types of the type's F1 = 2 TP / (2 TP + FP + FN).

    A type that is neither true nor predicted anywhere has no F1 and is left out of the mean.

    Args:
        predicted, true: bool (N, T).

    Returns:
        [0, 1]; None where no type occurs on either side.

    Raises:
        DataError: other shapes or element types.
    """
    left, right = _flags(predicted, true)
    hits = (left & right).sum(axis=0)
    total = left.sum(axis=0) + right.sum(axis=0)
    occurs = total > 0
    return float(np.mean(2.0 * hits[occurs] / total[occurs])) if occurs.any() else None


@dataclass(frozen=True)
class SampleScores:
    """Means over regions, [0, 1] each. The mean of F1 is not the F1 of the means."""

    precision: float
    recall: float
    f1: float


def sample_scores(predicted: npt.ArrayLike, true: npt.ArrayLike) -> SampleScores | None:
    """Precision, recall and F1 of each region's predicted set of types against its true one, averaged over regions.

    A pristine region (no true type) that is answered as pristine counts 1 in all three; answered with any type it
    counts 0. A distorted region answered as pristine counts 0.

    Args:
        predicted, true: bool (N, T).

    Returns:
        The means; None without regions.

    Raises:
        DataError: other shapes or element types.
    """
    left, right = _flags(predicted, true)
    if not len(left):
        return None
    hits = (left & right).sum(axis=1)
    named, there = left.sum(axis=1), right.sum(axis=1)
    agreed_pristine = named + there == 0

    def mean(total: npt.NDArray[np.integer], weight: float) -> float:
        return float(np.mean(np.where(agreed_pristine, 1.0, weight * hits / np.maximum(total, 1))))

    return SampleScores(precision=mean(named, 1.0), recall=mean(there, 1.0), f1=mean(named + there, 2.0))


def _severities(predicted: npt.ArrayLike, true: npt.ArrayLike) -> tuple[Severities, Severities]:
    left, right = np.asarray(predicted), np.asarray(true)
    if left.ndim != 2 or left.shape != right.shape:
        raise DataError(f"Predicted severities have shape {left.shape}, true {right.shape}; allowed: both (N, T).")
    for name, values in (("predicted", left), ("true", right)):
        if values.size == 0:
            continue
        if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= len(SEVERITY_NAMES):
            raise DataError(
                f"The {name} severities are {values.dtype} from {values.min()} to {values.max()}; "
                f"allowed: integers 0..{len(SEVERITY_NAMES) - 1}."
            )
    return left, right


def severity_accuracy(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float | None:
    """Share of (region, type) pairs whose severity is told exactly; most pairs are 0, so read it beside the F1.

    Args:
        predicted, true: integers 0..5, (N, T).

    Returns:
        [0, 1]; None without pairs.

    Raises:
        DataError: other shapes, element types or values.
    """
    left, right = _severities(predicted, true)
    return float(np.mean(left == right)) if left.size else None


def severity_f1(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float | None:
    """Macro F1 over the severities 0..5, pooled over (region, type) pairs.

    A severity that occurs on neither side is left out of the mean.

    Args:
        predicted, true: integers 0..5, (N, T).

    Returns:
        [0, 1]; None without pairs.

    Raises:
        DataError: other shapes, element types or values.
    """
    left, right = _severities(predicted, true)
    classes = np.arange(len(SEVERITY_NAMES))
    return macro_f1(left.reshape(-1, 1) == classes, right.reshape(-1, 1) == classes)


def severity_sample_scores(predicted: npt.ArrayLike, true: npt.ArrayLike) -> SampleScores | None:
    """:func:`sample_scores` of each region's set of (type, severity) pairs with a severity of 1 or more.

    This is how distortions are scored where a text lists them, as in SEAGULL: a type that is named with another
    severity is both a wrong answer and a missing one, and types that are not there, which are most, count for nothing.

    Args:
        predicted, true: integers 0..5, (N, T).

    Returns:
        The means over regions; None without regions.

    Raises:
        DataError: other shapes, element types or values.
    """
    left, right = _severities(predicted, true)
    classes = np.arange(1, len(SEVERITY_NAMES))
    count = len(left)
    said, there = (side[:, :, None] == classes for side in (left, right))  # (N, T, 5)
    width = left.shape[1] * len(classes)
    return sample_scores(said.reshape(count, width), there.reshape(count, width))
