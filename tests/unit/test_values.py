"""Numbers in files of others."""

from __future__ import annotations

import pytest

from seagull_tune.errors import DataError
from seagull_tune.values import number_of, shown


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), ("1.5", 1.5), (" -2e-3 ", -0.002)])
def test_numbers(value: object, number: float) -> None:
    assert number_of(value, "x") == number


@pytest.mark.parametrize("value", [None, "", "x", [], {}, True, float("nan"), "inf", 10**400])
def test_what_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=r"^x is .*number is needed\.$"):
        number_of(value, "x")
    with pytest.raises(DataError, match="more than 64 bits"):
        number_of(10**5000, "x")


def test_values_are_shown_briefly() -> None:
    assert shown("cat") == "'cat'" and shown(7) == "7"
    assert len(shown(list(range(1000)))) == 80
    assert shown(10**5000) == "a whole number of more than 64 bits"
