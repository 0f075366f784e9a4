"""Labels -> conversations: seeded, with several turns about several regions of one image."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from seagull_tune.config.instructions import ConversationSettings, TaskWeights
from seagull_tune.errors import DataError, RegionError
from seagull_tune.instructions import lists
from seagull_tune.instructions.answers import answer_parts, placeholder_parts, usable_forms
from seagull_tune.instructions.rules import SLOT_PATTERN, slots_of
from seagull_tune.instructions.templates import PromptLibrary, load_prompts
from seagull_tune.instructions.turns import draw_turns, pick
from seagull_tune.records import Message, Part, RegionLabel, Sample

__all__ = [
    "Conversation",
    "ConversationSettings",
    "TaskWeights",
    "build_conversation",
    "free_question",
    "free_turn",
    "question_parts",
    "sample_conversation",
    "scoring_conversation",
    "system_message",
    "visit_seed",
]

_WRITTEN_REGION = re.compile(r"<region (\d+)>")


@dataclass(frozen=True)
class Conversation:
    """Messages about one image.

    Attributes:
        messages: a system message, then user and assistant in turn; the image is the first part of the first question.
        region_order: ``region_order[k]`` is the index, among the image's regions, of the region that
            ``Part.region == k`` stands for. Regions are in the order in which the conversation first mentions them.
    """

    messages: tuple[Message, ...]
    region_order: tuple[int, ...]


def build_conversation(
    labels: Sequence[RegionLabel], seed: int, prompts: PromptLibrary, settings: ConversationSettings
) -> Conversation:
    """A conversation about the labelled regions of one image; the same arguments give the same conversation.

    Args:
        labels: one per region of the image.
        seed: chooses regions, tasks and wordings.

    Raises:
        DataError: no label, no task of positive weight can be asked about these regions, or the prompts lack one.
    """
    if not labels:
        raise DataError("A conversation needs at least one labelled region, got none.")
    check_tasks(prompts, settings)
    rng = random.Random(seed)
    turns = draw_turns(labels, rng, settings, len(prompts.ordinals))
    if not turns:
        raise DataError(
            "No task of positive weight can be asked about these regions: 'importance' needs one that has it scored, "
            "comparison, priority and summary need two, and all but quality and importance need known severities."
        )
    order: list[int] = []
    messages = [system_message(prompts)]
    for turn in turns:
        order += [region for region in turn.regions if region not in order]
        about = [labels[region] for region in turn.regions]
        questions, forms = prompts.task(turn.task).questions, usable_forms(turn.task, about, prompts)
        question, form = questions[0], forms[0]
        if rng.random() >= settings.canonical_share:
            question, form = pick(questions, rng), pick(forms, rng)
        asked = question_parts(question, [order.index(region) for region in turn.regions], turn.type_name, prompts)
        first = (Part(image=True),) if len(messages) == 1 else ()
        answer = answer_parts(turn.task, about, prompts, form, turn.type_name, settings.severity_smoothing)
        if len(turn.regions) == 1:
            answer = _about(answer, order.index(turn.regions[0]))
        messages += [Message("user", first + asked), Message("assistant", answer)]
    return Conversation(tuple(messages), tuple(order))


def _about(answer: Sequence[Part], region: int) -> tuple[Part, ...]:
    """An answer whose value words say which region they are of."""
    return tuple(
        part if part.slot is None else replace(part, slot=replace(part.slot, region=region)) for part in answer
    )


def sample_conversation(
    sample: Sample, prompts: PromptLibrary, settings: ConversationSettings, visit: int = 0
) -> Conversation:
    """The conversation of one visit of a sample: what a training reads, and what an export writes.

    Args:
        visit: from 0; every visit of a sample has a conversation of its own.

    Raises:
        DataError: as :func:`build_conversation`.
    """
    return build_conversation(sample.labels, visit_seed(sample.prompt_seed, visit), prompts, settings)


def visit_seed(prompt_seed: int, visit: int) -> int:
    """Seed of the conversation of one visit (from 0) of the sample whose row holds ``prompt_seed``."""
    return int.from_bytes(hashlib.sha256(f"{prompt_seed}/{visit}".encode()).digest()[:8], "big")


def check_tasks(prompts: PromptLibrary, settings: ConversationSettings) -> None:
    """Refuse settings that ask a task for which the prompts have no texts.

    Raises:
        DataError: naming the task and what to do.
    """
    for task, weight in settings.task_weights.model_dump().items():
        if weight > 0:
            prompts.task(task)


def scoring_conversation(
    task: str, prompts: PromptLibrary, type_name: str | None = None, region: int = 0
) -> tuple[Message, ...]:
    """The canonical question about one region and its canonical answer, for reading scores at the answer's slots.

    Args:
        task: ``quality``, ``importance``, ``distortions`` or ``judgement``.
        type_name: the distortion type of a judgement, or the one that the answer about distortions names.
        region: index for ``Part.region``.

    Returns:
        System, user (with the image) and assistant message. The slots' targets are uniform and their words are only
        place-holders (the first of each vocabulary).

    Raises:
        DataError: the task's answers have no fixed slots, or a judgement names no known type.
    """
    asked = question_parts(prompts.task(task).questions[0], region, type_name)
    return (
        system_message(prompts),
        Message("user", (Part(image=True), *asked)),
        Message("assistant", placeholder_parts(task, prompts, type_name)),
    )


def system_message(prompts: PromptLibrary) -> Message:
    """The message that opens every conversation."""
    return Message("system", (Part(text=prompts.system),))


def question_parts(
    question: str,
    regions: int | Sequence[int],
    type_name: str | None = None,
    prompts: PromptLibrary | None = None,
) -> tuple[Part, ...]:
    """A question template with its regions and distortion type filled in.

    Args:
        question: a question of ``prompts``.
        regions: index for ``Part.region``, or several for a question about several, in the order of mention.
        type_name: the distortion type of a judgement.
        prompts: the texts (how regions are listed); None takes the shipped ones.

    Raises:
        DataError: the template names a type or another region and none is given.
    """
    mentioned = [Part(region=region) for region in ([regions] if isinstance(regions, int) else regions)]
    slots: dict[str, Sequence[Part]] = {"region": mentioned[:1]}
    if len(mentioned) > 1:
        slots["other"] = mentioned[1:2]
        if "regions" in slots_of(question):
            form = (load_prompts() if prompts is None else prompts).lists["regions"]
            slots["regions"] = lists.joined(form, [_filled(form.item, {"region": [part]}) for part in mentioned])
    if type_name is not None:
        slots["type"] = [Part(text=type_name)]
    missing = [name for name in slots_of(question) if name not in slots]
    if missing:
        raise DataError(
            f"The question {question!r} needs a value for {', '.join(missing)}; a judgement names a type, and a "
            "question about several regions names two or more."
        )
    return tuple(part for part in _filled(question, slots) if part.region is not None or part.text)


def free_question(text: str, region: int | None = 0, prompts: PromptLibrary | None = None) -> tuple[Message, ...]:
    """The messages that open a conversation with a question in the user's own words; see :func:`free_turn`."""
    prompts = load_prompts() if prompts is None else prompts
    return system_message(prompts), free_turn(text, region, prompts, with_image=True)


def free_turn(
    text: str,
    region: int | None = 0,
    prompts: PromptLibrary | None = None,
    with_image: bool = False,
    n_regions: int | None = None,
) -> Message:
    """A user turn in the user's own words.

    ``<region N>`` in the text (N from 1, as in ``Message.text``) is region N - 1. Without such a mark, a phrase such as
    "this region" becomes the region, so that a typed canonical question equals the trained one; without the phrase,
    the region is named first. Everything else stays text: no mark of a chat template or of an image has any power.

    Args:
        text: the question.
        region: the region that is asked about; None asks about the whole image.
        prompts: the texts; None takes the shipped ones.
        with_image: whether the image opens the turn (the first turn of a conversation).
        n_regions: how many regions the conversation has; None does not check.

    Raises:
        DataError: the question is empty.
        RegionError: a region is asked about that the conversation does not have.
    """
    prompts = load_prompts() if prompts is None else prompts
    text = text.strip()
    if not text:
        raise DataError("The question is empty; a question needs at least one word.")
    if _WRITTEN_REGION.search(text):
        pieces = _WRITTEN_REGION.split(text)
        parts = [Part(region=int(piece) - 1) if i % 2 else Part(text=piece) for i, piece in enumerate(pieces)]
    elif region is None:
        parts = [Part(text=text)]
    else:
        parts = _about_region(text, region, prompts)
    for part in parts:
        if part.region is not None and not 0 <= part.region < (part.region + 1 if n_regions is None else n_regions):
            allowed = f"1 to {n_regions}" if n_regions else "numbers from 1" if n_regions is None else "none yet"
            raise RegionError(
                f"The question names <region {part.region + 1}>; regions of this conversation: {allowed}."
            )
    image = (Part(image=True),) if with_image else ()
    return Message("user", image + tuple(part for part in parts if part.region is not None or part.text))


def _about_region(text: str, region: int, prompts: PromptLibrary) -> list[Part]:
    phrases = "|".join(re.escape(phrase) for phrase in prompts.region_phrases)
    match = re.search(rf"\b(?:{phrases})\b", text, flags=re.IGNORECASE)
    if match is not None:
        return [Part(text=text[: match.start()]), Part(region=region), Part(text=text[match.end() :])]
    return _filled(prompts.free_question, {"region": [Part(region=region)], "question": [Part(text=text)]})


def _filled(template: str, slots: Mapping[str, Sequence[Part]]) -> list[Part]:
    """A template's parts, each slot replaced by the parts of its name."""
    pieces = enumerate(SLOT_PATTERN.split(template))
    return [part for i, piece in pieces for part in (slots[piece] if i % 2 else [Part(text=piece)])]
