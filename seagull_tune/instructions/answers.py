"""Label -> answer and answer -> label, one round trip per task.

An answer is made from a form of ``prompts/*.yaml``. Quality, importance, judgement, and in the graded list of
distortions the first name and every severity are slots with soft targets: there the language model is trained and read.
The short list of distortions is plain words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.instructions.templates import SLOT_PATTERN, TASK_RULES, ListForm, PromptLibrary, slots_of
from seagull_tune.levels import (
    DISTORTION_TYPES,
    IMPORTANCE_LEVELS,
    QUALITY_LEVELS,
    SEVERITY_NAMES,
    level_centres,
    nearest_level,
    soft_levels,
)
from seagull_tune.records import Part, RegionLabel, Slot

JUDGEMENT_WORDS: tuple[str, ...] = ("no", "yes")
"""Words of a judgement; the index is the truth value."""

NO_TYPE = SEVERITY_NAMES[0]
"""Said by a graded list in place of the names where there is no distortion."""

SLOT_WORDS: dict[str, tuple[str, ...]] = {
    "quality": QUALITY_LEVELS,
    "importance": IMPORTANCE_LEVELS,
    "types": (*DISTORTION_TYPES, NO_TYPE),
    "severity": SEVERITY_NAMES[1:],
    "judgement": JUDGEMENT_WORDS,
}
"""The vocabulary of every slot kind, worst or least first."""


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says; None where its form does not speak of it.

    Attributes:
        quality, importance: [0, 1], the centre of the level word.
        severities: 0..5 per type, in the order of ``levels.DISTORTION_TYPES``.
        judgement: True for yes.
    """

    quality: float | None = None
    importance: float | None = None
    severities: tuple[int, ...] | None = None
    judgement: bool | None = None


def usable_forms(task: str, prompts: PromptLibrary, has_importance: bool) -> tuple[str, ...]:
    """The answer forms that suit a label, the canonical one first.

    A form that tells importance is used if and only if importance is scored; a task without it takes all its forms.
    """
    forms = prompts.task(task).answers
    if "importance" not in TASK_RULES[task].optional:
        return forms
    return tuple(form for form in forms if ("importance" in slots_of(form)) is has_importance)


def answer_parts(
    task: str,
    label: RegionLabel,
    prompts: PromptLibrary,
    form: str | None = None,
    type_name: str | None = None,
    severity_smoothing: float = 0.0,
) -> tuple[Part, ...]:
    """The answer to a task about a labelled region.

    Args:
        task: one of ``templates.TASK_RULES``.
        label: what is true of the region.
        form: an answer form of the task; None is the canonical one for this label.
        type_name: the distortion type that a judgement is about (needed there, unused elsewhere).
        severity_smoothing: [0, 1): probability moved from the true severity of a graded list to its neighbours.

    Raises:
        DataError: importance or severities are asked of a label that has none, or a judgement names no known type.
    """
    form = usable_forms(task, prompts, label.importance is not None)[0] if form is None else form

    def fill(slot: str) -> list[Part]:
        if slot == "quality":
            word = nearest_level(label.quality, QUALITY_LEVELS)
            return [_slot_part("quality", word, soft_levels(label.quality))]
        if slot == "importance":
            if label.importance is None:
                raise DataError("Importance is not scored for this region, so no answer can tell it.")
            word = nearest_level(label.importance, IMPORTANCE_LEVELS)
            return [_slot_part("importance", word, soft_levels(label.importance))]
        if label.severities is None:
            raise DataError("Nobody knows which distortions this region has, so no answer can tell them.")
        if slot == "judgement":
            there = int(label.severities[_type_index(type_name)] > 0)
            return [_slot_part("judgement", JUDGEMENT_WORDS[there], _one_hot(there, 2), type_name or "")]
        if slot == "graded":
            return _graded_parts(prompts.lists["graded"], label.severities, severity_smoothing)
        return [Part(text=_present_text(prompts.lists["present"], label.severities))]

    return _render(form, fill)


def placeholder_parts(task: str, prompts: PromptLibrary, type_name: str | None = None) -> tuple[Part, ...]:
    """The canonical answer of a readable task, with uniform targets and some word at each slot.

    It shows the literal pieces between the slots to a reader of scores, who does not know the label.

    Args:
        task: a task whose canonical answer has slots.
        type_name: the distortion type of a judgement, or the one that a graded list names (None: the first).

    Raises:
        DataError: the task has no slots to read at places that are known beforehand, or no known type is named.
    """
    form = prompts.task(task).answers[0]
    if "present" in slots_of(form):
        readable = [name for name, texts in prompts.tasks.items() if "present" not in slots_of(texts.answers[0])]
        raise DataError(f"Answers of {task!r} have no fixed places to read; allowed: {', '.join(readable)}.")
    index = 0 if type_name is None and task != "judgement" else _type_index(type_name)

    def fill(slot: str) -> list[Part]:
        if slot == "graded":
            severities = [int(i == index) for i in range(len(DISTORTION_TYPES))]
            return [_uniform(part) for part in _graded_parts(prompts.lists["graded"], severities, 0.0)]
        words = SLOT_WORDS[slot]
        key = DISTORTION_TYPES[index] if slot == "judgement" else ""
        return [_uniform(_slot_part(slot, words[0], _one_hot(0, len(words)), key))]

    return _render(form, fill)


def parse_answer(task: str, text: str, prompts: PromptLibrary) -> ParsedAnswer | None:
    """Read an answer back, tolerant of case, blanks and the full stop at the end.

    Args:
        task: the task that was asked.
        text: the answer, for example as generated.

    Returns:
        What the answer says, or None if it has none of the task's forms. Nothing is made up.
    """
    text = _normalised(text)
    for form in prompts.task(task).answers:
        pieces = SLOT_PATTERN.split(_normalised(form))  # literals at even places, slot names at odd ones
        pattern = "".join(_slot_regex(piece) if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))
        match = re.fullmatch(pattern, text)
        if match is None:
            continue
        parsed = _parsed(match.groupdict(), prompts)
        if parsed is not None:
            return parsed
    return None


def _parsed(found: dict[str, str], prompts: PromptLibrary) -> ParsedAnswer | None:
    severities: tuple[int, ...] | None = None
    for name in ("graded", "present"):
        if name in found:
            severities = _parse_list(found[name], prompts.lists[name])
            if severities is None:
                return None
    judgement = found.get("judgement")
    return ParsedAnswer(
        quality=_centre(found.get("quality"), QUALITY_LEVELS),
        importance=_centre(found.get("importance"), IMPORTANCE_LEVELS),
        severities=severities,
        judgement=None if judgement is None else bool(JUDGEMENT_WORDS.index(judgement)),
    )


def _parse_list(text: str, form: ListForm) -> tuple[int, ...] | None:
    """Severities told by a list; None if an item is unreadable, or a type told twice."""
    if text == _normalised(form.empty or NO_TYPE):
        return (0,) * len(DISTORTION_TYPES)
    pieces = SLOT_PATTERN.split(_folded(form.item))
    words = {"type": DISTORTION_TYPES, "severity": SEVERITY_NAMES[1:]}
    item = re.compile("".join(_choice(p, words[p]) if i % 2 else re.escape(p) for i, p in enumerate(pieces)))
    told: dict[str, int] = {}
    for entry in _items(text, form):
        match = item.fullmatch(entry)
        if match is None or match["type"] in told:
            return None
        told[match["type"]] = SEVERITY_NAMES.index(match["severity"])
    return tuple(told.get(name, 0) for name in DISTORTION_TYPES)


def _items(text: str, form: ListForm) -> list[str]:
    """The entries of a list; the other direction of :func:`_joined`."""
    return re.split("|".join(re.escape(_folded(s)) for s in (form.last_separator, form.separator)), text)


def _render(form: str, fill: Callable[[str], Sequence[Part]]) -> tuple[Part, ...]:
    """Fill the slots of a form; neighbouring plain texts become one part."""
    parts: list[Part] = []
    for i, piece in enumerate(SLOT_PATTERN.split(form)):
        for part in fill(piece) if i % 2 else [Part(text=piece)]:
            if part.slot is None and parts and parts[-1].slot is None:
                parts[-1] = Part(text=parts[-1].text + part.text)
            elif part.text:
                parts.append(part)
    return tuple(part for part in parts if part.text)


def _graded_parts(form: ListForm, severities: Sequence[int], smoothing: float) -> list[Part]:
    """The types that are there, in their order, each with a severity slot whose key is the type.

    The first name is a slot too: its target is shared by all the names that could stand there, or is "none".
    """
    there = [i for i, severity in enumerate(severities) if severity > 0]
    words = SLOT_WORDS["types"]
    named = there or [words.index(NO_TYPE)]
    parts = [_slot_part("types", words[named[0]], [float(i in named) / len(named) for i in range(len(words))])]
    for place, i in enumerate(there):
        if place:
            parts.append(Part(text=_separator(form, place, len(there)) + DISTORTION_TYPES[i]))
        target = _severity_target(severities[i], smoothing)
        _, _, between, _, after = SLOT_PATTERN.split(form.item)  # the item begins with its type
        parts += [
            Part(text=between),
            _slot_part("severity", SEVERITY_NAMES[severities[i]], target, DISTORTION_TYPES[i]),
            Part(text=after),
        ]
    return parts


def _present_text(form: ListForm, severities: Sequence[int]) -> str:
    """The distortions that are there, the most severe first (equal ones in the order of the types)."""
    items = [
        form.item.replace("{type}", DISTORTION_TYPES[i]).replace("{severity}", SEVERITY_NAMES[severities[i]])
        for i in _most_severe_first(severities)
    ]
    return _joined(form, items) if items else form.empty


def _most_severe_first(severities: Sequence[int]) -> list[int]:
    return sorted((i for i, severity in enumerate(severities) if severity > 0), key=lambda i: (-severities[i], i))


def _joined(form: ListForm, items: Sequence[str]) -> str:
    separators = ["", *(_separator(form, place, len(items)) for place in range(1, len(items)))]
    return "".join(separator + item for separator, item in zip(separators, items, strict=True))


def _separator(form: ListForm, place: int, count: int) -> str:
    """What stands before item ``place`` (from 1) of ``count``."""
    return form.last_separator if place == count - 1 else form.separator


def _slot_part(kind: str, word: str, target: Sequence[float], key: str = "") -> Part:
    return Part(text=word, slot=Slot(kind=kind, words=SLOT_WORDS[kind], target=tuple(target), key=key))


def _uniform(part: Part) -> Part:
    """The part with a target that favours no word of its slot."""
    if part.slot is None:
        return part
    count = len(part.slot.words)
    return replace(part, slot=replace(part.slot, target=(1.0 / count,) * count))


def _one_hot(index: int, length: int) -> tuple[float, ...]:
    return tuple(float(i == index) for i in range(length))


def _severity_target(severity: int, smoothing: float) -> tuple[float, ...]:
    """Over the severities from 1: one-hot, or with ``smoothing`` shared evenly by the neighbours."""
    words = SLOT_WORDS["severity"]
    target = list(_one_hot(severity - 1, len(words)))
    neighbours = [i for i in (severity - 2, severity) if 0 <= i < len(words)]
    target[severity - 1] = 1.0 - smoothing
    for i in neighbours:
        target[i] = smoothing / len(neighbours)
    return tuple(target)


def _type_index(name: str | None) -> int:
    if name not in DISTORTION_TYPES:
        raise DataError(
            f"The question is about one distortion type, got {name!r}.{did_you_mean(str(name), DISTORTION_TYPES)}"
        )
    return DISTORTION_TYPES.index(name)


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.casefold())


def _normalised(text: str) -> str:
    return _folded(text).strip().rstrip(" .")


def _choice(name: str, words: Sequence[str]) -> str:
    return f"(?P<{name}>{'|'.join(words)})"


def _slot_regex(name: str) -> str:
    return f"(?P<{name}>.+)" if name in ("graded", "present") else _choice(name, SLOT_WORDS[name])


def _centre(word: str | None, words: Sequence[str]) -> float | None:
    return None if word is None else level_centres(len(words))[words.index(word)]
