"""LLaVA's conversation JSON: the messages that a training derives from labels, prompts and the row's seed.

    images/<sample>.png
    llava.json          [{"id", "image", "system", "regions": [RLE, ...], "conversations": [{"from", "value"}, ...]}]

``<image>`` opens the first question; ``<region N>`` in a text is entry N (from 1) of ``regions``. An entry about a pair
(two versions of one image) has a list of two files as ``image``, two ``<image>`` in their order, and ``region_images``:
for every region, which of the two it is in (0 or 1).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_builders.exporters.base import Item, Opened, counted, file_stem, json_chunks, rle_of
from data_builders.progress import Tick
from seagull_tune.config.exchange import ExportConfig
from seagull_tune.files import atomic_write
from seagull_tune.instructions.converse import check_tasks, sample_conversation
from seagull_tune.instructions.pairs import pair_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.records import Message, Sample

CONVERSATIONS_FILE = "llava.json"
_SPEAKERS = {"user": "human", "assistant": "gpt"}


class LlavaExporter:
    """Writes the layout. Samples without a labelled region are left out: there is nothing to ask about."""

    def __init__(self, config: ExportConfig) -> None:
        self._settings, self._passes, self._pairs = config.conversation, config.passes, config.pairs
        self._prompts = load_prompts(config.prompts)
        check_tasks(self._prompts, self._settings)

    def pictures(self, item: Item) -> Iterator[tuple[str, Sample | None]]:
        """See :class:`data_builders.exporters.base.Exporter`."""
        for sample, _, _ in item.samples:
            if sample.labels:
                yield _picture(sample), sample

    def write_labels(self, data: Opened, out: Path, tick: Tick) -> tuple[int, int]:
        """See :class:`data_builders.exporters.base.Exporter`."""
        counts: Counter[str] = Counter()

        def entries() -> Iterator[dict[str, Any]]:
            for item in counted(data, len(data), tick):
                for sample, _, _ in item.samples:
                    if not sample.labels:
                        counts["skipped"] += 1
                        continue
                    for visit in range(self._passes):
                        counts["entries"] += 1
                        yield self._entry(item, sample, visit)
                for first, second in _pairs_of(item) if self._pairs else ():
                    for visit in range(self._passes):
                        counts["entries"] += 1
                        yield self._pair_entry(item, first, second, visit)

        atomic_write(out / CONVERSATIONS_FILE, json_chunks(entries()))
        return counts["entries"], counts["skipped"]

    def _entry(self, item: Item, sample: Sample, visit: int) -> dict[str, Any]:
        conversation = sample_conversation(sample, self._prompts, self._settings, visit)
        return {
            "id": self._numbered(sample.sample_id, visit),
            "image": _picture(sample),
            **_texts(item, conversation.messages, conversation.region_order),
        }

    def _pair_entry(self, item: Item, first: Sample, second: Sample, visit: int) -> dict[str, Any]:
        conversation = pair_conversation(first, second, self._prompts, self._settings, visit)
        return {
            "id": self._numbered(f"{first.pair_id}", visit),
            "image": [_picture(sample) for sample in conversation.samples],
            "region_images": list(conversation.region_pictures),
            **_texts(item, conversation.messages, conversation.region_order),
        }

    def _numbered(self, name: str, visit: int) -> str:
        return name if self._passes == 1 else f"{name}/{visit}"


def _pairs_of(item: Item) -> Iterator[tuple[Sample, Sample]]:
    """The pairs among an image's samples that have labels; their two samples follow each other."""
    for (first, _, _), (second, _, _) in itertools.pairwise(item.samples):
        if first.labels and first.pair_id is not None and first.pair_id == second.pair_id:
            yield first, second


def _texts(item: Item, messages: Sequence[Message], region_order: Sequence[int]) -> dict[str, Any]:
    turns = [message for message in messages if message.role in _SPEAKERS]
    return {
        "system": next(message.text for message in messages if message.role not in _SPEAKERS),
        "regions": [rle_of(item.record.regions[index]) for index in region_order],
        "conversations": [{"from": _SPEAKERS[turn.role], "value": _text(turn)} for turn in turns],
    }


def _picture(sample: Sample) -> str:
    return f"images/{file_stem(sample.sample_id)}.png"


def _text(message: Message) -> str:
    """LLaVA sets every image on a line of its own."""
    return message.text.replace("<image>", "<image>\n", sum(part.image for part in message.parts))
