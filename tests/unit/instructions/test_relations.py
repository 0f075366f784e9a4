from __future__ import annotations

import pytest

from seagull_tune.instructions.relations import ALIKE, better_of, first_to_fix, worst_severities
from seagull_tune.records import RegionLabel


def label(quality: float, importance: float | None = None, severities: tuple[int, ...] = (0,) * 8) -> RegionLabel:
    return RegionLabel(quality, importance, severities)


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [(0.9, 0.2, 0), (0.2, 0.9, 1), (0.5, 0.5, None), (0.5, 0.5 + 0.9 * ALIKE, None), (0.5, 0.5 + 1.1 * ALIKE, 1)],
)
def test_the_better_of_two(first: float, second: float, better: int | None) -> None:
    assert better_of(label(first), label(second)) == better


def test_the_most_important_is_fixed_first() -> None:
    assert first_to_fix([label(0.1, 0.2), label(0.6, 0.7), label(0.3, 0.5)]) == 1


def test_among_those_that_matter_alike_the_worst_is_fixed_first() -> None:
    assert first_to_fix([label(0.5, 0.52), label(0.2, 0.5), label(0.0, 0.4)]) == 1
    assert first_to_fix([label(0.2, 0.5), label(0.2, 0.5)]) == 0


def test_excellent_and_unscored_regions_need_no_fixing() -> None:
    assert first_to_fix([label(0.95, 0.9), label(0.3, None)]) is None
    assert first_to_fix([label(0.95, 0.9), label(0.8, 0.1)]) == 1


def test_the_worst_severities_are_those_of_any_region() -> None:
    labels = [label(0.5, None, (1, 0, 3, 0, 0, 0, 0, 2)), label(0.5, None, (0, 0, 5, 1, 0, 0, 0, 1))]
    assert worst_severities(labels) == (1, 0, 5, 1, 0, 0, 0, 2)
