"""Answer -> label, per task; the other direction of ``answers.py``. What cannot be read is None: nothing is made up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seagull_tune.errors import DataError
from seagull_tune.instructions import lists
from seagull_tune.instructions.answers import JUDGEMENT_WORDS, NO_TYPE, SLOT_WORDS
from seagull_tune.instructions.rules import LIST_RULES, SLOT_PATTERN, TASK_RULES
from seagull_tune.instructions.structured import read_json_answer
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, level_centres

NO_REGION = -1
"""``ParsedAnswer.choice`` where no region was chosen: both are alike, or none needs fixing."""

_PAIR = ("first_quality", "second_quality")


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says; None where its form does not speak of it.

    Attributes:
        quality, importance: [0, 1], the centre of the level word (of the chosen region, where one is chosen).
        severities: 0..5 per type, in the order of ``levels.DISTORTION_TYPES``; of several regions, the worst.
        judgement: True for yes.
        qualities: as ``quality``, one per region of the question, in its order.
        choice: the region that was chosen, from 0 in the order of the question; :data:`NO_REGION` for none.
    """

    quality: float | None = None
    importance: float | None = None
    severities: tuple[int, ...] | None = None
    judgement: bool | None = None
    qualities: tuple[float, ...] | None = None
    choice: int | None = None


def parse_answer(task: str, text: str, prompts: PromptLibrary) -> ParsedAnswer | None:
    """Read an answer back, tolerant of case, blanks and the full stop at the end.

    Args:
        task: the task that was asked.
        text: the answer, for example as generated.

    Returns:
        What the answer says, or None if it has none of the task's forms, or says two things that cannot both be.
        Nothing is made up.
    """
    text = _normalised(text)
    for form in prompts.task(task).answers:
        pieces = SLOT_PATTERN.split(_normalised(form))  # literals at even places, slot names at odd ones
        pattern = "".join(_slot_regex(piece, prompts) if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))
        match = re.fullmatch(pattern, text)
        if match is None:
            continue
        parsed = _parsed(task, match.groupdict(), prompts)
        if parsed is not None:
            return parsed
    return None


def _parsed(task: str, found: Mapping[str, str], prompts: PromptLibrary) -> ParsedAnswer | None:
    """What the slots of a form say together; None if one of them is unreadable or contradicts another."""
    if "json" in found:
        return _parsed_json(found["json"])
    severities, readable = _severities(task, found, prompts)
    qualities = _qualities(found, prompts)
    if not readable or ("qualities" in found and qualities is None):
        return None
    choice: int | None = None
    if "choice" in TASK_RULES[task].optional:
        ordinals = [lists.folded(ordinal) for ordinal in prompts.ordinals]
        choice = ordinals.index(found["choice"]) if "choice" in found else NO_REGION
        if choice >= (len(qualities) if qualities else len(ordinals)):
            return None
    judgement = found.get("judgement")
    return ParsedAnswer(
        quality=_centre(found.get("quality"), QUALITY_LEVELS),
        importance=_centre(found.get("importance"), IMPORTANCE_LEVELS),
        severities=severities,
        judgement=None if judgement is None else bool(JUDGEMENT_WORDS.index(judgement)),
        qualities=qualities,
        choice=choice,
    )


def _severities(task: str, found: Mapping[str, str], prompts: PromptLibrary) -> tuple[tuple[int, ...] | None, bool]:
    """The severities that a form tells (None: it tells none), and whether all that it tells can be read."""
    if "present" in TASK_RULES[task].optional and "present" not in found:
        return (0,) * len(DISTORTION_TYPES), True
    severities: tuple[int, ...] | None = None
    for name in ("graded", "present"):
        if name in found:
            form = prompts.lists[name]
            severities = lists.read_severities(found[name], form, form.empty or NO_TYPE)
            if severities is None:
                return None, False
    there = [DISTORTION_TYPES[i] for i in lists.most_severe_first(severities or ())]
    for name in ("effects", "remedies"):
        if name in found and lists.read_phrases(found[name], prompts.lists[name], prompts.phrases(name)) != there:
            return None, False
    return severities, True


def _qualities(found: Mapping[str, str], prompts: PromptLibrary) -> tuple[float, ...] | None:
    """The quality of every region, where a form tells them."""
    words: Sequence[str] | None = None
    if "qualities" in found:
        words = lists.read_ordinals(found["qualities"], prompts.lists["qualities"], prompts.ordinals, QUALITY_LEVELS)
    elif "first_quality" in found:
        words = (found["first_quality"], found["second_quality"])
    return None if words is None else tuple(_centre_of(word, QUALITY_LEVELS) for word in words)


def _parsed_json(text: str) -> ParsedAnswer | None:
    try:
        answer = read_json_answer(text)
    except DataError:
        return None
    return ParsedAnswer(
        quality=_centre(answer.quality, QUALITY_LEVELS),
        importance=_centre(answer.importance, IMPORTANCE_LEVELS),
        severities=answer.severities,
    )


def _normalised(text: str) -> str:
    return lists.folded(text).strip().rstrip(" .")


def _slot_regex(name: str, prompts: PromptLibrary) -> str:
    if name in LIST_RULES or name == "json":
        return f"(?P<{name}>.+)"
    if name == "choice":
        return lists.choice(name, [lists.folded(ordinal) for ordinal in prompts.ordinals])
    return lists.choice(name, SLOT_WORDS["quality" if name in _PAIR else name])


def _centre(word: str | None, words: Sequence[str]) -> float | None:
    return None if word is None else _centre_of(word, words)


def _centre_of(word: str, words: Sequence[str]) -> float:
    return level_centres(len(words))[words.index(word)]
