"""The messages of a data set: derived when a row is read, as a training derives them; and written out as JSON lines.

A data set stores no message: every row has a seed, and :func:`sample_messages` draws from it. A line of an export is

    {"sample_id": ..., "image_id": ..., "split": ..., "visit": 0, "regions": [2, 0], "messages": [
        {"role": "user", "content": "<image>How is the quality of <region 1>?"},
        {"role": "assistant", "content": "The quality of this region is poor.",
         "values": [{"kind": "quality", "key": "", "word": "poor", "target": [0.0, 0.8, 0.2, 0.0, 0.0]}]}, ...]}

``<region N>`` is the region of the image with the index ``regions[N - 1]``; ``values`` are the value words in their
order, with soft targets over the vocabulary of their kind (``instructions.answers.SLOT_WORDS``).

Of a pair (two versions of one image) a line can be written that shows both pictures; a training draws none of these:

    {"sample_ids": [..., ...], "pair_id": ..., "image_id": ..., "split": ..., "visit": 0, "regions": [2, 2],
     "pictures": [0, 1], "messages": [{"role": "user", "content": "<image><image>Which version looks ..."}, ...]}

The two ``<image>`` are the pictures of ``sample_ids``, and ``<region N>`` is in the one with the index
``pictures[N - 1]``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write
from seagull_tune.instructions.converse import Conversation, check_tasks, sample_conversation
from seagull_tune.instructions.pairs import PairConversation, pair_conversation
from seagull_tune.instructions.templates import PromptLibrary, load_prompts
from seagull_tune.records import Message, Sample


@dataclass(frozen=True)
class SampleMessages:
    """The conversation of one visit of one sample.

    Attributes:
        sample: the row: image, recipe, labels.
        split: of its image.
        visit: from 0.
        conversation: messages, and which of the image's regions they speak of.
    """

    sample: Sample
    split: str
    visit: int
    conversation: Conversation

    def as_row(self) -> dict[str, Any]:
        """What a line of an export holds."""
        return {
            "sample_id": self.sample.sample_id,
            "image_id": self.sample.image_id,
            "split": self.split,
            "visit": self.visit,
            "regions": list(self.conversation.region_order),
            "messages": [_message_row(message) for message in self.conversation.messages],
        }


def sample_messages(
    rows: RoiDataset,
    prompts: PromptLibrary | None = None,
    settings: ConversationSettings | None = None,
    visits: int = 1,
) -> Iterator[SampleMessages]:
    """The conversations of all labelled samples, in the order of the rows; no picture is read.

    Samples without a labelled region are left out: there is nothing to ask about.

    Args:
        rows: the data set, or one split of it.
        prompts: the texts; None takes the shipped ones.
        settings: how conversations are drawn; None takes the defaults.
        visits: conversations per sample; a training draws the same ones, visit by visit.

    Raises:
        DataError: a row is damaged, no task can be asked about its regions (the sample is named), the prompts lack a
            task, or ``visits`` is below 1.
    """
    if visits < 1:
        raise DataError(f"{visits} visits; at least 1 is needed.")
    prompts = load_prompts() if prompts is None else prompts
    settings = ConversationSettings() if settings is None else settings
    check_tasks(prompts, settings)
    splits: dict[str, str] = {}
    for index in range(len(rows)):
        sample = rows.sample(index)
        if not sample.labels:
            continue
        if sample.image_id not in splits:
            splits[sample.image_id] = rows.image_record(sample.image_id).split
        for visit in range(visits):
            try:
                conversation = sample_conversation(sample, prompts, settings, visit)
            except DataError as error:
                raise DataError(f"{rows.folder}: sample {sample.sample_id!r}: {error}") from error
            yield SampleMessages(sample, splits[sample.image_id], visit, conversation)


@dataclass(frozen=True)
class PairMessages:
    """The conversation of one visit of a pair of samples.

    Attributes:
        split: of their image.
        visit: from 0.
        conversation: messages, the two samples, and which regions of which picture they speak of.
    """

    split: str
    visit: int
    conversation: PairConversation

    def as_row(self) -> dict[str, Any]:
        """What a line of an export holds."""
        first = self.conversation.samples[0]
        return {
            "sample_ids": [sample.sample_id for sample in self.conversation.samples],
            "pair_id": first.pair_id,
            "image_id": first.image_id,
            "split": self.split,
            "visit": self.visit,
            "regions": list(self.conversation.region_order),
            "pictures": list(self.conversation.region_pictures),
            "messages": [_message_row(message) for message in self.conversation.messages],
        }


def pair_messages(
    rows: RoiDataset,
    prompts: PromptLibrary | None = None,
    settings: ConversationSettings | None = None,
    visits: int = 1,
) -> Iterator[PairMessages]:
    """The conversations about two pictures of all labelled pairs, in the order of the rows; no picture is read.

    Args: as in :func:`sample_messages`.

    Raises:
        DataError: the data set has no pair with labels, a row is damaged, the prompts lack the task ``versions``, or
            ``visits`` is below 1.
    """
    if visits < 1:
        raise DataError(f"{visits} visits; at least 1 is needed.")
    prompts = load_prompts() if prompts is None else prompts
    settings = ConversationSettings() if settings is None else settings
    pairs = [(rows.sample(first), rows.sample(second)) for first, second in rows.pairs]
    pairs = [pair for pair in pairs if pair[0].labels]
    if not pairs:
        where = "" if rows.split is None else f" in split {rows.split!r}"
        raise DataError(f"{rows.folder} has no pair with labels{where}: build it with mix.pairs above 0.")
    for first, second in pairs:
        split = rows.image_record(first.image_id).split
        for visit in range(visits):
            yield PairMessages(split, visit, pair_conversation(first, second, prompts, settings, visit))


def write_messages(
    rows: RoiDataset,
    out: Path,
    prompts: PromptLibrary | None = None,
    settings: ConversationSettings | None = None,
    visits: int = 1,
    show_progress: bool = True,
    pairs: bool = False,
) -> int:
    """Write the conversations of all samples as JSON lines; the file appears whole or not at all.

    Args:
        rows, prompts, settings, visits: as in :func:`sample_messages`.
        out: the file; an existing one is replaced.
        show_progress: whether progress is shown on standard error.
        pairs: whether those of all pairs follow (:func:`pair_messages`).

    Returns:
        How many conversations were written.

    Raises:
        DataError: as :func:`sample_messages` and, with ``pairs``, :func:`pair_messages`.
    """
    written = 0
    total = (len(rows) + (len(rows.pairs) if pairs else 0)) * visits
    drawn: Iterator[SampleMessages | PairMessages] = sample_messages(rows, prompts, settings, visits)
    if pairs:
        drawn = itertools.chain(drawn, pair_messages(rows, prompts, settings, visits))

    def lines() -> Iterator[bytes]:
        nonlocal written
        for item in tqdm(drawn, total=total, desc="Messages", unit="conversations", disable=not show_progress):
            yield (json.dumps(item.as_row(), ensure_ascii=False) + "\n").encode()
            written += 1

    atomic_write(out, lines())
    return written


def _message_row(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.text}
    values = [
        {"kind": part.slot.kind, "key": part.slot.key, "word": part.text, "target": list(part.slot.target)}
        for part in message.parts
        if part.slot is not None
    ]
    return row | ({"values": values} if values else {})
