from __future__ import annotations

import pytest

from seagull_tune.errors import DataError
from seagull_tune.instructions.answers import SLOT_WORDS, answer_parts, placeholder_parts, usable_forms
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES, level_score
from seagull_tune.records import Message, Part, RegionLabel

CLEAN = RegionLabel(1.0, None, (0,) * 8)
NOISY = RegionLabel(0.1, 0.9, (0, 1, 4, 0, 0, 0, 0, 0))
SOFT = RegionLabel(0.55, 0.2, (2, 0, 0, 0, 0, 0, 0, 0))


def text_of(parts: tuple[Part, ...]) -> str:
    return Message("assistant", parts).text


def test_canonical_answers_read_as_expected(prompts: PromptLibrary) -> None:
    label = RegionLabel(0.3, 0.9, (1, 0, 4, 0, 0, 0, 0, 2))
    assert text_of(answer_parts("quality", label, prompts)) == "Its quality is poor."
    assert text_of(answer_parts("importance", label, prompts)) == "Its importance is critical."
    assert text_of(answer_parts("distortions", label, prompts)) == (
        "The distortion is blur: slight, noise: serious, resolution: moderate."
    )
    short = text_of(answer_parts("distortions_short", label, prompts))
    assert short == "It has serious noise, moderate resolution and slight blur."
    assert text_of(answer_parts("judgement", label, prompts, type_name="noise")) == "yes"
    assert text_of(answer_parts("judgement", label, prompts, type_name="contrast")) == "no"
    assert text_of(answer_parts("description", label, prompts)) == (
        "In short, its quality is poor, its importance is critical, "
        "and the distortion is blur: slight, noise: serious, resolution: moderate."
    )
    clean = RegionLabel(1.0, None, (0,) * 8)
    described = text_of(answer_parts("description", clean, prompts))
    assert described == "In short, its quality is excellent, and the distortion is none."
    assert text_of(answer_parts("distortions", clean, prompts)) == "The distortion is none."


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        (
            "advice",
            [NOISY],
            (
                "It has serious noise and slight sharpness: grain covers the fine texture and edges are lined with "
                "halos. What would help is denoising and softer sharpening."
            ),
        ),
        ("advice", [CLEAN], "Nothing is wrong with it, so nothing needs to be done."),
        ("comparison", [NOISY, SOFT], "The first is bad and the second is fair: the second looks better."),
        ("comparison", [CLEAN, NOISY], "The first is excellent and the second is bad: the first looks better."),
        ("comparison", [SOFT, SOFT], "The first is fair and the second is fair: they look alike."),
        (
            "priority",
            [CLEAN, SOFT, NOISY],
            "Fix the third region first: its quality is bad and its importance is critical.",
        ),
        ("priority", [CLEAN, CLEAN], "None of them needs to be fixed."),
        (
            "summary",
            [SOFT, CLEAN, NOISY],
            (
                "By region, the first is fair, the second is excellent and the third is bad. Over all of them there is "
                "serious noise, moderate blur and slight sharpness, and the third should be fixed first."
            ),
        ),
        (
            "summary",
            [CLEAN, CLEAN],
            (
                "By region, the first is excellent and the second is excellent. Over all of them there is no "
                "distortion, and nothing needs to be fixed."
            ),
        ),
        (
            "json_answer",
            [NOISY],
            (
                '{"quality": "bad", "importance": "critical", "distortions": [{"type": "sharpness", '
                '"severity": "slight"}, {"type": "noise", "severity": "serious"}]}'
            ),
        ),
        ("json_answer", [CLEAN], '{"quality": "excellent", "importance": null, "distortions": []}'),
    ],
)
def test_canonical_answers_of_the_later_tasks(
    task: str, labels: list[RegionLabel], expected: str, prompts: PromptLibrary
) -> None:
    assert text_of(answer_parts(task, labels, prompts)) == expected


def test_qualities_of_several_regions_are_read_at_their_words(prompts: PromptLibrary) -> None:
    for task in ("comparison", "summary"):
        slots = [p.slot for p in answer_parts(task, [NOISY, SOFT], prompts) if p.slot]
        assert [(slot.kind, slot.key) for slot in slots] == [("quality", "first"), ("quality", "second")]
        assert [level_score(slot.target) for slot in slots] == pytest.approx([0.1, 0.55], abs=1e-12)


def test_a_task_is_about_as_many_regions_as_its_question(prompts: PromptLibrary) -> None:
    for task, labels, allowed in (
        ("quality", [SOFT, SOFT], "1 regions, got 2"),
        ("comparison", [SOFT], "2 regions, got 1"),
        ("comparison", [SOFT] * 3, "2 regions, got 3"),
        ("priority", [SOFT], "2 to 8 regions, got 1"),
        ("summary", [SOFT] * 9, "2 to 8 regions, got 9"),
    ):
        with pytest.raises(DataError, match=allowed):
            answer_parts(task, labels, prompts, form="x")


def test_forms_follow_the_label(prompts: PromptLibrary) -> None:
    for task, with_value, without in (
        ("description", [SOFT], [CLEAN]),
        ("advice", [SOFT], [CLEAN]),
        ("comparison", [SOFT, CLEAN], [SOFT, SOFT]),
        ("priority", [CLEAN, SOFT], [CLEAN, CLEAN]),
        ("summary", [CLEAN, SOFT], [CLEAN, CLEAN]),
    ):
        one, other = usable_forms(task, with_value, prompts), usable_forms(task, without, prompts)
        assert sorted((*one, *other)) == sorted(prompts.task(task).answers)
        assert len(one) >= 6 and len(other) >= 6


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
    for task in ("distortions_short", "advice", "comparison", "priority", "json_answer"):
        with pytest.raises(DataError, match="no fixed places"):
            placeholder_parts(task, prompts)
    with pytest.raises(DataError, match="Did you mean 'quality'"):
        answer_parts("qualty", clean, prompts)
