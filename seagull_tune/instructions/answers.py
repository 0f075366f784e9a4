"""Label -> answer, per task; ``parsing.py`` is the other direction.

An answer is made from a form of ``prompts/*.yaml``. Quality, importance, judgement, and in the graded list of
distortions the first name and every severity are slots with soft targets: there the language model is trained and read.
Everything else is plain words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.instructions import lists
from seagull_tune.instructions.relations import better_of, first_to_fix, known_severities, worst_severities
from seagull_tune.instructions.rules import SLOT_PATTERN, TASK_RULES, slots_of
from seagull_tune.instructions.structured import write_json_answer
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import (
    DISTORTION_TYPES,
    IMPORTANCE_LEVELS,
    QUALITY_LEVELS,
    SEVERITY_NAMES,
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

_READABLE = {"quality", "importance", "judgement", "graded"}
"""Slots whose places in an answer about one region are known before the answer is."""


@dataclass(frozen=True)
class _Facts:
    """What an answer is made of; ``chosen`` is the region that a form with ``{choice}`` speaks of."""

    labels: tuple[RegionLabel, ...]
    prompts: PromptLibrary
    type_name: str | None = None
    smoothing: float = 0.0
    choice: int | None = None

    @property
    def chosen(self) -> RegionLabel:
        return self.labels[self.choice or 0]

    @property
    def severities(self) -> tuple[int, ...]:
        return worst_severities(self.labels)


def usable_forms(task: str, labels: RegionLabel | Sequence[RegionLabel], prompts: PromptLibrary) -> tuple[str, ...]:
    """The answer forms that suit the labels, the canonical one first.

    A form that holds a task's optional slots is used if and only if they have a value; a task without such slots takes
    all its forms.

    Args:
        labels: of the regions that the question is about, in its order.
    """
    forms = prompts.task(task).answers
    optional = TASK_RULES[task].optional
    if not optional:
        return forms
    told = _tells_optional(task, _several(labels))
    return tuple(form for form in forms if (optional[0] in slots_of(form)) is told)


def answer_parts(
    task: str,
    labels: RegionLabel | Sequence[RegionLabel],
    prompts: PromptLibrary,
    form: str | None = None,
    type_name: str | None = None,
    severity_smoothing: float = 0.0,
) -> tuple[Part, ...]:
    """The answer to a task about labelled regions.

    Args:
        task: one of ``rules.TASK_RULES``.
        labels: what is true of the region, or of the regions in the order of the question.
        form: an answer form of the task; None is the canonical one for these labels.
        type_name: the distortion type that a judgement is about (needed there, unused elsewhere).
        severity_smoothing: [0, 1): probability moved from the true severity of a graded list to its neighbours.

    Raises:
        DataError: importance or severities are asked of a label that has none, a judgement names no known type, or the
            task is not about that many regions.
    """
    labels = _several(labels)
    form = usable_forms(task, labels, prompts)[0] if form is None else form
    least, most = TASK_RULES[task].regions
    most = most or len(prompts.ordinals)
    if not least <= len(labels) <= most:
        allowed = str(least) if least == most else f"{least} to {most}"
        raise DataError(f"A question of the task {task!r} is about {allowed} regions, got {len(labels)} labels.")
    facts = _Facts(labels, prompts, type_name, severity_smoothing, _choice(task, labels))
    return _render(form, lambda slot: _FILLERS[slot](facts))


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
    if not _readable(task, form):
        readable = [name for name, texts in prompts.tasks.items() if _readable(name, texts.answers[0])]
        raise DataError(f"Answers of {task!r} have no fixed places to read; allowed: {', '.join(readable)}.")
    index = 0 if type_name is None and task != "judgement" else _type_index(type_name)

    def fill(slot: str) -> list[Part]:
        if slot == "graded":
            severities = [int(i == index) for i in range(len(DISTORTION_TYPES))]
            return [_uniform(part) for part in _graded_parts(prompts, severities, 0.0)]
        words = SLOT_WORDS[slot]
        key = DISTORTION_TYPES[index] if slot == "judgement" else ""
        return [_uniform(_slot_part(slot, words[0], _one_hot(0, len(words)), key))]

    return _render(form, fill)


def _several(labels: RegionLabel | Sequence[RegionLabel]) -> tuple[RegionLabel, ...]:
    return (labels,) if isinstance(labels, RegionLabel) else tuple(labels)


def _choice(task: str, labels: Sequence[RegionLabel]) -> int | None:
    """The region that an answer chooses, for tasks that choose one."""
    if "choice" not in TASK_RULES[task].optional:
        return None
    return better_of(*labels) if TASK_RULES[task].compares else first_to_fix(labels)


def _tells_optional(task: str, labels: Sequence[RegionLabel]) -> bool:
    """Whether a task's optional slots have a value for these labels."""
    optional = TASK_RULES[task].optional
    if "choice" in optional:
        return _choice(task, labels) is not None
    if "importance" in optional:
        return labels[0].importance is not None
    return any(known_severities(labels[0]))


def _readable(task: str, form: str) -> bool:
    slots = slots_of(form)
    return bool(slots) and set(slots) <= _READABLE and not TASK_RULES[task].about_several


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


def _quality_part(label: RegionLabel, key: str = "") -> Part:
    target = soft_levels(label.quality, len(QUALITY_LEVELS), label.quality_deviation)
    return _slot_part("quality", nearest_level(label.quality, QUALITY_LEVELS), target, key)


def _importance_parts(facts: _Facts) -> list[Part]:
    importance = facts.chosen.importance
    if importance is None:
        raise DataError("Importance is not scored for this region, so no answer can tell it.")
    return [_slot_part("importance", nearest_level(importance, IMPORTANCE_LEVELS), soft_levels(importance))]


def _judgement_parts(facts: _Facts) -> list[Part]:
    there = int(known_severities(facts.chosen)[_type_index(facts.type_name)] > 0)
    return [_slot_part("judgement", JUDGEMENT_WORDS[there], _one_hot(there, 2), facts.type_name or "")]


def _graded_parts(prompts: PromptLibrary, severities: Sequence[int], smoothing: float) -> list[Part]:
    """The types that are there, in their order, each with a severity slot whose key is the type.

    The first name is a slot too: its target is shared by all the names that could stand there, or is "none".
    """
    form = prompts.lists["graded"]
    there = [i for i, severity in enumerate(severities) if severity > 0]
    words = SLOT_WORDS["types"]
    named = there or [words.index(NO_TYPE)]
    parts = [_slot_part("types", words[named[0]], [float(i in named) / len(named) for i in range(len(words))])]
    for place, i in enumerate(there):
        if place:
            parts.append(Part(text=lists.separator(form, place, len(there)) + DISTORTION_TYPES[i]))
        target = _severity_target(severities[i], smoothing)
        _, _, between, _, after = SLOT_PATTERN.split(form.item)  # the item begins with its type
        parts += [
            Part(text=between),
            _slot_part("severity", SEVERITY_NAMES[severities[i]], target, DISTORTION_TYPES[i]),
            Part(text=after),
        ]
    return parts


def _phrase_parts(facts: _Facts, list_name: str) -> list[Part]:
    """The effects or remedies of the distortions that are there, the most severe first."""
    form = facts.prompts.lists[list_name]
    phrases = facts.prompts.phrases(list_name)
    before, _, after = SLOT_PATTERN.split(form.item)
    there = [phrases[DISTORTION_TYPES[i]] for i in lists.most_severe_first(facts.severities)]
    return [Part(text=lists.joined_text(form, [before + phrase + after for phrase in there]))]


def _qualities_parts(facts: _Facts) -> list[Part]:
    form = facts.prompts.lists["qualities"]

    def item(ordinal: str, label: RegionLabel) -> tuple[Part, ...]:
        return _render(
            form.item,
            lambda slot: [Part(text=ordinal)] if slot == "ordinal" else [_quality_part(label, ordinal)],
        )

    return lists.joined(form, [item(o, label) for o, label in zip(facts.prompts.ordinals, facts.labels, strict=False)])


_FILLERS: Mapping[str, Callable[[_Facts], Sequence[Part]]] = {
    "quality": lambda facts: [_quality_part(facts.chosen)],
    "importance": _importance_parts,
    "judgement": _judgement_parts,
    "first_quality": lambda facts: [_quality_part(facts.labels[0], facts.prompts.ordinals[0])],
    "second_quality": lambda facts: [_quality_part(facts.labels[1], facts.prompts.ordinals[1])],
    "graded": lambda facts: _graded_parts(facts.prompts, facts.severities, facts.smoothing),
    "present": lambda facts: [Part(text=lists.present_text(facts.prompts.lists["present"], facts.severities))],
    "effects": lambda facts: _phrase_parts(facts, "effects"),
    "remedies": lambda facts: _phrase_parts(facts, "remedies"),
    "qualities": _qualities_parts,
    "choice": lambda facts: [Part(text=facts.prompts.ordinals[facts.choice or 0])],
    "json": lambda facts: [Part(text=write_json_answer(facts.chosen))],
}
"""What fills every slot of an answer."""


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
