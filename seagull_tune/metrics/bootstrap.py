"""Confidence intervals, and differences of two models, by resampling whole photographs.

Regions of one photograph resemble each other, so drawing regions one by one would make intervals too narrow. The
cluster bootstrap draws photographs with replacement and takes all regions of each (Field and Welsh, "Bootstrapping
clustered data", JRSS B 2007); the interval is the percentile one (Efron and Tibshirani, 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seagull_tune.errors import DataError

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Interval:
    """A percentile interval.

    Attributes:
        low, high: its ends.
        resamples: how many resamples had a value (a resample can be degenerate).
    """

    low: float
    high: float
    resamples: int

    def as_list(self) -> list[float]:
        """``[low, high]``, as metrics files store it."""
        return [self.low, self.high]


def _members(clusters: Sequence[Hashable] | npt.NDArray[np.generic]) -> list[Rows]:
    """Row numbers of each cluster, in the order in which the clusters first occur."""
    rows: dict[Hashable, list[int]] = {}
    for index, cluster in enumerate(clusters):
        rows.setdefault(cluster, []).append(index)
    return [np.array(members, dtype=np.intp) for members in rows.values()]


def cluster_bootstrap(
    statistic: Callable[[Rows], float | None],
    clusters: Sequence[Hashable] | npt.NDArray[np.generic],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of a statistic under resampling of clusters.

    Args:
        statistic: takes row numbers (M,), with repetitions, and returns its value there, or None where it has none:
            ``lambda rows: srcc(predicted[rows], true[rows])``.
        clusters: (N,) the photograph of each row.
        n_resamples: how many resamples.
        confidence: share of the distribution inside the interval, (0, 1).
        seed: of the resampling; the same seed gives the same interval.

    Returns:
        The interval; None with fewer than two clusters, or where more than half of the resamples have no value.

    Raises:
        DataError: ``n_resamples`` < 1 or ``confidence`` outside (0, 1).
    """
    _check(n_resamples, confidence)
    values = []
    for rows in _resamples(clusters, n_resamples, seed):
        value = _finite(statistic(rows))
        if value is not None:
            values.append(value)
    return _percentiles(np.array(values), n_resamples, confidence)


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another, on the same photographs.

    Attributes:
        value: figure of the second minus figure of the first.
        interval: of that difference.
        p_value: two-sided, (0, 1]: twice the share of resamples on the rarer side of no difference.
    """

    value: float
    interval: Interval
    p_value: float


def paired_bootstrap(
    first: Callable[[Rows], float | None],
    second: Callable[[Rows], float | None],
    clusters: Sequence[Hashable] | npt.NDArray[np.generic],
    n_resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference | None:
    """Difference of a statistic of two models under resampling of clusters, the same ones for both.

    What makes a drawn set of photographs easy makes it easy for both, and cancels in the difference: the interval is
    far narrower than those of the two figures suggest (Efron and Tibshirani, 1993, chapter 16; Koehn, "Statistical
    significance tests for machine translation evaluation", EMNLP 2004). Resamples that tie count for both sides, and
    one is added to numerator and denominator, so that the p-value is never 0 (Davison and Hinkley, 1997, section 4.2).

    Args:
        first, second: as in :func:`cluster_bootstrap`, one per model, over the same rows.
        clusters: (N,) the photograph of each row.
        n_resamples, confidence, seed: as in :func:`cluster_bootstrap`.

    Returns:
        The difference; None with fewer than two clusters, where either statistic has no value on all rows, or where
        more than half of the resamples have none.

    Raises:
        DataError: ``n_resamples`` < 1 or ``confidence`` outside (0, 1).
    """
    _check(n_resamples, confidence)

    def difference(rows: Rows) -> float | None:
        left, right = _finite(first(rows)), _finite(second(rows))
        return None if left is None or right is None else right - left

    value = difference(np.arange(len(clusters), dtype=np.intp))
    if value is None:
        return None
    drawn = (difference(rows) for rows in _resamples(clusters, n_resamples, seed))
    found = np.array([entry for entry in drawn if entry is not None])
    interval = _percentiles(found, n_resamples, confidence)
    if interval is None:
        return None
    rarer = min(int((found <= 0.0).sum()), int((found >= 0.0).sum()))
    return Difference(value, interval, min(1.0, 2.0 * (rarer + 1) / (len(found) + 1)))


def _check(n_resamples: int, confidence: float) -> None:
    if n_resamples < 1 or not 0.0 < confidence < 1.0:
        raise DataError(
            f"n_resamples is {n_resamples!r} and confidence {confidence!r}; allowed: >= 1, and between 0 and 1."
        )


def _resamples(clusters: Sequence[Hashable] | npt.NDArray[np.generic], n_resamples: int, seed: int) -> Iterator[Rows]:
    """Row numbers of each resample; none with fewer than two clusters."""
    members = _members(clusters)
    if len(members) < 2:
        return
    rng = np.random.default_rng(seed)
    for draw in rng.integers(len(members), size=(n_resamples, len(members))):
        yield np.concatenate([members[index] for index in draw])


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None


def _percentiles(values: npt.NDArray[np.float64], n_resamples: int, confidence: float) -> Interval | None:
    """The percentile interval; None where more than half of the resamples have no value."""
    if not len(values) or 2 * len(values) < n_resamples:
        return None
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return Interval(low=float(low), high=float(high), resamples=len(values))
