"""Plans of conversations: who is asked about what, and that the plan is fair."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from seagull_tune.config.instructions import ConversationSettings, TaskWeights
from seagull_tune.instructions.turns import Turn, draw_turns
from seagull_tune.records import RegionLabel
from tests.tiny import random_labels

NOTHING = dict.fromkeys(TaskWeights.model_fields, 0.0)


def plan(labels: list[RegionLabel], seed: int, most_regions: int = 8, **settings: object) -> list[Turn]:
    return draw_turns(labels, random.Random(seed), ConversationSettings.model_validate(settings), most_regions)


def test_every_chosen_region_is_asked_about_and_nothing_twice() -> None:
    rng = random.Random(4)
    for seed in range(200):
        labels = random_labels(rng, 5)
        turns = plan(labels, seed, turns=7, max_regions=4)
        assert turns == plan(labels, seed, turns=7, max_regions=4)
        assert len(turns) == 7 and len({region for turn in turns for region in turn.regions}) == 4
        asked = [(turn.task, frozenset(turn.regions)) for turn in turns]
        assert len(set(asked)) == len(asked)
        assert all((turn.type_name is not None) == (turn.task == "judgement") for turn in turns)
        assert all(labels[turn.regions[0]].importance is not None for turn in turns if turn.task == "importance")


def test_tasks_are_asked_as_often_as_their_weights_say() -> None:
    weights = {**NOTHING, "quality": 3.0, "advice": 1.0}
    labels = [RegionLabel(0.5, 0.5, (1,) * 8)]
    drawn = Counter(plan(labels, seed, turns=1, task_weights=weights)[0].task for seed in range(800))
    assert drawn["quality"] / 800 == pytest.approx(0.75, abs=0.05) and sum(drawn.values()) == 800


def test_a_group_is_no_larger_than_there_are_ordinals() -> None:
    labels = random_labels(random.Random(0), 6)
    weights = {**NOTHING, "summary": 1.0}
    (turn,) = plan(labels, 1, most_regions=3, turns=6, max_regions=6, task_weights=weights)
    assert len(turn.regions) == 3
    assert plan(labels, 1, most_regions=0, turns=6, max_regions=6, task_weights=weights) == []


def test_every_place_in_a_question_is_equally_likely() -> None:
    labels = random_labels(random.Random(0), 3)
    weights = {**NOTHING, "priority": 1.0}
    first = Counter(
        plan(labels, seed, turns=3, max_regions=3, task_weights=weights)[0].regions[0] for seed in range(600)
    )
    assert all(count / 600 == pytest.approx(1 / 3, abs=0.06) for count in first.values()) and len(first) == 3
