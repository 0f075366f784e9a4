"""Labels of a pair -> a conversation about two pictures: which version of a region looks better.

A pair is two samples of one image that differ in one step (``mix.pairs``). Such conversations are for exports: our own
model takes one picture, so neither its training nor its scoring draws them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.errors import DataError
from seagull_tune.instructions.answers import answer_parts, usable_forms
from seagull_tune.instructions.converse import question_parts, system_message, visit_seed
from seagull_tune.instructions.relations import better_of
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.instructions.turns import pick
from seagull_tune.records import Message, Part, Sample

TASK = "versions"
"""The task of all its questions."""


@dataclass(frozen=True)
class PairConversation:
    """Messages about two versions of one image.

    Attributes:
        messages: a system message, then user and assistant in turn; the two pictures are the first two parts of the
            first question.
        samples: the two samples in the order of their pictures.
        region_order: ``region_order[k]`` is the index, among the image's regions, of the region that
            ``Part.region == k`` stands for; every region comes twice, once per picture.
        region_pictures: ``region_pictures[k]`` is 0 or 1: in which picture it is meant.
    """

    messages: tuple[Message, ...]
    samples: tuple[Sample, Sample]
    region_order: tuple[int, ...]
    region_pictures: tuple[int, ...]


def pair_conversation(
    first: Sample, second: Sample, prompts: PromptLibrary, settings: ConversationSettings, visit: int = 0
) -> PairConversation:
    """The conversation of one visit of a pair; the same arguments give the same conversation.

    Which version is shown first is drawn, so that its place tells nothing. Regions whose qualities differ are asked
    about before regions that are alike, since a pair often differs in a part of the picture only.

    Args:
        first, second: the samples of the pair, with one label per region of the image.
        settings: ``turns`` and ``max_regions`` limit the questions, one per region; ``canonical_share``.
        visit: from 0; every visit has a conversation of its own.

    Raises:
        DataError: the samples are no pair, have no labels or not equally many, or the prompts lack the task.
    """
    _check(first, second)
    rng = random.Random(visit_seed(first.prompt_seed ^ second.prompt_seed, visit))
    shown = (first, second) if rng.random() < 0.5 else (second, first)
    labels = tuple(zip(shown[0].labels, shown[1].labels, strict=True))
    regions = list(range(len(labels)))
    rng.shuffle(regions)
    regions.sort(key=lambda region: better_of(*labels[region]) is None)
    regions = regions[: min(settings.turns, settings.max_regions)]
    texts, messages = prompts.task(TASK), [system_message(prompts)]
    for place, region in enumerate(regions):
        forms = usable_forms(TASK, labels[region], prompts)
        question, form = texts.questions[0], forms[0]
        if rng.random() >= settings.canonical_share:
            question, form = pick(texts.questions, rng), pick(forms, rng)
        pictures = (Part(image=True), Part(image=True)) if place == 0 else ()
        asked = question_parts(question, [2 * place, 2 * place + 1], prompts=prompts)
        answer = answer_parts(TASK, labels[region], prompts, form)
        messages += [Message("user", (*pictures, *asked)), Message("assistant", answer)]
    order = tuple(region for region in regions for _ in shown)
    return PairConversation(tuple(messages), shown, order, (0, 1) * len(regions))


def _check(first: Sample, second: Sample) -> None:
    names = f"{first.sample_id!r} and {second.sample_id!r}"
    if first.pair_id is None or first.pair_id != second.pair_id or first.image_id != second.image_id:
        raise DataError(
            f"The samples {names} are no pair: pair_id {first.pair_id!r} and {second.pair_id!r}, of the images "
            f"{first.image_id!r} and {second.image_id!r}. Build the data set with mix.pairs above 0."
        )
    if not first.labels or len(first.labels) != len(second.labels):
        raise DataError(
            f"The samples {names} have {len(first.labels)} and {len(second.labels)} labelled regions; a pair has the "
            "same ones, at least one."
        )
