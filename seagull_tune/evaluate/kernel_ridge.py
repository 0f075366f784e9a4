"""Ridge regression with a Gaussian kernel: the regressor of the classical baseline, kept as plain arrays.

Source: C. Saunders, A. Gammerman, V. Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998. With the
same kernel and features it is on a par with the support vector regression of BRISQUE (measured on region labels) and is
fitted in closed form.

Legend: N training rows; M rows; F features; O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from seagull_tune.errors import DataError

GAMMAS: tuple[float, ...] = (0.003, 0.01, 0.03)
PENALTIES: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
FOLDS = 5
_TUNING_ROWS = 1500  # hyper-parameters hardly depend on the number of rows, their cost grows with its cube
_CLIP = 6.0  # standard deviations: an outlier counts as far away, not as far as it is


@dataclass(frozen=True, eq=False)
class KernelRidge:
    """A fitted regressor.

    Attributes:
        mean, scale: float64 (F,), standardise the features.
        rows: float32 (N, F), standardised training rows.
        duals: float64 (N, O).
        offset: float64 (O,), mean of the targets.
        gamma: width of the kernel exp(-gamma * squared distance).
        penalty: ridge penalty, chosen like ``gamma`` by grouped cross-validation.
    """

    mean: np.ndarray
    scale: np.ndarray
    rows: np.ndarray
    duals: np.ndarray
    offset: np.ndarray
    gamma: float
    penalty: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predictions, float64 (M, O), for features (M, F).

        Raises:
            DataError: another number of features.
        """
        if features.ndim != 2 or features.shape[1] != self.mean.size:
            raise DataError(f"The features have shape {features.shape}; allowed: (M, {self.mean.size}).")
        standard = _standardise(features, self.mean, self.scale)
        kernel = np.exp(-self.gamma * _squared_distances(standard, self.rows.astype(np.float64)))
        return kernel @ self.duals + self.offset


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Out-of-fold predictions of the rows on which the hyper-parameters were chosen (none with a single group).

    Attributes:
        rows: int64 (M,), which rows.
        predicted: float64 (M, O).
    """

    rows: np.ndarray
    predicted: np.ndarray


def fit_kernel_ridge(
    features: np.ndarray, targets: np.ndarray, groups: Sequence[str], seed: int = 0
) -> tuple[KernelRidge, HeldOut]:
    """Fits a regressor; kernel width and penalty are chosen by cross-validation over groups.

    Args:
        features: (N, F), finite.
        targets: (N, O), finite.
        groups: N names; rows of one group (photograph) are never on both sides of a fold.
        seed: of the folds.

    Returns:
        The regressor, and what it predicts of photographs that it was not fitted on.

    Raises:
        DataError: no rows, or numbers of rows that differ.
    """
    n_rows = len(features)
    if n_rows == 0 or targets.ndim != 2 or len(targets) != n_rows or len(groups) != n_rows:
        raise DataError(
            f"{n_rows} rows of features, targets of shape {np.shape(targets)}, {len(groups)} groups; allowed: (N, F), "
            "(N, O) and N, with N > 0."
        )
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    rows = _standardise(features, mean, scale).astype(np.float32)
    exact = rows.astype(np.float64)
    rng = np.random.Generator(np.random.PCG64(seed))
    chosen = np.sort(rng.permutation(n_rows)[:_TUNING_ROWS])
    gamma, penalty, predicted = _tune(exact[chosen], targets[chosen], [groups[i] for i in chosen], rng)
    offset = targets.mean(axis=0)
    duals = _solve(_squared_distances(exact, exact), targets - offset, gamma, penalty)
    held_out = HeldOut(chosen[: len(predicted)], predicted)
    return KernelRidge(mean, scale, rows, duals, offset, gamma, penalty), held_out


def _standardise(features: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip((features - mean) / scale, -_CLIP, _CLIP))


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(M, N) of the rows of a (M, F) and b (N, F)."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2.0 * (a @ b.T)
    return np.maximum(squares, 0.0)


def _solve(distances: np.ndarray, centred: np.ndarray, gamma: float, penalty: float) -> np.ndarray:
    """Dual coefficients (N, O) for squared distances (N, N) and centred targets (N, O)."""
    kernel = np.exp(-gamma * distances)
    kernel[np.diag_indices_from(kernel)] += penalty
    return np.asarray(cho_solve(cho_factor(kernel, lower=True, overwrite_a=True), centred))


def folds_of(groups: Sequence[str], rng: np.random.Generator, count: int = FOLDS) -> np.ndarray:
    """The fold 0..count-1 of every row; whole groups, dealt out in random order."""
    names = sorted(set(groups))
    dealt = {names[at]: position % count for position, at in enumerate(rng.permutation(len(names)))}
    return np.array([dealt[name] for name in groups])


def _tune(
    rows: np.ndarray, targets: np.ndarray, groups: Sequence[str], rng: np.random.Generator
) -> tuple[float, float, np.ndarray]:
    """Kernel width, penalty and the out-of-fold predictions (N, O) under them; (0, O) where there is a single group."""
    grid = list(product(GAMMAS, PENALTIES))
    n_groups = len(set(groups))
    if n_groups < 2:
        return (*grid[len(grid) // 2], np.empty((0, targets.shape[1])))
    folds = folds_of(groups, rng, min(FOLDS, n_groups))
    distances = _squared_distances(rows, rows)
    predicted = np.empty((len(grid), *targets.shape))
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        offset = targets[inside].mean(axis=0)
        for at, (gamma, penalty) in enumerate(grid):
            duals = _solve(distances[np.ix_(inside, inside)], targets[inside] - offset, gamma, penalty)
            predicted[at, outside] = np.exp(-gamma * distances[np.ix_(outside, inside)]) @ duals + offset
    # Every output counts in units of its own variance.
    variance = np.maximum(targets.var(axis=0), 1e-12)
    errors = ((predicted - targets) ** 2 / variance).mean(axis=(1, 2))
    best = int(errors.argmin())
    return (*grid[best], predicted[best])
