"""The cluster bootstrap: seeded, wide enough for grouped data, fast, honest where there is no interval."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from seagull_tune.errors import DataError
from seagull_tune.metrics.bootstrap import cluster_bootstrap, paired_bootstrap
from seagull_tune.metrics.correlation import srcc


def grouped(rng: np.random.Generator, n_groups: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that are almost equal inside a group, and the group of each."""
    values = np.repeat(rng.normal(0.0, 1.0, n_groups), size) + rng.normal(0.0, 0.05, n_groups * size)
    return values, np.repeat(np.arange(n_groups), size)


def test_same_seed_same_interval() -> None:
    values, groups = grouped(np.random.default_rng(0), 20, 5)
    first, again, other = (
        cluster_bootstrap(lambda rows: float(values[rows].mean()), groups, 200, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first is not None and other is not None and first != other
    assert first.low < values.mean() < first.high
    assert first.as_list() == [first.low, first.high]
    assert first.resamples == 200


def test_clusters_make_it_as_wide_as_theory_says() -> None:
    values, groups = grouped(np.random.default_rng(1), 60, 10)
    clustered = cluster_bootstrap(lambda rows: float(values[rows].mean()), groups, 2000)
    singles = cluster_bootstrap(lambda rows: float(values[rows].mean()), np.arange(600), 2000)
    assert clustered is not None and singles is not None
    means = values.reshape(60, 10).mean(axis=1)
    expected = 2.0 * 1.96 * means.std() / np.sqrt(60)
    assert clustered.high - clustered.low == pytest.approx(expected, rel=0.1)
    assert clustered.high - clustered.low > 2.5 * (singles.high - singles.low)


def test_coverage_of_a_mean() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(60):
        values, groups = grouped(rng, 30, 3)

        def mean(rows: np.ndarray, values: np.ndarray = values) -> float:
            return float(values[rows].mean())

        found = cluster_bootstrap(mean, groups, 200, seed=trial)
        hits += found is not None and found.low <= 0.0 <= found.high
    assert 50 <= hits <= 60  # 57 expected


def test_whole_clusters_are_taken() -> None:
    groups = ["a", "b", "a", "b", "b"]
    sizes = set()

    def statistic(rows: np.ndarray) -> float:
        counts = np.bincount(rows, minlength=5)
        assert counts[0] == counts[2] and counts[1] == counts[3] == counts[4]
        sizes.add(len(rows))
        return 0.0

    assert cluster_bootstrap(statistic, groups, 50) is not None
    assert sizes == {4, 5, 6}


def test_no_interval_gives_none() -> None:
    values = np.arange(6.0)
    assert cluster_bootstrap(lambda rows: float(values[rows].mean()), ["one"] * 6) is None
    assert cluster_bootstrap(lambda rows: None, [0, 0, 1, 1, 2, 2]) is None
    assert cluster_bootstrap(lambda rows: srcc(np.ones(6)[rows], values[rows]), [0, 0, 1, 1, 2, 2], 50) is None


def test_bad_settings_are_refused() -> None:
    with pytest.raises(DataError, match="n_resamples is 0"):
        cluster_bootstrap(lambda rows: 0.0, [0, 1], 0)
    with pytest.raises(DataError, match="confidence 95"):
        cluster_bootstrap(lambda rows: 0.0, [0, 1], 10, confidence=95)


def test_a_thousand_resamples_of_1500_regions_take_seconds() -> None:
    rng = np.random.default_rng(3)
    true = rng.uniform(size=1500)
    predicted = true + rng.normal(0.0, 0.3, 1500)
    start = time.process_time()
    found = cluster_bootstrap(lambda rows: srcc(predicted[rows], true[rows]), np.repeat(np.arange(60), 25), 1000)
    assert time.process_time() - start < 8.0
    assert found is not None and found.high - found.low < 0.1


def test_pairs_see_what_single_intervals_hide() -> None:
    rng = np.random.default_rng(3)
    hard, groups = grouped(rng, 40, 6)
    first = hard + rng.normal(0.0, 0.02, len(hard))
    second = hard + 0.05 + rng.normal(0.0, 0.02, len(hard))

    def mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda rows: float(values[rows].mean())

    alone = [cluster_bootstrap(mean_of(values), groups, 400) for values in (first, second)]
    assert alone[0] is not None and alone[1] is not None and alone[0].high > alone[1].low, "they overlap"
    found = paired_bootstrap(mean_of(first), mean_of(second), groups, 400)
    assert found is not None
    assert found.value == pytest.approx(0.05, abs=0.01) and found.interval.low > 0.04
    assert found.p_value == pytest.approx(2 / 401)
    turned = paired_bootstrap(mean_of(second), mean_of(first), groups, 400)
    assert turned is not None and turned.value == -found.value and turned.p_value == found.p_value
    assert turned.interval.low == pytest.approx(-found.interval.high)


def test_equal_models_do_not_differ() -> None:
    values, groups = grouped(np.random.default_rng(4), 10, 4)
    found = paired_bootstrap(lambda rows: float(values[rows].mean()), lambda rows: float(values[rows].mean()), groups)
    assert found is not None
    assert (found.value, found.interval.low, found.interval.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_p_values_of_models_that_do_not_differ_are_even() -> None:
    rng = np.random.default_rng(5)
    small = 0
    for trial in range(100):
        noise, groups = grouped(rng, 25, 2)

        def mean(rows: np.ndarray, noise: np.ndarray = noise) -> float:
            return float(noise[rows].mean())

        found = paired_bootstrap(lambda rows: 0.0, mean, groups, 200, seed=trial)
        assert found is not None and 0.0 < found.p_value <= 1.0
        small += found.p_value <= 0.2
    assert 10 <= small <= 34  # 20 expected, a little more by the percentile's bias


def test_a_pair_without_a_value_gives_none() -> None:
    groups = [0, 0, 1, 1]
    assert paired_bootstrap(lambda rows: 1.0, lambda rows: None, groups, 20) is None
    assert paired_bootstrap(lambda rows: float("nan"), lambda rows: 1.0, groups, 20) is None
    assert paired_bootstrap(lambda rows: 1.0, lambda rows: 2.0, ["one"] * 4, 20) is None
    with pytest.raises(DataError, match="n_resamples is 0"):
        paired_bootstrap(lambda rows: 1.0, lambda rows: 2.0, groups, 0)
