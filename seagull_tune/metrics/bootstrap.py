"""Confidence intervals that resample whole photographs.

Regions of one photograph resemble each other, so drawing regions one by one would make intervals too narrow. The
cluster bootstrap draws photographs with replacement and takes all regions of each (Field and Welsh, "Bootstrapping
clustered data", JRSS B 2007); the interval is the percentile one (Efron and Tibshirani, 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
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
    if n_resamples < 1 or not 0.0 < confidence < 1.0:
        raise DataError(
            f"n_resamples is {n_resamples!r} and confidence {confidence!r}; allowed: >= 1, and between 0 and 1."
        )
    members = _members(clusters)
    if len(members) < 2:
        return None
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(members), size=(n_resamples, len(members)))
    values = []
    for draw in draws:
        value = statistic(np.concatenate([members[index] for index in draw]))
        if value is not None and np.isfinite(value):
            values.append(value)
    if 2 * len(values) < n_resamples:
        return None
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(values, [tail, 100.0 - tail])
    return Interval(low=float(low), high=float(high), resamples=len(values))
