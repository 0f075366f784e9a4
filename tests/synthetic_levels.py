"""Readings with a known fault: beliefs that are right on average, and then said too surely, with scores pulled."""

from __future__ import annotations

import numpy as np

from seagull_tune.evaluate.calibration_check import RawReading
from seagull_tune.evaluate.outcomes import Truth
from seagull_tune.levels import level_centres
from seagull_tune.model.calibration import tempered


def overconfident(n_regions: int, temperature: float, seed: int = 0, photographs: int = 20) -> RawReading:
    """Labels drawn from five-level beliefs, which are then sharpened; ``temperature`` undoes it.

    Types are sharpened likewise. Every twentieth region has no importance.
    """
    rng = np.random.default_rng(seed)
    centres = np.array(level_centres(5))

    def draw() -> tuple[np.ndarray, np.ndarray]:
        means, spreads = rng.uniform(0, 1, n_regions), rng.uniform(0.1, 0.3, n_regions)
        mass = np.exp(-0.5 * ((centres - means[:, None]) / spreads[:, None]) ** 2) + 1e-3
        beliefs = mass / mass.sum(axis=1, keepdims=True)
        chosen = (beliefs.cumsum(axis=1) < rng.random(n_regions)[:, None]).sum(axis=1).clip(0, 4)
        return tempered(beliefs, 1.0 / temperature), centres[chosen]

    quality_levels, quality = draw()
    importance_levels, importance = draw()
    importance[::20] = np.nan
    odds = rng.normal(-1.0, 2.0, (n_regions, 8))
    present = rng.random((n_regions, 8)) < 1 / (1 + np.exp(-odds))
    names = np.array([f"photograph {i % photographs}" for i in range(n_regions)])
    truth = Truth(names, quality, importance, present.astype(np.int64) * 3, np.full(n_regions, 0.1))
    levels = {"quality": quality_levels, "importance": importance_levels}
    return RawReading(levels, 1 / (1 + np.exp(-odds * temperature)), truth)
