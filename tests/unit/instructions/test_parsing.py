"""Every form of every task can be read back, and nothing else can."""

from __future__ import annotations

import random

import pytest

from seagull_tune.errors import DataError
from seagull_tune.instructions.answers import answer_parts, usable_forms
from seagull_tune.instructions.parsing import NO_REGION, ParsedAnswer, parse_answer
from seagull_tune.instructions.relations import better_of, first_to_fix, known_severities, worst_severities
from seagull_tune.instructions.rules import TASK_RULES
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import SEVERITY_NAMES
from seagull_tune.records import Message, RegionLabel
from tests.tiny import random_labels


def rounded(score: float) -> float:
    """The centre of the nearest of five levels; a tie goes up."""
    return int(score * 4 + 0.5) / 4


def told(task: str, labels: list[RegionLabel]) -> dict[str, object]:
    """Everything that is true of the labels, by the names of ``ParsedAnswer``."""
    choice = better_of(*labels) if TASK_RULES[task].compares else first_to_fix(labels)
    subject = labels[choice or 0]
    return {
        "quality": rounded(subject.quality),
        "importance": None if subject.importance is None else rounded(subject.importance),
        "severities": worst_severities(labels),
        "judgement": known_severities(subject)[2] > 0,
        "qualities": tuple(rounded(label.quality) for label in labels),
        "choice": NO_REGION if choice is None else choice,
    }


@pytest.mark.parametrize("task", TASK_RULES)
def test_every_form_is_a_round_trip(task: str, prompts: PromptLibrary) -> None:
    rng = random.Random(1)
    least, most = TASK_RULES[task].regions
    used = set()
    for _ in range(120):
        labels = random_labels(rng, rng.randint(least, most or len(prompts.ordinals)))
        if task == "importance":
            labels = [RegionLabel(label.quality, rng.random(), label.severities) for label in labels]
        if rng.random() < 0.2:
            labels = [RegionLabel(1.0, labels[0].importance, (0,) * 8) for _ in labels]
        for form in usable_forms(task, labels, prompts):
            used.add(form)
            text = Message("assistant", answer_parts(task, labels, prompts, form, type_name="noise")).text
            parsed = parse_answer(task, text, prompts)
            assert parsed is not None, text
            truth = told(task, labels)
            for name, value in vars(parsed).items():
                assert value is None or value == truth[name], (text, name)
            assert any(value is not None for value in vars(parsed).values())
    assert used == set(prompts.task(task).answers)


def test_reading_is_tolerant_of_case_and_blanks(prompts: PromptLibrary) -> None:
    assert parse_answer("distortions_short", "it has  NO distortion", prompts) == ParsedAnswer(severities=(0,) * 8)
    assert parse_answer("priority", " none of them\nis urgent ", prompts) == ParsedAnswer(choice=NO_REGION)
    said = "Begin with the SECOND: the quality is bad there, and the importance is low."
    assert parse_answer("priority", said, prompts) == ParsedAnswer(quality=0.0, importance=0.25, choice=1)
    spread = '{"quality":"good",\n "importance": null, "distortions": []}'
    assert parse_answer("json_answer", spread, prompts) == ParsedAnswer(quality=0.75, severities=(0,) * 8)


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
        (
            "advice",
            "It has serious noise: edges are lined with halos. What would help is denoising.",
        ),
        ("advice", "It has serious noise: grain covers the fine texture. What would help is deblurring."),
        ("advice", "It has serious noise: it is bad. What would help is denoising."),
        ("comparison", "The first is bad and the second is fair: the third looks better."),
        ("comparison", "The first is bad and the second is lovely: the first looks better."),
        ("priority", "Fix the ninth region first: its quality is bad and its importance is critical."),
        ("priority", "Fix the first region first: its quality is bad."),
        ("summary", "In this picture, the second is bad and the first is bad. It has fog; I would leave it as it is."),
        ("summary", "In this picture, the second is bad. It has slight blur; I would leave it as it is."),
        ("summary", "In this picture, the first is bad. It has fog; I would leave it as it is."),
        ("summary", "In this picture, the first is bad. It has slight blur; I would begin with the second."),
        ("json_answer", '{"quality": "bad"}'),
        ("json_answer", "JSON: {quality: bad}"),
        ("json_answer", '{"quality": "bad", "importance": "lovely", "distortions": []}'),
    ],
)
def test_unreadable_answers_are_none(task: str, text: str, prompts: PromptLibrary) -> None:
    assert parse_answer(task, text, prompts) is None


def test_an_unknown_task_is_refused(prompts: PromptLibrary) -> None:
    with pytest.raises(DataError, match="Did you mean 'quality'"):
        parse_answer("qualty", "x", prompts)


def test_severity_names_are_all_readable(prompts: PromptLibrary) -> None:
    for severity, name in enumerate(SEVERITY_NAMES[1:], start=1):
        parsed = parse_answer("distortions_short", f"I see {name} blur.", prompts)
        assert parsed is not None and parsed.severities == (severity, *(0,) * 7)
