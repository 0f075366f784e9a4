"""Conversations about two versions of one image: what is asked, in which order, and that answers say what is true."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from transformers import PreTrainedTokenizerFast

from seagull_tune.config.instructions import ConversationSettings, TaskWeights
from seagull_tune.errors import DataError
from seagull_tune.instructions.chat import TokenLayout, encode_chat
from seagull_tune.instructions.pairs import TASK, PairConversation, pair_conversation
from seagull_tune.instructions.parsing import NO_REGION, parse_answer
from seagull_tune.instructions.relations import better_of
from seagull_tune.instructions.rules import TASK_RULES
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import level_score
from seagull_tune.records import Recipe, Sample
from tests.tiny import random_labels


@pytest.fixture
def pair() -> tuple[Sample, Sample]:
    """Two versions of an image of six regions; regions 1 and 4 differ, the others are the same in both."""
    labels = random_labels(random.Random(3), 6)
    changed = list(labels)
    for region in (1, 4):
        changed[region] = replace(labels[region], quality=(labels[region].quality + 0.4) % 1.0)
    first = Sample("a#0", "a", Recipe(), tuple(labels), prompt_seed=11, pair_id="a#0+1")
    return first, replace(first, sample_id="a#1", labels=tuple(changed), prompt_seed=12)


def talk(pair: tuple[Sample, Sample], prompts: PromptLibrary, visit: int = 0, **settings: object) -> PairConversation:
    return pair_conversation(*pair, prompts, ConversationSettings.model_validate(settings), visit)


def test_both_pictures_open_the_first_question(pair: tuple[Sample, Sample], prompts: PromptLibrary) -> None:
    conversation = talk(pair, prompts, turns=4, max_regions=3, canonical_share=1.0)
    system, first, *rest = conversation.messages
    assert system.text == prompts.system
    asked = "Which version looks better, <region {}> in the first picture or <region {}> in the second?"
    assert first.text == "<image><image>" + asked.format(1, 2)
    assert [message.text for message in rest[1::2]] == [asked.format(3, 4), asked.format(5, 6)]
    assert conversation.region_pictures == (0, 1) * 3
    assert conversation.region_order[::2] == conversation.region_order[1::2]


def test_regions_that_differ_are_asked_about_first(pair: tuple[Sample, Sample], prompts: PromptLibrary) -> None:
    for visit in range(20):
        order = talk(pair, prompts, visit, turns=6, max_regions=6).region_order[::2]
        assert sorted(order) == list(range(6)) and set(order[:2]) == {1, 4}
    assert talk(pair, prompts, 3) == talk(pair, prompts, 3) != talk(pair, prompts, 4)


def test_answers_are_read_back_as_what_is_true(pair: tuple[Sample, Sample], prompts: PromptLibrary) -> None:
    shown, choices = set(), set()
    for visit in range(60):
        conversation = talk(pair, prompts, visit, turns=6, max_regions=6, canonical_share=0.2)
        shown.add(tuple(sample.sample_id for sample in conversation.samples))
        for place, answer in enumerate(conversation.messages[2::2]):
            labels = [sample.labels[conversation.region_order[2 * place]] for sample in conversation.samples]
            parsed = parse_answer(TASK, answer.text, prompts)
            assert parsed is not None, answer.text
            better = better_of(*labels)
            assert parsed.choice == (NO_REGION if better is None else better)
            slots = [part.slot for part in answer.parts if part.slot is not None]
            assert [level_score(slot.target) for slot in slots] == pytest.approx([label.quality for label in labels])
            choices.add(parsed.choice)
    assert shown == {("a#0", "a#1"), ("a#1", "a#0")} and choices == {NO_REGION, 0, 1}


def test_what_is_no_pair_is_refused(pair: tuple[Sample, Sample], prompts: PromptLibrary) -> None:
    first, second = pair
    for other in (replace(second, pair_id=None), replace(second, pair_id="b"), replace(second, image_id="b")):
        with pytest.raises(DataError, match=r"'a#0' and 'a#1' are no pair.*mix\.pairs"):
            talk((first, other), prompts)
    with pytest.raises(DataError, match="6 and 5 labelled regions"):
        talk((first, replace(second, labels=second.labels[:5])), prompts)
    with pytest.raises(DataError, match="0 and 0 labelled regions"):
        talk((replace(first, labels=()), replace(second, labels=())), prompts)


def test_no_training_draws_them(
    pair: tuple[Sample, Sample], prompts: PromptLibrary, make_tokenizer: Callable[..., PreTrainedTokenizerFast]
) -> None:
    weighted = set(TaskWeights.model_fields)
    assert weighted == {name for name, rule in TASK_RULES.items() if rule.pictures == 1} and TASK not in weighted
    tokenizer = make_tokenizer()
    image, *region = tokenizer.convert_tokens_to_ids(["<image>", "<global>", "<local>"])
    with pytest.raises(DataError, match="2 images; at most one is allowed"):
        encode_chat(tokenizer, talk(pair, prompts).messages, TokenLayout(image, 3, tuple(region)))
