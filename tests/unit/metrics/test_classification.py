"""Types and severities, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from seagull_tune.errors import DataError
from seagull_tune.metrics.classification import (
    macro_f1,
    sample_scores,
    severity_accuracy,
    severity_f1,
    severity_sample_scores,
)


@pytest.fixture
def types() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.random((120, 8)) < 0.3, rng.random((120, 8)) < 0.3


@pytest.fixture
def severities() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    true = rng.integers(0, 6, (80, 8))
    return np.where(rng.random(true.shape) < 0.5, true, rng.integers(0, 6, true.shape)), true


def test_macro_f1_equals_scikit_learn(types: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = types
    assert macro_f1(predicted, true) == pytest.approx(metrics.f1_score(true, predicted, average="macro"), abs=1e-12)


def test_sample_scores_equal_scikit_learn(types: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = types
    assert (~predicted.any(axis=1) & ~true.any(axis=1)).any(), "the case of interest is there"
    found = sample_scores(predicted, true)
    assert found is not None
    expected = metrics.f1_score(true, predicted, average="samples", zero_division=1.0)
    assert found.f1 == pytest.approx(expected, abs=1e-12)
    # Ours gives one side empty 0, theirs one value for all: compared where neither side is empty.
    both = predicted.any(axis=1) & true.any(axis=1)
    inner = sample_scores(predicted[both], true[both])
    assert inner is not None
    precision, recall, _, _ = metrics.precision_recall_fscore_support(true[both], predicted[both], average="samples")
    assert (inner.precision, inner.recall) == pytest.approx((precision, recall), abs=1e-12)


def test_pristine_told_as_pristine_counts_one() -> None:
    true = np.array([[False, False], [False, False], [True, True], [True, False]])
    predicted = np.array([[False, False], [True, False], [True, False], [False, False]])
    # 1, 0, 2 * 1 / (1 + 2), 0
    found = sample_scores(predicted, true)
    assert found is not None
    assert found.f1 == pytest.approx((1.0 + 2.0 / 3.0) / 4.0)
    assert found.precision == pytest.approx((1.0 + 0.0 + 1.0 + 0.0) / 4.0)
    assert found.recall == pytest.approx((1.0 + 0.0 + 0.5 + 0.0) / 4.0)


def test_types_that_never_occur_are_left_out() -> None:
    true = np.array([[True, False], [True, False]])
    assert macro_f1(true, true) == 1.0
    assert macro_f1(np.zeros((2, 2), dtype=bool), np.zeros((2, 2), dtype=bool)) is None


def test_severity_figures_equal_scikit_learn(severities: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, true = severities
    assert severity_accuracy(predicted, true) == pytest.approx(
        metrics.accuracy_score(true.ravel(), predicted.ravel()), abs=1e-12
    )
    expected = metrics.f1_score(true.ravel(), predicted.ravel(), average="macro")
    assert severity_f1(predicted, true) == pytest.approx(expected, abs=1e-12)


def test_severity_f1_by_hand() -> None:
    # Pooled pairs: 0 -> 0, 0 -> 0, 3 -> 3, 5 -> 4. F1: 0: 1, 3: 1, 4: 0, 5: 0; 1 and 2 never occur.
    assert severity_f1([[0, 3], [0, 4]], [[0, 3], [0, 5]]) == pytest.approx(0.5)
    assert severity_accuracy([[0, 3], [0, 4]], [[0, 3], [0, 5]]) == pytest.approx(0.75)


def test_severities_per_sample_by_hand() -> None:
    # {blur 3} said {blur 3}: 1. {blur 3, noise 2} said {blur 3, noise 4}: one of two. None said none: 1. Wrong type: 0.
    true = np.array([[3, 0], [3, 2], [0, 0], [1, 0]])
    said = np.array([[3, 0], [3, 4], [0, 0], [0, 1]])
    found = severity_sample_scores(said, true)
    assert found is not None
    assert (found.precision, found.recall, found.f1) == pytest.approx((2.5 / 4, 2.5 / 4, 2.5 / 4))


def test_severities_per_sample_never_exceed_types_per_sample(severities: tuple[np.ndarray, np.ndarray]) -> None:
    said, true = severities
    whole, types = severity_sample_scores(said, true), sample_scores(said > 0, true > 0)
    assert whole is not None and types is not None
    assert 0.0 < whole.f1 < types.f1 and whole.precision < types.precision and whole.recall < types.recall


def test_no_samples_give_none() -> None:
    none = np.zeros((0, 8), dtype=bool)
    assert macro_f1(none, none) is None and sample_scores(none, none) is None
    assert severity_f1(none.astype(int), none.astype(int)) is None
    assert severity_sample_scores(none.astype(int), none.astype(int)) is None
    assert severity_accuracy(none.astype(int), none.astype(int)) is None


def test_bad_input_is_refused() -> None:
    flags = np.ones((3, 8), dtype=bool)
    with pytest.raises(DataError, match=r"both \(N, T\)"):
        macro_f1(flags, flags[:2])
    with pytest.raises(DataError, match="predicted types are float64; allowed: bool"):
        sample_scores(flags * 0.7, flags)
    with pytest.raises(DataError, match=r"from 1 to 6; allowed: integers 0\.\.5"):
        severity_f1(np.ones((1, 2), dtype=int), np.array([[1, 6]]))
    with pytest.raises(DataError, match=r"integers 0\.\.5"):
        severity_accuracy(np.ones((1, 2)), np.ones((1, 2), dtype=int))
