"""Label -> answer and answer -> label, one round trip per task.

An answer is made from a form of ``prompts/*.yaml``. Quality, importance, judgement, the first name of the types and
the severities of the profile are slots with soft targets: there the language model is trained and read. The short list
of distortions and its severities in descriptions are plain words (their place depends on the label, so no number can be
read there).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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

NO_TYPE = "none"
"""Said in place of the names where there is no distortion."""

SLOT_WORDS: dict[str, tuple[str, ...]] = {
    "quality": QUALITY_LEVELS,
    "importance": IMPORTANCE_LEVELS,
    "types": (*DISTORTION_TYPES, NO_TYPE),
    "severity": SEVERITY_NAMES,
    "judgement": JUDGEMENT_WORDS,
}
"""The vocabulary of every slot kind, worst or least first."""


@dataclass(frozen=True)
class ParsedAnswer:
    """What an answer says; None where its form does not speak of it.

    Attributes:
        quality, importance: [0, 1], the centre of the level word.
        types: whether each type is there, in the order of ``levels.DISTORTION_TYPES``.
        severities: 0..5 per type, in the same order.
        judgement: True for yes.
    """

    quality: float | None = None
    importance: float | None = None
    types: tuple[bool, ...] | None = None
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
        severity_smoothing: [0, 1): probability moved from the true severity of a profile to its neighbours.

    Raises:
        DataError: importance is asked of a label that has none, or a judgement names no known type.
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
        if slot == "judgement":
            there = int(label.severities[_type_index(type_name)] > 0)
            return [_slot_part("judgement", JUDGEMENT_WORDS[there], _one_hot(there, 2), type_name or "")]
        if slot == "types":
            return _types_parts(prompts.lists["present"], label.severities)
        if slot == "profile":
            targets = [_severity_target(severity, severity_smoothing) for severity in label.severities]
            words = [SEVERITY_NAMES[severity] for severity in label.severities]
            return _profile_parts(prompts.lists["profile"], words, targets)
        return [Part(text=_present_text(prompts.lists["present"], label.severities))]

    return _render(form, fill)


def placeholder_parts(task: str, prompts: PromptLibrary, type_name: str | None = None) -> tuple[Part, ...]:
    """The canonical answer of a readable task, with uniform targets and the first word of each slot.

    It shows the literal pieces between the slots to a reader of scores, who does not know the label.

    Raises:
        DataError: the task has no slots to read at places that are known beforehand.
    """
    form = prompts.task(task).answers[0]
    if "present" in slots_of(form):
        readable = [name for name, texts in prompts.tasks.items() if "present" not in slots_of(texts.answers[0])]
        raise DataError(f"Answers of {task!r} have no fixed places to read; allowed: {', '.join(readable)}.")
    if task == "judgement":
        _type_index(type_name)

    def fill(slot: str) -> list[Part]:
        if slot == "profile":
            n_types, n_words = len(DISTORTION_TYPES), len(SEVERITY_NAMES)
            uniform = [(1.0 / n_words,) * n_words] * n_types
            return _profile_parts(prompts.lists["profile"], [SEVERITY_NAMES[0]] * n_types, uniform)
        words = SLOT_WORDS[slot]
        key = type_name or "" if slot == "judgement" else ""
        return [_slot_part(slot, words[0], (1.0 / len(words),) * len(words), key)]

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
    for name in ("profile", "present"):
        if name in found:
            severities = _parse_list(found[name], prompts.lists[name], complete=name == "profile")
            if severities is None:
                return None
    types = _parse_types(found["types"], prompts.lists["present"]) if "types" in found else None
    if "types" in found and types is None:
        return None
    judgement = found.get("judgement")
    return ParsedAnswer(
        quality=_centre(found.get("quality"), QUALITY_LEVELS),
        importance=_centre(found.get("importance"), IMPORTANCE_LEVELS),
        types=types,
        severities=severities,
        judgement=None if judgement is None else bool(JUDGEMENT_WORDS.index(judgement)),
    )


def _parse_list(text: str, form: ListForm, complete: bool) -> tuple[int, ...] | None:
    """Severities told by a list; None if an item is unreadable, told twice, or (``complete``) not told at all."""
    if form.empty and text == _normalised(form.empty):
        return (0,) * len(DISTORTION_TYPES)
    pieces = SLOT_PATTERN.split(_folded(form.item))
    words = {"type": DISTORTION_TYPES, "severity": SEVERITY_NAMES if complete else SEVERITY_NAMES[1:]}
    item = re.compile("".join(_choice(p, words[p]) if i % 2 else re.escape(p) for i, p in enumerate(pieces)))
    told: dict[str, int] = {}
    for entry in _items(text, form):
        match = item.fullmatch(entry)
        if match is None or match["type"] in told:
            return None
        told[match["type"]] = SEVERITY_NAMES.index(match["severity"])
    if complete and len(told) < len(DISTORTION_TYPES):
        return None
    return tuple(told.get(name, 0) for name in DISTORTION_TYPES)


def _items(text: str, form: ListForm) -> list[str]:
    """The entries of a list; the other direction of :func:`_joined`."""
    return re.split("|".join(re.escape(_folded(s)) for s in (form.last_separator, form.separator)), text)


def _parse_types(text: str, form: ListForm) -> tuple[bool, ...] | None:
    """Which types a list names; None if it names something else, or one twice."""
    if text == NO_TYPE:
        return (False,) * len(DISTORTION_TYPES)
    named = _items(text, form)
    if len(set(named)) < len(named) or any(name not in DISTORTION_TYPES for name in named):
        return None
    return tuple(name in named for name in DISTORTION_TYPES)


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


def _profile_parts(form: ListForm, words: Sequence[str], targets: Sequence[tuple[float, ...]]) -> list[Part]:
    """All types in order, each with a severity slot whose key is the type."""
    parts: list[Part] = []
    for i, (name, word, target) in enumerate(zip(DISTORTION_TYPES, words, targets, strict=True)):
        if i:
            parts.append(Part(text=form.last_separator if i == len(words) - 1 else form.separator))
        for k, piece in enumerate(SLOT_PATTERN.split(form.item)):
            if k % 2 and piece == "severity":
                parts.append(_slot_part("severity", word, target, name))
            else:
                parts.append(Part(text=name if k % 2 else piece))
    return parts


def _present_text(form: ListForm, severities: Sequence[int]) -> str:
    """The distortions that are there, the most severe first (equal ones in the order of the types)."""
    items = [
        form.item.replace("{type}", DISTORTION_TYPES[i]).replace("{severity}", SEVERITY_NAMES[severities[i]])
        for i in _most_severe_first(severities)
    ]
    return _joined(form, items) if items else form.empty


def _types_parts(form: ListForm, severities: Sequence[int]) -> list[Part]:
    """The names of the types that are there, the most severe first; the first name is a slot for all of them."""
    words = SLOT_WORDS["types"]
    names = [DISTORTION_TYPES[i] for i in _most_severe_first(severities)] or [NO_TYPE]
    target = [float(word in names) / len(names) for word in words]
    rest = _joined(form, names)[len(names[0]) :]
    return [_slot_part("types", names[0], target), *([Part(text=rest)] if rest else [])]


def _most_severe_first(severities: Sequence[int]) -> list[int]:
    return sorted((i for i, severity in enumerate(severities) if severity > 0), key=lambda i: (-severities[i], i))


def _joined(form: ListForm, items: Sequence[str]) -> str:
    return form.last_separator.join([form.separator.join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _slot_part(kind: str, word: str, target: Sequence[float], key: str = "") -> Part:
    return Part(text=word, slot=Slot(kind=kind, words=SLOT_WORDS[kind], target=tuple(target), key=key))


def _one_hot(index: int, length: int) -> tuple[float, ...]:
    return tuple(float(i == index) for i in range(length))


def _severity_target(severity: int, smoothing: float) -> tuple[float, ...]:
    """One-hot, or with ``smoothing`` shared evenly by the neighbouring severities."""
    target = list(_one_hot(severity, len(SEVERITY_NAMES)))
    neighbours = [i for i in (severity - 1, severity + 1) if 0 <= i < len(SEVERITY_NAMES)]
    target[severity] = 1.0 - smoothing
    for i in neighbours:
        target[i] = smoothing / len(neighbours)
    return tuple(target)


def _type_index(name: str | None) -> int:
    if name not in DISTORTION_TYPES:
        raise DataError(
            f"A judgement is about one distortion type, got {name!r}.{did_you_mean(str(name), DISTORTION_TYPES)}"
        )
    return DISTORTION_TYPES.index(name)


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.casefold())


def _normalised(text: str) -> str:
    return _folded(text).strip().rstrip(" .")


def _choice(name: str, words: Sequence[str]) -> str:
    return f"(?P<{name}>{'|'.join(words)})"


def _slot_regex(name: str) -> str:
    return f"(?P<{name}>.+)" if name in ("profile", "present", "types") else _choice(name, SLOT_WORDS[name])


def _centre(word: str | None, words: Sequence[str]) -> float | None:
    return None if word is None else level_centres(len(words))[words.index(word)]
