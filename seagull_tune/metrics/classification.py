"""How well types and severities are told: F1 over types, F1 per sample, severity accuracy and F1.

Legend: N regions, T distortion types (the order of ``levels.DISTORTION_TYPES``).
"""

from __future__ import annotations

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


def sample_f1(predicted: npt.ArrayLike, true: npt.ArrayLike) -> float | None:
    """Mean over regions of the F1 between the region's predicted and true sets of types.

    A pristine region (no true type) that is answered as pristine counts 1; answered with any type it counts 0.

    Args:
        predicted, true: bool (N, T).

    Returns:
        [0, 1]; None without regions.

    Raises:
        DataError: other shapes or element types.
    """
    left, right = _flags(predicted, true)
    if not len(left):
        return None
    hits = (left & right).sum(axis=1)
    total = left.sum(axis=1) + right.sum(axis=1)
    return float(np.mean(np.where(total > 0, 2.0 * hits / np.maximum(total, 1), 1.0)))


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
