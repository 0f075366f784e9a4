from __future__ import annotations

from dataclasses import replace

import pytest

from seagull_tune.config.base import load_config
from seagull_tune.config.runs import QuickstartConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError, DataError, RegionError
from seagull_tune.instructions.converse import (
    ConversationSettings,
    TaskWeights,
    build_conversation,
    free_question,
    free_turn,
    question_parts,
    sample_conversation,
    scoring_conversation,
    visit_seed,
)
from seagull_tune.instructions.parsing import NO_REGION, parse_answer
from seagull_tune.instructions.relations import better_of, first_to_fix
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import Message, Part, Recipe, RegionLabel, Sample

NOTHING = dict.fromkeys(TaskWeights.model_fields, 0.0)
ONLY_QUALITY = TaskWeights(**{**NOTHING, "quality": 1.0})
ONLY_JUDGEMENT = TaskWeights(**{**NOTHING, "judgement": 1.0})
ONLY_IMPORTANCE = TaskWeights(**{**NOTHING, "importance": 1.0})
SEVERAL_TASKS = ("comparison", "priority", "summary")
SEVERAL = TaskWeights(**{**NOTHING, **dict.fromkeys(SEVERAL_TASKS, 1.0)})


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
        assert len(mentioned) >= 5  # every question names a region or several
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
            assert slot.region == k
            score = sum(p * i / 4 for i, p in enumerate(slot.target))
            assert score == pytest.approx(labels[conversation.region_order[k]].quality)


def test_importance_is_not_asked_where_it_is_not_scored(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    settings = ConversationSettings(turns=8, max_regions=1)
    for seed in range(40):
        conversation = build_conversation([labels[1]], seed, prompts, settings)
        assert len(conversation.messages) == 1 + 2 * 7  # eight tasks about one region but for importance, none twice
        kinds = {p.slot.kind for m in conversation.messages for p in m.parts if p.slot}
        assert "importance" not in kinds
    with pytest.raises(DataError, match="'importance' needs one that has it scored"):
        build_conversation([labels[1]], 0, prompts, ConversationSettings(task_weights=ONLY_IMPORTANCE))


def test_questions_about_several_regions(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    settings = ConversationSettings(turns=8, max_regions=4, task_weights=SEVERAL)
    better: list[int | None] = []
    for seed in range(60):
        conversation = build_conversation(labels, seed, prompts, settings)
        tasks, pairs = [], []
        for user, assistant in zip(conversation.messages[1::2], conversation.messages[2::2], strict=True):
            mentioned = regions_in((user,))
            assert len(set(mentioned)) == len(mentioned)
            about = [labels[conversation.region_order[k]] for k in mentioned]
            parsed = {task: parse_answer(task, assistant.text, prompts) for task in SEVERAL_TASKS}
            (task,) = [task for task, answer in parsed.items() if answer is not None]
            answer = parsed[task]
            assert answer is not None
            tasks.append(task)
            assert len(mentioned) == (2 if task == "comparison" else 4)
            chosen = better_of(*about) if task == "comparison" else first_to_fix(about)
            assert answer.choice == (NO_REGION if chosen is None else chosen)
            if task == "comparison":
                better.append(chosen)
                pairs.append(frozenset(mentioned))
        assert len(set(pairs)) == len(pairs) and set().union(*pairs) == {0, 1, 2, 3}
        assert (tasks.count("priority"), tasks.count("summary")) == (1, 1)
    assert 0.35 <= better.count(0) / len(better) <= 0.65, "the order of mention must not betray the answer"


def test_one_region_is_not_compared(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    for settings in (
        ConversationSettings(max_regions=1, task_weights=SEVERAL),
        ConversationSettings(turns=1, task_weights=SEVERAL),
    ):
        with pytest.raises(DataError, match="need two"):
            build_conversation(labels, 0, prompts, settings)


def test_a_prompt_folder_without_a_task_that_is_asked(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    older = replace(prompts, tasks={name: texts for name, texts in prompts.tasks.items() if name != "advice"})
    with pytest.raises(DataError, match="no file for the task 'advice'"):
        build_conversation(labels, 0, older, ConversationSettings())
    build_conversation(labels, 0, older, ConversationSettings(task_weights=ONLY_QUALITY))


@pytest.mark.parametrize("file", ["finetune", "quickstart"])
def test_the_embedded_runs_train_the_tasks_that_were_measured(file: str) -> None:
    if file == "quickstart":
        conversation = load_config(QuickstartConfig, "configs/embedded/quickstart.yaml").finetune.conversation
    else:
        conversation = load_config(TrainConfig, "configs/embedded/finetune.yaml").conversation
    asked = {task for task, weight in conversation.task_weights.model_dump().items() if weight > 0}
    assert asked == {"quality", "importance", "distortions", "distortions_short", "judgement", "description"}
    assert conversation.canonical_share == 0.75


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
    assert assistant.text == "Its quality is bad."
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


def test_a_typed_question_about_several_regions_equals_the_trained_one(prompts: PromptLibrary) -> None:
    for task, typed in (
        ("comparison", "Which looks better, <region 2> or <region 1>?"),
        ("priority", "Which of <region 3>, <region 1> and <region 2> should be fixed first?"),
    ):
        about = [1, 0] if task == "comparison" else [2, 0, 1]
        asked = question_parts(prompts.task(task).questions[0], about)
        assert free_turn(typed, None, prompts).parts == asked
        with pytest.raises(DataError, match="two or more"):
            question_parts(prompts.task(task).questions[0], 0)


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


def test_every_visit_of_a_sample_has_its_own_conversation(labels: list[RegionLabel], prompts: PromptLibrary) -> None:
    sample = Sample("a", "b", Recipe(), tuple(labels), 5)
    visits = [sample_conversation(sample, prompts, ConversationSettings(), visit) for visit in range(4)]
    assert len({visit.messages for visit in visits}) == 4
    assert visits[2] == build_conversation(labels, visit_seed(5, 2), prompts, ConversationSettings())


def test_visit_seeds_differ() -> None:
    seeds = {visit_seed(prompt, visit) for prompt in range(20) for visit in range(20)}
    assert len(seeds) == 400 and all(0 <= seed < 2**64 for seed in seeds)
    assert visit_seed(3, 4) == visit_seed(3, 4)
