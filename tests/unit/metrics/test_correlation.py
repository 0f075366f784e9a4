"""Correlations against scipy, against values worked out by hand, and on input where they do not exist."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from seagull_tune.errors import DataError
from seagull_tune.metrics.correlation import krcc, logistic_fit, plcc, plcc_logistic, rmse, srcc, within_group_srcc

Correlation = Callable[[npt.ArrayLike, npt.ArrayLike], float | None]

CORRELATIONS: tuple[Correlation, ...] = (srcc, plcc, krcc, plcc_logistic)


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = np.round(rng.uniform(size=200), 1)  # many ties
    return true + rng.normal(0.0, 0.2, 200), true


def test_equal_scipy(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = pairs
    assert srcc(predicted, true) == pytest.approx(stats.spearmanr(predicted, true).statistic, abs=1e-12)
    assert plcc(predicted, true) == pytest.approx(stats.pearsonr(predicted, true).statistic, abs=1e-12)
    assert krcc(predicted, true) == pytest.approx(stats.kendalltau(predicted, true).statistic, abs=1e-12)


def test_by_hand() -> None:
    predicted, true = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 4.0, 3.0, 5.0]
    # Sum of squared rank differences 4: 1 - 6 * 4 / (5 * 24); 8 concordant and 2 discordant of 10 pairs.
    assert srcc(predicted, true) == pytest.approx(0.8)
    assert krcc(predicted, true) == pytest.approx(0.6)
    assert plcc(predicted, true) == pytest.approx(0.8)
    assert rmse(predicted, true) == pytest.approx(np.sqrt(0.8))
    assert rmse([0.5], [0.25]) == pytest.approx(0.25)


def test_ties_take_mean_ranks() -> None:
    # Ranks 1.5 1.5 3 4 against 1 2 3.5 3.5: both have variance 1.125, covariance 1.0625 (divided by n).
    assert srcc([1, 1, 2, 3], [1, 2, 3, 3]) == pytest.approx(4.0 / 4.5, abs=1e-12)


def test_logistic_straightens_a_saturated_relation() -> None:
    x = np.linspace(-6.0, 6.0, 200)
    true = 10.0 + 80.0 / (1.0 + np.exp(-(x - 1.0) / 0.4))
    raw, mapped = plcc(x, true), plcc_logistic(x, true)
    assert raw is not None and raw < 0.93
    assert mapped == pytest.approx(1.0, abs=1e-4)


def test_logistic_is_never_below_the_raw_value_and_keeps_the_sign(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = pairs
    raw, mapped, mirrored = plcc(predicted, true), plcc_logistic(predicted, true), plcc_logistic(-predicted, true)
    assert raw is not None and mapped is not None and mirrored is not None
    assert raw <= mapped < 1.0
    assert mirrored == pytest.approx(-mapped, abs=1e-3)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_logistic_does_not_depend_on_the_unit(pairs: tuple[np.ndarray, np.ndarray], scale: float) -> None:
    predicted, true = pairs
    assert plcc_logistic(predicted * scale + scale, true) == pytest.approx(plcc_logistic(predicted, true), abs=1e-3)


def test_logistic_survives_an_outlier_and_two_valued_truth() -> None:
    predicted = np.append(np.linspace(0.0, 1.0, 30), 1000.0)
    true = (predicted > 0.5).astype(float)
    raw, mapped = plcc(predicted, true), plcc_logistic(predicted, true)
    assert raw is not None and mapped is not None and raw <= mapped <= 1.0


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_none_where_it_does_not_exist(correlation: Correlation) -> None:
    varied = np.arange(8.0)
    assert correlation(np.full(8, 0.5), varied) is None
    assert correlation(varied, np.full(8, 0.5)) is None
    assert correlation([0.0, 1.0], [0.0, 1.0]) is None
    assert correlation([], []) is None
    assert rmse([], []) is None


@pytest.mark.parametrize("correlation", [*CORRELATIONS, rmse])
def test_bad_input_is_refused(correlation: Correlation) -> None:
    with pytest.raises(DataError, match=r"both \(N,\)"):
        correlation([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(DataError, match="predicted score of row 1 is nan"):
        correlation([1.0, float("nan"), 3.0], [1.0, 2.0, 3.0])


def test_tiny_spreads_do_not_vanish() -> None:
    tiny = np.array([1.0, 2.0, 4.0]) * 1e-200
    assert plcc(tiny, [1.0, 2.0, 4.0]) == pytest.approx(1.0)


def test_within_group_is_the_median_over_photographs() -> None:
    true = [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 1, 2]
    predicted = [1, 2, 3, 3, 2, 1, 1, 3, 2, 5, 6, 7]
    groups = list("aaabbbcccddd")
    # a: 1, b: -1, c: 0.5; d has two distinct values and is left out.
    assert within_group_srcc(predicted, true, groups) == pytest.approx(0.5)


def test_within_group_counts_constant_predictions_as_zero() -> None:
    assert within_group_srcc([1, 2, 3, 7, 7, 7], [1, 2, 3, 1, 2, 3], [0, 0, 0, 1, 1, 1]) == pytest.approx(0.5)


def test_within_group_needs_a_group() -> None:
    assert within_group_srcc([1, 2, 3], [1, 2, 3], [0, 1, 2]) is None
    with pytest.raises(DataError, match="2 groups for 3 samples"):
        within_group_srcc([1, 2, 3], [1, 2, 3], [0, 1])


def test_the_fitted_logistic_maps_predictions_to_true_values() -> None:
    x = np.linspace(-3.0, 3.0, 60)
    true = 4.0 / (1.0 + np.exp(-2.0 * x)) + 1.0
    fit = logistic_fit(100.0 * x, true)
    assert fit is not None and fit.plcc == pytest.approx(1.0, abs=1e-6)
    assert fit(100.0 * x) == pytest.approx(true, abs=1e-3)
    falling = logistic_fit(-x, true)
    assert falling is not None and falling.plcc == pytest.approx(-1.0, abs=1e-6)
    assert falling(-x) == pytest.approx(true, abs=1e-3)
    assert logistic_fit(x[:4], true[:4]) is None and logistic_fit(np.ones(9), x[:9]) is None


@pytest.mark.parametrize("seed", range(30))
def test_whatever_comes_in_a_number_or_none_comes_out(seed: int) -> None:
    """Random sizes, ties, constants, huge and tiny spreads: finite and in range, or None; never NaN."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(0, 8))
    sides = []
    for _ in range(2):
        kind = rng.integers(0, 4)
        values = rng.normal(size=size) * 10.0 ** rng.integers(-200, 150)
        sides.append(np.full(size, 0.3) if kind == 0 else rng.integers(0, 2, size) * 1.0 if kind == 1 else values)
    for figure in CORRELATIONS:
        found = figure(sides[0], sides[1])
        assert found is None or -1.0 <= found <= 1.0
        assert found is None or size >= 3
    error = rmse(sides[0], sides[1])
    assert (error is None) == (size == 0) and (error is None or np.isfinite(error))
