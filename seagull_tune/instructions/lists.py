"""Lists inside texts, in both directions: items -> text, and text -> items."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from seagull_tune.instructions.rules import SLOT_PATTERN
from seagull_tune.instructions.templates import ListForm
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.records import Part


def separator(form: ListForm, place: int, count: int) -> str:
    """What stands before item ``place`` (from 1) of ``count``."""
    return form.last_separator if place == count - 1 else form.separator


def joined(form: ListForm, items: Sequence[Sequence[Part]]) -> list[Part]:
    """The parts of all items with separators between them."""
    parts: list[Part] = []
    for place, item in enumerate(items):
        if place:
            parts.append(Part(text=separator(form, place, len(items))))
        parts += item
    return parts


def joined_text(form: ListForm, items: Sequence[str]) -> str:
    """Items that are plain text, with separators between them."""
    return "".join(part.text for part in joined(form, [[Part(text=item)] for item in items]))


def entries(text: str, form: ListForm) -> list[str]:
    """The items of a folded list; the other direction of :func:`joined`."""
    marks = sorted({folded(form.last_separator), folded(form.separator)}, key=len, reverse=True)
    return re.split("|".join(re.escape(mark) for mark in marks), text)


def present_text(form: ListForm, severities: Sequence[int]) -> str:
    """The distortions that are there, the most severe first (equal ones in the order of the types)."""
    items = [
        form.item.replace("{type}", DISTORTION_TYPES[i]).replace("{severity}", SEVERITY_NAMES[severities[i]])
        for i in most_severe_first(severities)
    ]
    return joined_text(form, items) if items else form.empty


def most_severe_first(severities: Sequence[int]) -> list[int]:
    """Indices of the types that are there."""
    return sorted((i for i, severity in enumerate(severities) if severity > 0), key=lambda i: (-severities[i], i))


def read_severities(text: str, form: ListForm, none: str) -> tuple[int, ...] | None:
    """Severities 0..5 per type told by a folded list; None if an item is unreadable, or a type told twice.

    Args:
        none: what the list is where nothing is there.
    """
    if text == folded(none).strip(" ."):
        return (0,) * len(DISTORTION_TYPES)
    item = re.compile(item_pattern(form, {"type": DISTORTION_TYPES, "severity": SEVERITY_NAMES[1:]}))
    told: dict[str, int] = {}
    for entry in entries(text, form):
        match = item.fullmatch(entry)
        if match is None or match["type"] in told:
            return None
        told[match["type"]] = SEVERITY_NAMES.index(match["severity"])
    return tuple(told.get(name, 0) for name in DISTORTION_TYPES)


def read_phrases(text: str, form: ListForm, phrases: Mapping[str, str]) -> list[str] | None:
    """The distortion types whose phrases a folded list tells, in its order; None if an item is unreadable.

    Args:
        form: its item has one slot.
        phrases: phrase of every type.
    """
    before, _, after = SLOT_PATTERN.split(form.item)
    of_phrase = {folded(before + phrase + after): name for name, phrase in phrases.items()}
    told = [of_phrase.get(entry) for entry in entries(text, form)]
    return None if None in told else [name for name in told if name is not None]


def read_ordinals(text: str, form: ListForm, ordinals: Sequence[str], words: Sequence[str]) -> list[str] | None:
    """The words told of the first, the second, ... region by a folded list; None if it is not in that order.

    Args:
        form: its item has the slots ``ordinal`` and ``quality``.
        words: what may be told.
    """
    item = re.compile(item_pattern(form, {"ordinal": [folded(o) for o in ordinals], "quality": words}))
    told = []
    for place, entry in enumerate(entries(text, form)):
        match = item.fullmatch(entry)
        if match is None or place >= len(ordinals) or match["ordinal"] != folded(ordinals[place]):
            return None
        told.append(match["quality"])
    return told


def item_pattern(form: ListForm, words: Mapping[str, Sequence[str]]) -> str:
    """Regular expression of one item, with a named group per slot."""
    pieces = SLOT_PATTERN.split(folded(form.item))
    return "".join(choice(piece, words[piece]) if i % 2 else re.escape(piece) for i, piece in enumerate(pieces))


def choice(name: str, words: Sequence[str]) -> str:
    """Regular expression of a named group that is one of some words."""
    return f"(?P<{name}>{'|'.join(re.escape(word) for word in words)})"


def folded(text: str) -> str:
    """Text without differences of case and blanks."""
    return re.sub(r"\s+", " ", text.casefold())
