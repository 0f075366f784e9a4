from __future__ import annotations

import random

import pytest

from seagull_tune.errors import DataError
from seagull_tune.instructions.answers import (
    SLOT_WORDS,
    ParsedAnswer,
    answer_parts,
    parse_answer,
    placeholder_parts,
    usable_forms,
)
from seagull_tune.instructions.templates import TASK_RULES, PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES, level_score
from seagull_tune.records import Message, Part, RegionLabel


def text_of(parts: tuple[Part, ...]) -> str:
    return Message("assistant", parts).text


def rounded(score: float) -> float:
    """The centre of the nearest of five levels; a tie goes up."""
    return int(score * 4 + 0.5) / 4


@pytest.mark.parametrize("task", TASK_RULES)
def test_every_form_is_a_round_trip(task: str, prompts: PromptLibrary) -> None:
    rng = random.Random(1)
    for _ in range(40):
        share = rng.choice([0.0, 0.3, 1.0])
        severities = tuple(rng.randrange(6) if rng.random() < share else 0 for _ in DISTORTION_TYPES)
        importance = None if task != "importance" and rng.random() < 0.3 else rng.random()
        label = RegionLabel(rng.random(), importance, severities)
        for form in usable_forms(task, prompts, importance is not None):
            text = text_of(answer_parts(task, label, prompts, form, type_name="noise"))
            parsed = parse_answer(task, text, prompts)
            assert parsed is not None, text
            told = {
                "quality": rounded(label.quality),
                "importance": None if importance is None else rounded(importance),
                "severities": severities,
                "judgement": severities[2] > 0,
            }
            for name, value in vars(parsed).items():
                assert value is None or value == told[name], (text, name)
            assert any(value is not None for value in vars(parsed).values())


def test_canonical_answers_read_as_expected(prompts: PromptLibrary) -> None:
    label = RegionLabel(0.3, 0.9, (1, 0, 4, 0, 0, 0, 0, 2))
    assert text_of(answer_parts("quality", label, prompts)) == "The quality of this region is poor."
    assert text_of(answer_parts("importance", label, prompts)) == "The importance of this region is critical."
    assert text_of(answer_parts("distortions", label, prompts)) == (
        "The distortion is blur: slight, noise: serious, resolution: moderate."
    )
    short = text_of(answer_parts("distortions_short", label, prompts))
    assert short == "It has serious noise, moderate resolution and slight blur."
    assert text_of(answer_parts("judgement", label, prompts, type_name="noise")) == "yes"
    assert text_of(answer_parts("judgement", label, prompts, type_name="contrast")) == "no"
    assert text_of(answer_parts("description", label, prompts)) == (
        "In short, the quality of this region is poor, the importance of this region is critical, "
        "and the distortion is blur: slight, noise: serious, resolution: moderate."
    )
    clean = RegionLabel(1.0, None, (0,) * 8)
    described = text_of(answer_parts("description", clean, prompts))
    assert described == ("In short, the quality of this region is excellent, and the distortion is none.")
    assert text_of(answer_parts("distortions", clean, prompts)) == "The distortion is none."
    assert parse_answer("distortions_short", "it has  NO distortion", prompts) == ParsedAnswer(severities=(0,) * 8)


def test_soft_targets_carry_the_exact_score(prompts: PromptLibrary) -> None:
    label = RegionLabel(0.43, 0.81, (0,) * 8)
    (slot,) = [p.slot for p in answer_parts("quality", label, prompts) if p.slot]
    assert slot.words == SLOT_WORDS["quality"] and level_score(slot.target) == pytest.approx(0.43, abs=1e-12)
    (slot,) = [p.slot for p in answer_parts("importance", label, prompts) if p.slot]
    assert slot.kind == "importance" and level_score(slot.target) == pytest.approx(0.81, abs=1e-12)


@pytest.mark.parametrize("score", [0.0, 0.1, 0.125, 0.49, 0.625, 0.999, 1.0])
def test_the_word_is_the_most_probable_one(score: float, prompts: PromptLibrary) -> None:
    parts = answer_parts("quality", RegionLabel(score, 0.5, (0,) * 8), prompts)
    (part,) = [p for p in parts if p.slot]
    assert part.slot is not None
    assert part.slot.target[part.slot.words.index(part.text)] == max(part.slot.target)


def test_a_graded_list_has_a_slot_for_the_names_and_one_for_every_severity(prompts: PromptLibrary) -> None:
    label = RegionLabel(0.5, 0.5, (0, 5, 3, 0, 1, 0, 0, 0))
    names, *slots = [p.slot for p in answer_parts("distortions", label, prompts, severity_smoothing=0.2) if p.slot]
    assert names.kind == "types" and names.words == (*DISTORTION_TYPES, "none")
    assert names.target == pytest.approx((0, 1 / 3, 1 / 3, 0, 1 / 3, 0, 0, 0, 0))
    assert [(slot.kind, slot.key) for slot in slots] == [("severity", n) for n in ("sharpness", "noise", "exposure")]
    assert all(slot.words == SEVERITY_NAMES[1:] for slot in slots)
    assert slots[0].target == pytest.approx((0, 0, 0, 0.2, 0.8))
    assert slots[1].target == pytest.approx((0, 0.1, 0.8, 0.1, 0))
    assert slots[2].target == pytest.approx((0.8, 0.2, 0, 0, 0))
    hard = [p.slot for p in answer_parts("distortions", label, prompts) if p.slot]
    assert all(sorted(slot.target) == [0, 0, 0, 0, 1] for slot in hard[1:])


def test_a_clean_region_has_no_severity_slot(prompts: PromptLibrary) -> None:
    (slot,) = [p.slot for p in answer_parts("distortions", RegionLabel(1.0, None, (0,) * 8), prompts) if p.slot]
    assert slot.kind == "types" and slot.target == (0,) * 8 + (1,)


@pytest.mark.parametrize(
    ("task", "text"),
    [
        ("quality", "The quality of this region is lovely."),
        ("quality", "good"),
        ("quality", ""),
        ("quality", "The quality of this region is good. The quality of this region is bad."),
        ("importance", "The importance of this region is good."),
        ("distortions", "The distortion is blur: none."),
        ("distortions", "The distortion is blur."),
        ("distortions", "The distortion is blur: slight, blur: slight."),
        ("distortions", "The distortion is blur: huge."),
        ("distortions", "The distortion is none, none."),
        ("distortions_short", "It has serious fog."),
        ("distortions_short", "It has serious noise and slight noise."),
        ("distortions_short", "It has none noise."),
        ("judgement", "maybe"),
        ("description", "Its quality is good, and in this region: serious things."),
    ],
)
def test_unreadable_answers_are_none(task: str, text: str, prompts: PromptLibrary) -> None:
    assert parse_answer(task, text, prompts) is None


def test_placeholders_have_the_literal_pieces_of_real_answers(prompts: PromptLibrary) -> None:
    label = RegionLabel(0.5, 0.5, (3, 0, 0, 0, 0, 0, 0, 0))
    for task in ("quality", "importance", "distortions", "judgement"):
        real = answer_parts(task, label, prompts, type_name="blur")
        empty = placeholder_parts(task, prompts, type_name="blur")
        assert [p.text for p in real if not p.slot] == [p.text for p in empty if not p.slot]
        for one, other in zip([p.slot for p in real if p.slot], [p.slot for p in empty if p.slot], strict=True):
            assert (one.kind, one.words, one.key) == (other.kind, other.words, other.key)
            assert sum(other.target) == pytest.approx(1) and len(set(other.target)) == 1


def test_what_cannot_be_said_is_refused(prompts: PromptLibrary) -> None:
    clean = RegionLabel(1.0, None, (0,) * 8)
    with pytest.raises(DataError, match="not scored"):
        answer_parts("importance", clean, prompts)
    with pytest.raises(DataError, match="Did you mean 'noise'"):
        answer_parts("judgement", clean, prompts, type_name="noize")
    with pytest.raises(DataError, match="no fixed places"):
        placeholder_parts("distortions_short", prompts)
    with pytest.raises(DataError, match="Did you mean 'quality'"):
        parse_answer("qualty", "x", prompts)


def test_severity_names_are_all_readable(prompts: PromptLibrary) -> None:
    for severity, name in enumerate(SEVERITY_NAMES[1:], start=1):
        parsed = parse_answer("distortions_short", f"I see {name} blur.", prompts)
        assert parsed is not None and parsed.severities == (severity, *(0,) * 7)
