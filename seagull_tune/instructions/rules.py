"""Which tasks, lists and phrases there are, and which slots their texts hold. The texts themselves are in ``prompts/``.

A slot is written in braces. In questions: ``{region}``, ``{other}`` (the second of two regions), ``{regions}`` (all
regions of a group) and ``{type}``. In answers: value words (``{quality}``, ``{importance}``, ``{judgement}``,
``{first_quality}``, ``{second_quality}``), an ordinal (``{choice}``), the lists of :data:`LIST_RULES`, and ``{json}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SLOT_PATTERN = re.compile(r"\{([a-z_]+)\}")
"""A slot in a template text; group 1 is its name."""


@dataclass(frozen=True)
class TaskRule:
    """Which slots the texts of a task hold.

    Attributes:
        question: slots of every question.
        answer: slots of every answer form.
        optional: slots that an answer form holds all or none of; the label says which kind of form is used.
        core: whether every prompt folder has the task. Folders of older checkpoints lack the others.
        diagnoses: whether it is asked only where severities are known: its answer tells them, or it is about what to
            fix. A comparison counts as such, so that a rated picture is asked for nothing but what people rated.
        pictures: how many pictures a conversation about it shows. Those of two are for exports (``pairs.py``): they
            have no weight in ``ConversationSettings``, and a training never draws them.
    """

    question: tuple[str, ...]
    answer: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    core: bool = True
    diagnoses: bool = True
    pictures: int = 1

    @property
    def regions(self) -> tuple[int, int | None]:
        """How many regions one question is about: at least, and at most (None: as many as there are ordinals)."""
        if "regions" in self.question:
            return 2, None
        return (2, 2) if "other" in self.question else (1, 1)

    @property
    def about_several(self) -> bool:
        """Whether one question is about more than one region."""
        return self.regions[0] > 1

    @property
    def compares(self) -> bool:
        """Whether its answer chooses the better of two; other tasks that choose, choose what to fix first."""
        return "first_quality" in self.answer


TASK_RULES: Mapping[str, TaskRule] = {
    "quality": TaskRule(("region",), ("quality",), diagnoses=False),
    "importance": TaskRule(("region",), ("importance",), diagnoses=False),
    "distortions": TaskRule(("region",), ("graded",)),
    "distortions_short": TaskRule(("region",), ("present",)),
    "judgement": TaskRule(("region", "type"), ("judgement",)),
    "description": TaskRule(("region",), ("quality", "graded"), ("importance",)),
    "advice": TaskRule(("region",), (), ("present", "effects", "remedies"), core=False),
    "comparison": TaskRule(("region", "other"), ("first_quality", "second_quality"), ("choice",), core=False),
    "priority": TaskRule(("regions",), (), ("choice", "quality", "importance"), core=False),
    "summary": TaskRule(("regions",), ("qualities", "present"), ("choice",), core=False),
    "json_answer": TaskRule(("region",), ("json",), core=False),
    "versions": TaskRule(("region", "other"), ("first_quality", "second_quality"), ("choice",), core=False, pictures=2),
}
"""The tasks, by the id of their prompt file."""


@dataclass(frozen=True)
class ListRule:
    """How a list is made.

    Attributes:
        item: slots of one item.
        empty: whether the list can be empty, so that a text stands for it.
    """

    item: tuple[str, ...]
    empty: bool = False


LIST_RULES: Mapping[str, ListRule] = {
    "graded": ListRule(("type", "severity")),
    "present": ListRule(("type", "severity"), empty=True),
    "effects": ListRule(("effect",)),
    "remedies": ListRule(("remedy",)),
    "qualities": ListRule(("ordinal", "quality")),
    "regions": ListRule(("region",)),
}
"""The lists of ``lists.yaml``, by the slot that they fill."""

PHRASE_SLOTS = ("choice", "qualities", "effects", "remedies")
"""Slots whose values are made of ``phrases.yaml``."""

WORD_SLOTS = ("quality", "importance", "first_quality", "second_quality", "graded")
"""Slots that begin with a value word: it is one token only after a blank."""


def slots_of(text: str) -> tuple[str, ...]:
    """Names of the slots of a template text, in order."""
    return tuple(SLOT_PATTERN.findall(text))
