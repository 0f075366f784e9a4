"""Orders that put samples of about one length side by side."""

from __future__ import annotations

import itertools
import random

import pytest

from seagull_tune.training.order import LengthGroupedOrder


def _padding(order: list[int], lengths: list[int], batch: int) -> int:
    parts = [[lengths[i] for i in order[k : k + batch]] for k in range(0, len(order), batch)]
    return sum(max(part) * len(part) - sum(part) for part in parts)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 1003])
def test_every_sample_once(count: int) -> None:
    lengths = [random.Random(i).randrange(100) for i in range(count)]
    order = list(LengthGroupedOrder(lengths, 8, 0))
    assert sorted(order) == list(range(count)) and len(LengthGroupedOrder(lengths, 8, 0)) == count


def test_most_padding_is_saved_and_the_order_stays_random() -> None:
    draw = random.Random(1)
    lengths = [draw.randrange(100, 1000) for _ in range(1000)]
    order = list(LengthGroupedOrder(lengths, 10, 0))
    plain = list(range(1000))
    draw.shuffle(plain)
    assert _padding(order, lengths, 10) < 0.1 * _padding(plain, lengths, 10)
    means = [sum(lengths[i] for i in order[k : k + 10]) / 10 for k in range(0, 1000, 10)]
    rising = sum(a < b for a, b in itertools.pairwise(means))
    assert 30 < rising < 70, "steps of short ones and of long ones alternate"


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = [i % 17 for i in range(300)]
    first = LengthGroupedOrder(lengths, 4, 3)
    assert list(first) == list(first) == list(LengthGroupedOrder(lengths, 4, 3))
    assert list(first) != list(LengthGroupedOrder(lengths, 4, 4))
    before = list(first)
    first.set_epoch(1)
    assert sorted(first) == sorted(before) and list(first) != before


def test_a_step_that_is_not_whole_comes_last() -> None:
    order = list(LengthGroupedOrder([5] * 10 + [100], 4, 0))
    lengths = [5] * 10 + [100]
    assert len(order) % 4 == 3 and {lengths[i] for i in order[:8]} == {5}
