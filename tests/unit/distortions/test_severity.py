"""The calibrated curve: strengths between the severities, and the severity of a strength."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from seagull_tune.distortions import VARIANTS
from seagull_tune.distortions.severity import SeverityCurve, severity_curve
from seagull_tune.errors import DataError

CURVE = SeverityCurve((1, 2, 3), (0.2, 0.3, 0.7))


def test_strengths_lie_between_their_severities() -> None:
    assert [CURVE.strength_at(severity) for severity in (1, 2, 3)] == [0.2, 0.3, 0.7]
    assert CURVE.strength_at(2.5) == pytest.approx(0.5)
    assert CURVE.strength_at(0.5) == pytest.approx(0.15)
    assert CURVE.strength_at(3.5) == pytest.approx(0.9)
    assert CURVE.strength_at(5.0) == 1.0 and CURVE.strength_at(-9.0) == 0.0
    assert SeverityCurve((2,), (0.4,)).strength_at(2.4) == 0.4


def test_a_strength_has_the_nearest_severity() -> None:
    assert [CURVE.severity_at(s) for s in (0.0, 0.24, 0.26, 0.49, 0.51, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert SeverityCurve((3, 5), (0.2, 0.4)).severity_at(0.29) == 3


@pytest.mark.parametrize("key", sorted(VARIANTS))
def test_the_table_is_where_the_strengths_say(key: tuple[str, str]) -> None:
    variant = VARIANTS[key]
    curve = variant.curve
    assert curve.severities == variant.levels
    assert all(low < high for low, high in pairwise(curve.strengths))
    for severity, strength in zip(curve.severities, curve.strengths, strict=True):
        params = variant.params_at(strength)
        assert params == pytest.approx(variant.params_for(severity), rel=1e-3)
        inside = [curve.strength_at(severity + shift) for shift in np.linspace(-0.499, 0.499, 11)]
        assert {curve.severity_at(value) for value in inside} == {severity}


def test_a_variant_without_a_fit_says_how_to_get_one() -> None:
    with pytest.raises(DataError, match=r"blur/smear is not in .*data_builders\.calibrate"):
        severity_curve("blur", "smear")
