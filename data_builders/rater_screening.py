"""Which raters are left out: those who contradict all others, and (ITU-R BT.500) those who are often far off both ways.

    1. leave-one-out: SRCC of each rater with the mean of all others, over the regions that both rated. The worst rater
       below the limit is left out, and everything is computed anew without them, until nobody is below it. Giving
       always the same score says nothing, and counts as the worst. With fewer than three raters nobody can tell who is
       wrong, so nobody is left out.
    2. outliers, among those who stay: ITU-R BT.500 (its screening of observers by a test on kurtosis), in one pass.

Legend: N ratings, U regions, P raters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seagull_tune.config.exchange import RatingRule
from seagull_tune.metrics.agreement import krippendorff_alpha, leave_one_out_srcc

MIN_RATERS = 3
"""From so many raters on, one of them can be the odd one."""

_NORMAL_KURTOSIS = (2.0, 4.0)
_FAR_IF_NORMAL, _FAR_ELSE = 2.0, 20.0**0.5  # standard deviations
_SHARE_FAR, _ONE_SIDED = 0.05, 0.3


@dataclass(frozen=True, eq=False)
class Ratings:
    """Ratings in columns: rating n is ``score[n]``, by rater ``rater[n]``, of region ``item[n]``.

    Attributes:
        raters: P names, sorted.
        items: U pairs (image, region), sorted.
        rater, item: int64 (N,), indices into ``raters`` and ``items``; no pair occurs twice.
        score: float64 (N,), as the raters gave it.
    """

    raters: tuple[str, ...]
    items: tuple[tuple[str, str], ...]
    rater: np.ndarray
    item: np.ndarray
    score: np.ndarray

    def without(self, left_out: Sequence[int]) -> Ratings:
        """The ratings of the other raters; names and indices stay."""
        kept = ~np.isin(self.rater, left_out)
        return Ratings(self.raters, self.items, self.rater[kept], self.item[kept], self.score[kept])


@dataclass(frozen=True)
class RaterFigures:
    """One rater.

    Attributes:
        name: of the rater.
        n_ratings: regions that they rated.
        srcc: with the mean of all others: when they were left out, or at the end; None where it does not exist.
        left_out: why they were left out; "" for those who were kept.
        note: what else is to be said of them.
    """

    name: str
    n_ratings: int
    srcc: float | None
    left_out: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Screening:
    """What screening found.

    Attributes:
        kept: the ratings that stay.
        raters: figures of all P raters, in their order.
        alpha_before, alpha: Krippendorff's alpha (interval) of all ratings, and of those that stay; None where it does
            not exist.
    """

    kept: Ratings
    raters: tuple[RaterFigures, ...]
    alpha_before: float | None
    alpha: float | None

    @property
    def mean_srcc(self) -> float | None:
        """Mean leave-one-out SRCC of the raters who stay, where it exists."""
        values = [figures.srcc for figures in self.raters if figures.srcc is not None and not figures.left_out]
        return float(np.mean(values)) if values else None


def screen(ratings: Ratings, rule: RatingRule) -> Screening:
    """Leave inconsistent raters out.

    Args:
        ratings: of all raters.
        rule: limits, and whether the second step is taken.

    Returns:
        What stays, and why the others do not.
    """
    reasons: dict[int, str] = {}
    said: dict[int, float | None] = {}
    while True:
        kept = ratings.without(list(reasons))
        values, common = _agreement(kept)
        judged = [p for p in range(len(values)) if common[p] >= rule.min_common]
        worst = min(judged, key=lambda p: _or_worst(values[p]), default=None)
        if worst is None or _or_worst(values[worst]) >= rule.min_srcc or len(set(kept.rater.tolist())) < MIN_RATERS:
            break
        said[worst] = values[worst]
        reasons[worst] = _why(kept, worst, values[worst], rule)
    if rule.bt500:
        far = outlying(kept)
        # Where everybody is far off, the test says nothing about anybody.
        if len(set(kept.rater.tolist())) - len(far) >= MIN_RATERS - 1:
            said |= {p: values[p] for p in far}
            reasons |= {p: f"{share:.0%} of the scores are far off, on both sides (BT.500)" for p, share in far.items()}
            kept = ratings.without(list(reasons))
            values, common = _agreement(kept)
    counts = np.bincount(ratings.rater, minlength=len(ratings.raters))
    figures = tuple(
        RaterFigures(
            name, int(counts[p]), said.get(p, values[p]), reasons.get(p, ""),
            f"shares only {common[p]} regions with others: not judged"
            if p not in reasons and common[p] < rule.min_common else "",
        )
        for p, name in enumerate(ratings.raters)
    )  # fmt: skip
    alphas = krippendorff_alpha(ratings.item, ratings.score), krippendorff_alpha(kept.item, kept.score)
    return Screening(kept, figures, *alphas)


def outlying(ratings: Ratings) -> dict[int, float]:
    """Raters that ITU-R BT.500's test rejects, and the share of their scores that is far off.

    A score is far off if it lies 2 standard deviations from the region's mean, or sqrt(20) where the scores' kurtosis
    is not between 2 and 4. Rejected is who has more than 5 % such scores and has them on both sides:
    ``|P - Q| / (P + Q)`` below 0.3 (who is far off on one side only has another scale, not bad eyes).
    """
    counts = np.bincount(ratings.item, minlength=len(ratings.items)).astype(np.float64)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(ratings.item, values, minlength=len(counts)) / np.maximum(counts, 1.0)

    deviation = ratings.score - mean(ratings.score)[ratings.item]
    variance, fourth = mean(deviation**2), mean(deviation**4)
    kurtosis = fourth / np.maximum(variance**2, 1e-300)
    normal = (kurtosis >= _NORMAL_KURTOSIS[0]) & (kurtosis <= _NORMAL_KURTOSIS[1])
    spread = np.sqrt(variance * counts / np.maximum(counts - 1.0, 1.0))
    limit = (np.where(normal, _FAR_IF_NORMAL, _FAR_ELSE) * spread)[ratings.item]
    differs = limit > 0.0
    found: dict[int, float] = {}
    for p in sorted(set(ratings.rater.tolist())):
        mine = ratings.rater == p
        above = int((mine & differs & (deviation >= limit)).sum())
        below = int((mine & differs & (deviation <= -limit)).sum())
        share = (above + below) / int(mine.sum())
        if share > _SHARE_FAR and abs(above - below) / (above + below) < _ONE_SIDED:
            found[p] = share
    return found


def _agreement(ratings: Ratings) -> tuple[list[float | None], np.ndarray]:
    """Per rater: SRCC with the others' mean, and the number of regions shared with others; both for all P raters."""
    n_raters = len(ratings.raters)
    found = leave_one_out_srcc(ratings.rater, ratings.item, ratings.score)
    shared = np.bincount(ratings.item, minlength=len(ratings.items))[ratings.item] >= 2
    common = np.bincount(ratings.rater[shared], minlength=n_raters)
    return found + [None] * (n_raters - len(found)), common


def _or_worst(value: float | None) -> float:
    return -2.0 if value is None else value


def _why(ratings: Ratings, rater: int, value: float | None, rule: RatingRule) -> str:
    if value is not None:
        return f"SRCC with the others' mean is {value:.2f}, below {rule.min_srcc:g}"
    scores = ratings.score[ratings.rater == rater]
    if np.ptp(scores) == 0.0:
        return f"always gives {scores[0]:g}"
    return "nothing can be compared: the others agree on one score for all that they share"
