"""Agreement of raters: the published worked example, the definition, and where nothing is defined."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from seagull_tune.errors import DataError
from seagull_tune.metrics.agreement import krippendorff_alpha, leave_one_out_srcc
from seagull_tune.metrics.correlation import srcc

NAN = math.nan
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
"""Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), example C: four observers, twelve units."""


def sparse(table: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raters, items = np.nonzero(np.isfinite(table))
    return raters, items, table[raters, items]


def test_alpha_of_the_published_example() -> None:
    _, items, scores = sparse(PUBLISHED)
    alpha = krippendorff_alpha(items, scores)
    assert alpha == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha(items, 1e6 + 3.0 * scores) == pytest.approx(alpha, abs=1e-9)


def test_alpha_is_its_definition() -> None:
    rng = np.random.default_rng(1)
    table = np.where(rng.random((5, 30)) < 0.7, rng.normal(size=(5, 30)) + np.arange(30) / 10, NAN)
    units = [column[np.isfinite(column)] for column in table.T]
    units = [unit for unit in units if len(unit) >= 2]
    values = np.concatenate(units)
    observed = sum(sum((a - b) ** 2 for a, b in itertools.permutations(u, 2)) / (len(u) - 1) for u in units)
    expected = sum((a - b) ** 2 for a, b in itertools.permutations(values, 2)) / (len(values) - 1)
    _, items, scores = sparse(table)
    assert krippendorff_alpha(items, scores) == pytest.approx(1.0 - observed / expected, abs=1e-9)


def test_where_alpha_is_not_defined() -> None:
    assert krippendorff_alpha([], []) is None
    assert krippendorff_alpha([0, 1, 2], [1.0, 2.0, 3.0]) is None
    assert krippendorff_alpha([0, 0, 1, 1], [2.0, 2.0, 2.0, 2.0]) is None
    assert krippendorff_alpha([0, 0, 1, 1], [1.0, 1.0, 2.0, 2.0]) == 1.0
    assert krippendorff_alpha([0, 0, 1, 1], [1.0, 2.0, 2.0, 1.0]) == pytest.approx(-0.5, abs=1e-12)


def test_each_rater_against_all_others() -> None:
    raters, items, scores = sparse(PUBLISHED)
    found = leave_one_out_srcc(raters, items, scores)
    assert len(found) == 4
    for rater in range(4):
        others = np.delete(PUBLISHED, rater, axis=0)
        common = np.isfinite(PUBLISHED[rater]) & np.isfinite(others).any(axis=0)
        expected = srcc(PUBLISHED[rater, common], np.nanmean(others[:, common], axis=0).round(9))
        assert found[rater] == pytest.approx(expected, abs=1e-9)
    assert leave_one_out_srcc([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [1, 1, 1, 1, 2, 3]) == [None, None]


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="rating 1 is nan"):
        krippendorff_alpha([0, 0], [1.0, NAN])
    with pytest.raises(DataError, match="shape"):
        leave_one_out_srcc([0, 0], [0, 1], [1.0])
