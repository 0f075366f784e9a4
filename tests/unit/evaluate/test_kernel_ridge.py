"""The regressor: it learns, and photographs stay on one side of a fold."""

from __future__ import annotations

import numpy as np
import pytest

from seagull_tune.errors import DataError
from seagull_tune.evaluate.kernel_ridge import FOLDS, GAMMAS, PENALTIES, fit_kernel_ridge, folds_of


def _problem(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_rows)
    features = rng.normal(size=(n_rows, 6)) * (1, 10, 100, 1, 1, 0) + 5
    standard = (features[:, :2] - 5) / (1, 10)
    targets = np.stack([np.sin(standard[:, 0]) + 0.5 * standard[:, 1], standard[:, 0] ** 2], axis=1)
    return features, targets


def test_a_smooth_function_is_learnt_whatever_the_units() -> None:
    features, targets = _problem(400)
    model, held_out = fit_kernel_ridge(features, targets, [f"p{i % 40}" for i in range(400)])
    fresh, wanted = _problem(200)
    errors = model.predict(fresh) - wanted
    assert 1 - errors.var(axis=0) / wanted.var(axis=0) == pytest.approx([1.0, 1.0], abs=0.06)
    assert model.gamma in GAMMAS and model.penalty in PENALTIES
    assert held_out.predicted.shape == (400, 2) and sorted(held_out.rows.tolist()) == list(range(400))
    held_errors = held_out.predicted - targets[held_out.rows]
    assert 1 - held_errors.var(axis=0) / targets.var(axis=0) == pytest.approx([1.0, 1.0], abs=0.15)


def test_the_same_seed_gives_the_same_regressor() -> None:
    features, targets = _problem(120)
    groups = [f"p{i // 6}" for i in range(120)]
    first, second = (fit_kernel_ridge(features, targets, groups, seed=4)[0] for _ in range(2))
    np.testing.assert_array_equal(first.duals, second.duals)


def test_folds_hold_whole_groups() -> None:
    groups = [f"p{i % 13}" for i in range(100)]
    folds = folds_of(groups, np.random.default_rng(0))
    assert set(folds.tolist()) == set(range(FOLDS))
    assert all(len(set(folds[[g == name for g in groups]].tolist())) == 1 for name in set(groups))


@pytest.mark.parametrize("n_rows", [1, 2, 7])
def test_a_single_photograph_is_enough_to_say_something(n_rows: int) -> None:
    features, targets = _problem(n_rows)
    model, held_out = fit_kernel_ridge(features, targets, ["only"] * n_rows)
    assert held_out.predicted.shape == (0, 2) and len(held_out.rows) == 0
    assert np.isfinite(model.predict(features)).all()


def test_bad_shapes_are_refused() -> None:
    features, targets = _problem(10)
    with pytest.raises(DataError, match="9 groups"):
        fit_kernel_ridge(features, targets, ["a"] * 9)
    with pytest.raises(DataError, match="0 rows"):
        fit_kernel_ridge(features[:0], targets[:0], [])
    model, _ = fit_kernel_ridge(features, targets, ["a"] * 10)
    with pytest.raises(DataError, match=r"\(M, 6\)"):
        model.predict(features[:, :5])
