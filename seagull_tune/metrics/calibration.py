"""Whether a stated probability can be taken at its word: calibration error, its bins, Brier score, log likelihood.

Confidence is the probability of the level that is said (the most probable one); it is right where the label lies
nearest to that level. Figures do not exist for no regions: these functions then return ``None``, never NaN.

Legend: N regions; L levels; B bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seagull_tune.errors import DataError

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

BINS = 10
LEAST = 1e-7
"""Smaller probabilities count as this: what files of predictions can hold, and a surprise that stays finite."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence and truth, bin by bin: what a reliability diagram shows.

    Attributes:
        edges: float64 (B + 1,), from 0 to 1; a bin holds its upper edge.
        counts: int64 (B,), regions.
        confidence: float64 (B,), mean confidence; NaN where a bin is empty.
        accuracy: float64 (B,), share that is right; NaN where a bin is empty.
    """

    edges: Floats
    counts: npt.NDArray[np.int64]
    confidence: Floats
    accuracy: Floats

    @property
    def error(self) -> float | None:
        """Expected calibration error, [0, 1]: the mean over regions of their bin's |accuracy - confidence|.

        Source: Naeini et al. 2015; Guo et al. 2017, section 2. None without regions. A perfect predictor does not
        reach 0, since the accuracy of a bin is itself a sample: about 0.05 with 300 regions, 0.02 with 2,000.
        """
        total = int(self.counts.sum())
        if not total:
            return None
        filled = self.counts > 0
        gaps = np.abs(self.accuracy[filled] - self.confidence[filled])
        return float((gaps * self.counts[filled]).sum() / total)

    def to_rows(self) -> list[dict[str, float | int]]:
        """The bins that hold regions, as plain values."""
        return [
            {
                "from": float(self.edges[i]), "to": float(self.edges[i + 1]), "count": int(self.counts[i]),
                "confidence": float(self.confidence[i]), "accuracy": float(self.accuracy[i]),
            }
            for i in np.flatnonzero(self.counts)
        ]  # fmt: skip


def nearest_levels(scores: npt.ArrayLike, n_levels: int = 5) -> npt.NDArray[np.int64]:
    """Index of the level nearest to each score, as :func:`seagull_tune.levels.nearest_level` says it.

    Args:
        scores: (N,), [0, 1].
        n_levels: L.

    Returns:
        int64 (N,), 0..L - 1; a tie goes to the higher level.

    Raises:
        DataError: a score is outside [0, 1] or not a number.
    """
    values = np.asarray(scores, dtype=np.float64)
    bad = np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))
    if bad.size:
        raise DataError(f"The score of row {int(bad[0])} is {values[bad[0]]}; allowed: [0, 1].")
    return np.minimum((values * (n_levels - 1) + 0.5).astype(np.int64), n_levels - 1)


def top_levels(levels: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int64]]:
    """The level that is said, and the confidence in it.

    Args:
        levels: (N, L), probabilities.

    Returns:
        Confidence (N,) and index (N,) of the most probable level; of equal ones the first.
    """
    values = _distributions(levels)
    return values.max(axis=1, initial=0.0), values.argmax(axis=1)


def reliability(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = BINS) -> Reliability:
    """Sorts regions into bins of equal width by their confidence.

    Args:
        confidence: (N,), [0, 1].
        correct: bool (N,).
        bins: B.

    Raises:
        DataError: shapes differ, a confidence is outside [0, 1], or ``bins`` < 1.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct)
    if sure.ndim != 1 or sure.shape != right.shape or right.dtype != np.bool_ or bins < 1:
        raise DataError(
            f"Confidences have shape {sure.shape}, their truth {right.shape} ({right.dtype}), in {bins} bins; allowed: "
            "both (N,), the truth bool, one bin or more."
        )
    bad = np.flatnonzero(~((sure >= 0.0) & (sure <= 1.0)))
    if bad.size:
        raise DataError(f"The confidence of row {int(bad[0])} is {sure[bad[0]]}; allowed: [0, 1].")
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    full = np.where(counts > 0, counts, np.nan)
    return Reliability(
        edges=np.linspace(0.0, 1.0, bins + 1),
        counts=counts,
        confidence=np.bincount(place, sure, minlength=bins) / full,
        accuracy=np.bincount(place, right.astype(np.float64), minlength=bins) / full,
    )


def level_reliability(levels: npt.ArrayLike, scores: npt.ArrayLike, bins: int = BINS) -> Reliability:
    """Reliability of the level that is said, against the level nearest to the truth.

    Args:
        levels: (N, L), probabilities.
        scores: (N,), the true scores, [0, 1].
        bins: B.

    Raises:
        DataError: shapes differ, or a value is out of range.
    """
    confidence, said = top_levels(levels)
    true = nearest_levels(scores, np.asarray(levels).shape[1])
    if said.shape != true.shape:
        raise DataError(f"There are {len(said)} rows of probabilities and {len(true)} scores; allowed: as many.")
    return reliability(np.clip(confidence, 0.0, 1.0), said == true, bins)


def brier(levels: npt.ArrayLike, target: npt.ArrayLike) -> float | None:
    """Brier score: mean squared distance of two distributions, summed over the levels; [0, 2], 0 is perfect.

    Args:
        levels: (N, L), probabilities that are believed.
        target: (N, L), soft levels of the truth.

    Raises:
        DataError: shapes differ, or rows are no distributions.
    """
    believed, true = _both(levels, target)
    return float(((believed - true) ** 2).sum(axis=1).mean()) if len(true) else None


def negative_log_likelihood(levels: npt.ArrayLike, target: npt.ArrayLike) -> float | None:
    """Mean cross-entropy, in nats, of soft levels under what is believed; probabilities from :data:`LEAST` on.

    Args:
        levels: (N, L), probabilities that are believed.
        target: (N, L), soft levels of the truth.

    Raises:
        DataError: shapes differ, or rows are no distributions.
    """
    believed, true = _both(levels, target)
    return float(-(true * np.log(np.maximum(believed, LEAST))).sum(axis=1).mean()) if len(true) else None


def _both(levels: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
    believed, true = _distributions(levels), _distributions(target)
    if believed.shape != true.shape:
        raise DataError(f"What is believed has shape {believed.shape}, the truth {true.shape}; allowed: both (N, L).")
    return believed, true


def _distributions(values: npt.ArrayLike) -> Floats:
    """Rows (N, L) of probabilities that sum to one (to 1e-4: they may have been rounded)."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2:
        raise DataError(f"Level probabilities have shape {rows.shape}; allowed: (N, L).")
    bad = np.flatnonzero(~((rows >= 0.0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1.0) <= 1e-4)))
    if bad.size:
        raise DataError(f"Row {int(bad[0])} is {rows[bad[0]].tolist()}; allowed: probabilities that sum to 1.")
    return rows
