"""How well people who rated the same things agree: Krippendorff's alpha, and each rater against all others.

Ratings are sparse: not everybody rates everything. They come as three aligned arrays, one entry per rating.

Legend: N ratings, U items, P raters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seagull_tune.errors import DataError
from seagull_tune.metrics.correlation import srcc

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def krippendorff_alpha(items: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Krippendorff's alpha for interval data: 1 is full agreement, 0 what chance gives, below 0 systematic dissent.

    One minus the observed over the expected disagreement, both mean squared differences: the first between ratings of
    one item, the second between any two ratings (Krippendorff, "Computing Krippendorff's alpha-reliability", 2011).
    Items with a single rating cannot be compared and do not count.

    Args:
        items: integers (N,), 0..U - 1, what was rated.
        scores: (N,), finite numbers on an interval scale.

    Returns:
        At most 1; None where no item has two ratings, or all comparable ratings are equal.

    Raises:
        DataError: lengths differ, or a value is not finite.
    """
    item, score = _aligned(items, scores)
    if not len(item):
        return None
    pairable = np.bincount(item)[item] >= 2
    item, score = item[pairable], score[pairable]
    total = len(score)
    if total < 2 or np.ptp(score) == 0.0:
        return None
    score = score - score.mean()  # squares of large numbers would swallow their differences
    counts = np.bincount(item).astype(np.float64)
    sums, squares = np.bincount(item, score), np.bincount(item, score * score)
    rated = counts >= 2
    # The squared differences of all ordered pairs of m values add up to 2 (m sum v^2 - (sum v)^2).
    within = 2.0 * (counts * squares - sums * sums)[rated] / (counts[rated] - 1.0)
    observed = float(within.sum()) / total
    expected = 2.0 * (total * float(squares.sum()) - float(sums.sum()) ** 2) / (total * (total - 1.0))
    return 1.0 - observed / expected


def leave_one_out_srcc(raters: npt.ArrayLike, items: npt.ArrayLike, scores: npt.ArrayLike) -> list[float | None]:
    """SRCC of every rater with the mean of all others, over the items that both the rater and somebody else rated.

    Args:
        raters: integers (N,), 0..P - 1. Nobody rates an item twice.
        items: integers (N,), 0..U - 1.
        scores: (N,), finite numbers.

    Returns:
        P values, [-1, 1]; None where it does not exist (fewer than three common items, or a constant side).

    Raises:
        DataError: lengths differ, or a value is not finite.
    """
    rater, score = _aligned(raters, scores)
    item, _ = _aligned(items, scores)
    counts, sums = np.bincount(item), np.bincount(item, score)
    others = counts[item] - 1
    means = (sums[item] - score) / np.maximum(others, 1)
    order = np.argsort(rater, kind="stable")
    ends = np.cumsum(np.bincount(rater))
    found = []
    for rows in np.split(order, ends[:-1]):
        common = rows[others[rows] > 0]
        # Rounded: a sum minus one of its terms differs in the last bit, which would break ties between equal means.
        found.append(srcc(score[common], means[common].round(9)))
    return found


def _aligned(indices: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Indices, Floats]:
    index, score = np.asarray(indices, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    if index.ndim != 1 or index.shape != score.shape:
        raise DataError(f"Indices have shape {index.shape}, scores {score.shape}; allowed: both (N,).")
    bad = np.flatnonzero(~np.isfinite(score))
    if bad.size:
        raise DataError(f"The score of rating {int(bad[0])} is {score[bad[0]]}; allowed: finite numbers.")
    return index, score
