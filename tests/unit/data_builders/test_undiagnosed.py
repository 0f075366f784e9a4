"""Labels whose severities nobody knows are stored, trained on and measured for what is known, and nothing else."""

from __future__ import annotations

import dataclasses
import random
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from data_builders.exporters.base import severities_by_name
from seagull_tune.config.instructions import ConversationSettings, TaskWeights
from seagull_tune.data.collate import direct_targets
from seagull_tune.data.schema import sample_from_row, sample_to_row
from seagull_tune.errors import DataError
from seagull_tune.evaluate.outcomes import Truth
from seagull_tune.instructions.answers import answer_parts
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.rules import TASK_RULES
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.instructions.turns import draw_turns
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import RegionLabel, Sample
from seagull_tune.tune.losses import direct_losses

RATED = RegionLabel(0.625, None, None)
KNOWN = RegionLabel(0.5, 0.25, (3, *(0,) * (len(DISTORTION_TYPES) - 1)))


def test_rows_keep_what_is_unknown() -> None:
    sample = Sample("a#0", "a", None, (RATED, KNOWN), 7)
    assert sample_from_row(sample_to_row(sample, None)) == sample
    assert severities_by_name(RATED) is None and severities_by_name(KNOWN) == {"blur": 3}


def test_a_rated_region_is_asked_for_its_quality_only() -> None:
    prompts, settings = load_prompts(), ConversationSettings(turns=8)
    for seed in range(20):
        conversation = build_conversation((RATED,), seed, prompts, settings)
        kinds = [part.slot.kind for m in conversation.messages for part in m.parts if part.slot is not None]
        assert kinds == ["quality"]
    with pytest.raises(DataError, match="Nobody knows which distortions"):
        answer_parts("distortions", RATED, prompts)
    weights = TaskWeights(quality=0, importance=1, distortions=1, distortions_short=1, judgement=1, description=1)
    with pytest.raises(DataError, match="No task of positive weight"):
        build_conversation((RATED,), 0, prompts, ConversationSettings(task_weights=weights))


def test_rated_regions_are_asked_for_their_quality_and_importance_only() -> None:
    prompts, settings = load_prompts(), ConversationSettings(turns=12, max_regions=3)
    labels = (RATED, dataclasses.replace(RATED, importance=0.5), dataclasses.replace(RATED, quality=0.1))
    for seed in range(20):
        conversation = build_conversation(labels, seed, prompts, settings)
        kinds = [part.slot.kind for m in conversation.messages for part in m.parts if part.slot is not None]
        assert sorted(kinds) == ["importance", *["quality"] * 3] and len(conversation.messages) == 1 + 2 * 4
    for task in ("advice", "summary", "json_answer"):
        with pytest.raises(DataError, match="Nobody knows which distortions"):
            answer_parts(task, labels[:1] if TASK_RULES[task].regions[0] == 1 else labels, prompts)


def test_questions_about_several_regions_leave_rated_ones_out() -> None:
    several = dict.fromkeys(("comparison", "priority", "summary"), 1.0)
    weights = TaskWeights(**{**dict.fromkeys(TaskWeights.model_fields, 0.0), "quality": 0.2, **several})
    settings = ConversationSettings(turns=8, max_regions=4, task_weights=weights)
    mixed = (RATED, KNOWN, RATED, dataclasses.replace(KNOWN, quality=0.9))
    asked = set()
    for seed in range(40):
        for turn in draw_turns(mixed, random.Random(seed), settings, 8):
            asked.add(turn.task)
            assert turn.task == "quality" or set(turn.regions) == {1, 3}
        for turn in draw_turns(mixed[:3], random.Random(seed), settings, 8):
            assert turn.task == "quality", "one diagnosed region is compared with nothing"
    assert asked == {"quality", *several}


def test_unknown_severities_add_no_loss_and_no_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, len(DISTORTION_TYPES), 6, requires_grad=True)
    direct = cast(Any, SimpleNamespace(quality=torch.zeros(2, 5), importance=torch.zeros(2, 5), severity=logits))
    both = direct_losses(direct, direct_targets([RATED, KNOWN]))["direct_severity"]
    alone = dataclasses.replace(KNOWN)
    only = cast(Any, SimpleNamespace(quality=torch.zeros(1, 5), importance=torch.zeros(1, 5), severity=logits[1:]))
    assert both.item() == pytest.approx(
        direct_losses(only, direct_targets([alone]))["direct_severity"].item(), abs=1e-6
    )
    both.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and not logits.grad[0].any() and logits.grad[1].any()
    rated = cast(Any, SimpleNamespace(quality=torch.zeros(1, 5), importance=torch.zeros(1, 5), severity=logits[:1]))
    assert direct_losses(rated, direct_targets([RATED]))["direct_severity"].item() == 0.0


def test_truth_says_which_regions_are_diagnosed() -> None:
    truth = Truth.of_labels(["a", "a"], [RATED, KNOWN], [0.1, 0.2])
    assert truth.diagnosed.tolist() == [False, True] and np.isnan(truth.importance[0])
