"""Which regions of a picture are asked about what: the plan of a conversation, drawn with a seed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.instructions.relations import known_severities
from seagull_tune.instructions.rules import TASK_RULES
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import RegionLabel

T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """One question of a plan.

    Attributes:
        task: one of ``rules.TASK_RULES``.
        regions: indices of the picture's regions that it is about, in the order in which it mentions them.
        type_name: the distortion type of a judgement.
    """

    task: str
    regions: tuple[int, ...]
    type_name: str | None = None


def draw_turns(
    labels: Sequence[RegionLabel], rng: random.Random, settings: ConversationSettings, most_regions: int
) -> list[Turn]:
    """Which regions are asked about what. Every chosen region is asked about; nothing is asked twice.

    Args:
        labels: one per region of the picture.
        most_regions: how many regions one question can be about (how many ordinals there are).

    Returns:
        The turns; none where no task of positive weight can be asked.
    """
    regions = list(range(len(labels)))
    rng.shuffle(regions)
    regions = regions[: min(settings.max_regions, settings.turns)]
    weights: dict[str, float] = settings.task_weights.model_dump()
    known = [region for region in regions if labels[region].severities is not None]
    largest = min(len(known), most_regions)
    open_tasks = {
        region: [t for t, w in weights.items() if w > 0 and _can_be_asked(t, labels[region], largest)]
        for region in regions
    }
    turns: list[Turn] = []
    while len(turns) < settings.turns:
        waiting = [r for r in regions if open_tasks[r]]
        if not waiting:
            break
        # The first round visits every region once; after it, any region may be asked again.
        fresh = [r for r in waiting if all(r not in turn.regions for turn in turns)]
        region = fresh[0] if fresh else pick(waiting, rng)
        tasks = open_tasks[region]
        task = rng.choices(tasks, [weights[name] for name in tasks])[0]
        about = _draw_regions(task, region, known, rng, largest)
        _close(task, about, open_tasks)
        type_name = _draw_type(labels[region], rng, settings.present_share) if task == "judgement" else None
        turns.append(Turn(task, about, type_name))
    return turns


def pick(items: Sequence[T], rng: random.Random) -> T:
    """One of the items, all equally likely; it takes one number from the generator."""
    return items[min(int(rng.random() * len(items)), len(items) - 1)]


def _can_be_asked(task: str, label: RegionLabel, largest: int) -> bool:
    """Whether a task is asked about a region with this label, where one question is about ``largest`` at most."""
    if task == "importance":
        return label.importance is not None
    rule = TASK_RULES[task]
    return not rule.diagnoses or (label.severities is not None and rule.regions[0] <= largest)


def _draw_regions(task: str, region: int, known: Sequence[int], rng: random.Random, largest: int) -> tuple[int, ...]:
    """The regions of a question: the one it was drawn for, and for several a random choice in random order.

    Args:
        known: regions whose severities are known; a question about several is about these only.
    """
    rule = TASK_RULES[task]
    if not rule.about_several:
        return (region,)
    others = rng.sample([r for r in known if r != region], (rule.regions[1] or largest) - 1)
    about = [region, *others]
    rng.shuffle(about)
    return tuple(about)


def _close(task: str, about: Sequence[int], open_tasks: Mapping[int, list[str]]) -> None:
    """Ask nothing twice: a question about a pair is closed for both, one about a group for the whole conversation."""
    asked = open_tasks if TASK_RULES[task].regions[1] is None else about
    for region in asked:
        if task in open_tasks[region]:
            open_tasks[region].remove(task)


def _draw_type(label: RegionLabel, rng: random.Random, present_share: float) -> str:
    """The distortion type of a judgement: one that is there with the given probability, else one that is not."""
    there = [name for name, severity in zip(DISTORTION_TYPES, known_severities(label), strict=True) if severity > 0]
    absent = [name for name in DISTORTION_TYPES if name not in there]
    return pick(there if there and (not absent or rng.random() < present_share) else absent, rng)
