"""Fitting the maps to quality: levels evenly used, and the untouched are excellent however many they are."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from data_builders.labelers.calibrate import LEAST_SHARE, fit_knots, level_shares, measure, print_shares
from data_builders.labelers.maps import METRICS
from data_builders.labelers.pooled import MapLabeler
from seagull_tune.distortions.registry import VARIANTS


@pytest.mark.parametrize("untouched", [0.0, 0.1, 0.4])
def test_levels_are_evenly_used(untouched: float) -> None:
    rng = np.random.default_rng(2)
    raw = np.where(rng.random(4000) < untouched, 1.0, rng.beta(8.0, 2.0, 4000) * 0.99)
    knots, quality = fit_knots(raw)
    shares = level_shares(np.interp(raw, knots, quality))
    best = max(0.2, untouched + 0.1 * (1.0 - untouched))
    assert shares["excellent"] == pytest.approx(best, abs=0.02)
    assert [shares[word] for word in ("bad", "poor", "fair", "good")] == pytest.approx([(1 - best) / 4] * 4, abs=0.02)


def test_a_level_that_is_hardly_used_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert not print_shares({"flat": np.full(100, 0.5)})
    assert "TOO FEW: bad, poor, good, excellent" in capsys.readouterr().out
    assert print_shares({"even": np.linspace(0.0, 1.0, 1001)})
    assert LEAST_SHARE == 0.10


def test_the_default_mixture_is_measured() -> None:
    image = np.ascontiguousarray(skimage.data.coffee()[:160, :160])
    labelers = {"gmsd": MapLabeler(METRICS["gmsd"], None)}
    measured, again = (measure([image], labelers, samples=2) for _ in range(2))
    one, two = measured.values["gmsd"], again.values["gmsd"]
    assert measured.variants == again.variants and len(measured.missing()) == len(VARIANTS) - len(measured.variants)
    assert len(one) >= 2 and (one == two).all() and ((one > 0.3) & (one <= 1.0)).all()
