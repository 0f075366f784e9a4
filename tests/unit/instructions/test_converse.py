from __future__ import annotations

import pytest

from seagull_tune.config.base import load_config
from seagull_tune.errors import ConfigError, DataError, RegionError
from seagull_tune.instructions.converse import (
    ConversationSettings,
    TaskWeights,
    build_conversation,
    free_question,
    free_turn,
    question_parts,
    scoring_conversation,
    visit_seed,
)
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import Message, Part, RegionLabel

ONLY_QUALITY = TaskWeights(importance=0, distortions=0, distortions_short=0, judgement=0, description=0)
ONLY_JUDGEMENT = TaskWeights(quality=0, importance=0, distortions=0, distortions_short=0, description=0)
ONLY_IMPORTANCE = TaskWeights(quality=0, distortions=0, distortions_short=0, judgement=0, description=0)


def regions_in(messages: tuple[Message, ...]) -> list[int]:
    return [part.region for message in messages for part in message.parts if part.region is not None]


def test_conversations_are_well_formed_and_repeatable(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    settings = ConversationSettings(turns=5, max_regions=3)
    seen = set()
    for seed in range(200):
        conversation = build_conversation(labels, seed, prompts, settings)
        assert conversation == build_conversation(labels, seed, prompts, settings)
        messages = conversation.messages
        assert [m.role for m in messages] == ["system", *["user", "assistant"] * 5]
        assert messages[1].parts[0] == Part(image=True)
        assert sum(part.image for m in messages for part in m.parts) == 1
        mentioned = regions_in(messages)
        assert len(mentioned) == 5  # every question names one region
        assert list(dict.fromkeys(mentioned)) == list(range(len(conversation.region_order)))
        assert len(set(conversation.region_order)) == len(conversation.region_order) == 3
        seen.add(messages)
    assert len(seen) > 190


def test_answers_belong_to_the_region_that_was_asked_about(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    settings = ConversationSettings(turns=4, max_regions=4, task_weights=ONLY_QUALITY)
    for seed in range(30):
        conversation = build_conversation(labels, seed, prompts, settings)
        assert len(conversation.messages) == 9
        for user, assistant in zip(conversation.messages[1::2], conversation.messages[2::2], strict=True):
            (k,) = [p.region for p in user.parts if p.region is not None]
            (slot,) = [p.slot for p in assistant.parts if p.slot]
            score = sum(p * i / 4 for i, p in enumerate(slot.target))
            assert score == pytest.approx(labels[conversation.region_order[k]].quality)


def test_importance_is_not_asked_where_it_is_not_scored(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    settings = ConversationSettings(turns=8, max_regions=1)
    for seed in range(40):
        conversation = build_conversation([labels[1]], seed, prompts, settings)
        assert len(conversation.messages) == 1 + 2 * 5  # six tasks but for importance, none asked twice
        kinds = {p.slot.kind for m in conversation.messages for p in m.parts if p.slot}
        assert "importance" not in kinds
    with pytest.raises(DataError, match="No task of positive weight"):
        build_conversation([labels[1]], 0, prompts, ConversationSettings(task_weights=ONLY_IMPORTANCE))


def test_canonical_share_is_kept(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    question = Message("user", question_parts(prompts.task("quality").questions[0], 0)).text
    for share, low, high in ((1.0, 1.0, 1.0), (0.6, 0.55, 0.75), (0.0, 0.0, 0.25)):
        settings = ConversationSettings(turns=1, task_weights=ONLY_QUALITY, canonical_share=share)
        texts = [build_conversation(labels, seed, prompts, settings).messages[1].text for seed in range(400)]
        assert low <= sum(text == "<image>" + question for text in texts) / 400 <= high


def test_judgements_are_balanced_where_both_answers_are_possible(prompts: PromptLibrary) -> None:
    label = RegionLabel(0.4, 0.5, (0, 3, 0, 0, 0, 0, 0, 2))
    settings = ConversationSettings(turns=1, task_weights=ONLY_JUDGEMENT, present_share=0.5)
    yes = 0
    asked = set()
    for seed in range(600):
        answer = build_conversation([label], seed, prompts, settings).messages[2]
        (slot,) = [p.slot for p in answer.parts if p.slot]
        yes += slot.target[1] == 1.0
        asked.add(slot.key)
        assert (slot.target[1] == 1.0) == (slot.key in ("sharpness", "resolution"))
    assert 0.43 <= yes / 600 <= 0.57
    assert asked == set(DISTORTION_TYPES)


def test_scoring_conversation_is_the_canonical_first_turn(prompts: PromptLibrary) -> None:
    system, user, assistant = scoring_conversation("quality", prompts)
    assert system.text == prompts.system
    assert user.text == "<image>How is the quality of <region 1>?"
    assert assistant.text == "The quality of this region is bad."
    assert scoring_conversation("judgement", prompts, "noise", region=2)[1].text == (
        "<image>Is there noise distortion in <region 3>?"
    )
    assert scoring_conversation("distortions", prompts, "noise")[2].text == "The distortion is noise: slight."
    with pytest.raises(DataError, match="names a type"):
        scoring_conversation("judgement", prompts)


def test_a_typed_canonical_question_equals_the_trained_one(prompts: PromptLibrary) -> None:
    for task in ("quality", "importance", "distortions"):
        typed = prompts.task(task).questions[0].replace("{region}", "this region")
        assert free_question(typed, 0, prompts) == scoring_conversation(task, prompts)[:2]


def test_free_turns_place_the_region(prompts: PromptLibrary) -> None:
    assert free_turn("  Is it noisy? ", 1, prompts).text == "About <region 2>: Is it noisy?"
    assert free_turn("Is The Region ok?", 0, prompts).parts == (Part(text="Is "), Part(region=0), Part(text=" ok?"))
    assert regions_in((free_turn("Is <region 2> better than <region 1>?", 0, prompts, n_regions=2),)) == [1, 0]
    assert free_turn("How is the picture?", None, prompts).parts == (Part(text="How is the picture?"),)
    assert free_question("<image> {region} {question}", None)[1].parts == (
        Part(image=True),
        Part(text="<image> {region} {question}"),
    )


def test_bad_free_turns_are_refused(prompts: PromptLibrary) -> None:
    with pytest.raises(DataError, match="empty"):
        free_turn("  ", 0, prompts)
    with pytest.raises(RegionError, match="1 to 2"):
        free_turn("What of <region 3>?", 0, prompts, n_regions=2)
    with pytest.raises(RegionError, match="numbers from 1"):
        free_turn("What of <region 0>?", 0, prompts)


def test_settings_are_validated() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(ConversationSettings, overrides=["task_weights.qualty=1", "turns=0", "canonical_share=2"])
    assert all(text in str(caught.value) for text in ("Did you mean 'quality'", "turns", "canonical_share"))
    zero = [f"task_weights.{name}=0" for name in TaskWeights.model_fields]
    with pytest.raises(ConfigError, match="at least one must be above 0"):
        load_config(ConversationSettings, overrides=zero)
    with pytest.raises(DataError, match="at least one labelled region"):
        build_conversation([], 0, None, ConversationSettings())  # type: ignore[arg-type]


def test_visit_seeds_differ() -> None:
    seeds = {visit_seed(prompt, visit) for prompt in range(20) for visit in range(20)}
    assert len(seeds) == 400 and all(0 <= seed < 2**64 for seed in seeds)
    assert visit_seed(3, 4) == visit_seed(3, 4)
