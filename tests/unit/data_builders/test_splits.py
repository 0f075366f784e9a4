"""Splits by scene: the same everywhere, of the right size, without leaks."""

from __future__ import annotations

import hashlib

import pytest

from data_builders.splits import assign_splits, order_ids
from seagull_tune.config.data import SplitRule
from seagull_tune.errors import DataError

SCENES = [f"scene{i}" for i in range(50)]


def test_hash_order_is_that_of_sha256() -> None:
    ordered = order_ids([*SCENES, "scene1"])
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in ordered]
    assert digests == sorted(digests) and len(ordered) == 50
    assert order_ids(["b", "a", "b"], "name") == ["a", "b"]


def test_shares_take_the_end_of_the_order() -> None:
    splits = assign_splits(SCENES, SplitRule(validation=0.1, test=0.2))
    ordered = order_ids(SCENES)
    assert [splits[name] for name in ordered] == ["train"] * 35 + ["validation"] * 5 + ["test"] * 10
    assert assign_splits(reversed(SCENES), SplitRule(validation=0.1, test=0.2)) == splits


def test_a_share_gets_at_least_one_scene() -> None:
    assert sorted(assign_splits(["a", "b", "c"], SplitRule(test=0.01)).values()) == ["test", "train", "train"]
    with pytest.raises(DataError, match="1 scenes cannot be divided"):
        assign_splits(["a"], SplitRule(test=0.2))


def test_by_hand_and_all_into_one() -> None:
    splits = assign_splits(SCENES, SplitRule(scenes={"scene7": "test", "scene8": "validation"}))
    assert splits["scene7"] == "test" and splits["scene8"] == "validation"
    assert list(splits.values()).count("train") == 48
    assert set(assign_splits(SCENES, SplitRule(all_into="test")).values()) == {"test"}
    with pytest.raises(DataError, match="Did you mean 'scene7'"):
        assign_splits(["scene7", "x", "y"], SplitRule(scenes={"scene77": "test"}))
