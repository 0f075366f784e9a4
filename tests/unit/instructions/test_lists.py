"""Lists inside texts: written with their separators, and split there again."""

from __future__ import annotations

import pytest

from seagull_tune.instructions.lists import (
    entries,
    joined_text,
    most_severe_first,
    present_text,
    read_ordinals,
    read_phrases,
    read_severities,
)
from seagull_tune.instructions.templates import ListForm, PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, QUALITY_LEVELS

AND = ListForm(item="{severity} {type}", separator=", ", last_separator=" and ", empty="nothing at all")


@pytest.mark.parametrize(
    ("items", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c", "d"], "a, b, c and d")]
)
def test_joining_and_splitting_are_a_round_trip(items: list[str], text: str) -> None:
    assert joined_text(AND, items) == text
    assert entries(text, AND) == items


def test_a_separator_that_begins_with_the_other_is_split_whole() -> None:
    form = ListForm(item="{type}", separator=", ", last_separator=", and ")
    assert entries(joined_text(form, ["a", "b", "c"]), form) == ["a", "b", "c"]


def test_the_most_severe_comes_first_and_equal_ones_in_the_order_of_the_types() -> None:
    severities = (1, 0, 4, 1, 0, 5, 0, 0)
    assert most_severe_first(severities) == [5, 2, 0, 3]
    text = present_text(AND, severities)
    assert text == "catastrophic contrast, serious noise, slight blur and slight compression"
    assert read_severities(text, AND, AND.empty) == severities
    assert present_text(AND, (0,) * 8) == "nothing at all"
    assert read_severities("nothing at all", AND, AND.empty) == (0,) * 8


def test_phrases_are_read_in_their_order(prompts: PromptLibrary) -> None:
    for name in ("effects", "remedies"):
        phrases, form = prompts.phrases(name), prompts.lists[name]
        told = ["noise", "blur", "resolution"]
        assert set(phrases) == set(DISTORTION_TYPES)
        assert read_phrases(joined_text(form, [phrases[t] for t in told]).casefold(), form, phrases) == told
        assert read_phrases("something else", form, phrases) is None


def test_regions_are_told_in_their_order(prompts: PromptLibrary) -> None:
    form = prompts.lists["qualities"]

    def read(text: str) -> list[str] | None:
        return read_ordinals(text, form, prompts.ordinals, QUALITY_LEVELS)

    assert read("the first is bad, the second is good and the third is fair") == ["bad", "good", "fair"]
    assert read("the second is bad and the first is good") is None
    assert read("the first is bad and the second is lovely") is None
