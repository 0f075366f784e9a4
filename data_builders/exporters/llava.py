"""LLaVA's conversation JSON: the messages that a training derives from labels, prompts and the row's seed.

    images/<sample>.png
    llava.json          [{"id", "image", "system", "regions": [RLE, ...], "conversations": [{"from", "value"}, ...]}]

``<image>`` opens the first question; ``<region N>`` in a text is entry N (from 1) of ``regions``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_builders.exporters.base import Item, Opened, counted, file_stem, json_chunks, rle_of
from data_builders.progress import Tick
from seagull_tune.config.exchange import ExportConfig
from seagull_tune.files import atomic_write
from seagull_tune.instructions.converse import check_tasks, sample_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.records import Message, Sample

CONVERSATIONS_FILE = "llava.json"
_SPEAKERS = {"user": "human", "assistant": "gpt"}


class LlavaExporter:
    """Writes the layout. Samples without a labelled region are left out: there is nothing to ask about."""

    def __init__(self, config: ExportConfig) -> None:
        self._settings, self._passes = config.conversation, config.passes
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

        atomic_write(out / CONVERSATIONS_FILE, json_chunks(entries()))
        return counts["entries"], counts["skipped"]

    def _entry(self, item: Item, sample: Sample, visit: int) -> dict[str, Any]:
        conversation = sample_conversation(sample, self._prompts, self._settings, visit)
        turns = [message for message in conversation.messages if message.role in _SPEAKERS]
        system = next(message.text for message in conversation.messages if message.role not in _SPEAKERS)
        return {
            "id": sample.sample_id if self._passes == 1 else f"{sample.sample_id}/{visit}",
            "image": _picture(sample),
            "system": system,
            "regions": [rle_of(item.record.regions[index]) for index in conversation.region_order],
            "conversations": [{"from": _SPEAKERS[turn.role], "value": _text(turn)} for turn in turns],
        }


def _picture(sample: Sample) -> str:
    return f"images/{file_stem(sample.sample_id)}.png"


def _text(message: Message) -> str:
    """LLaVA sets the image on a line of its own."""
    return message.text.replace("<image>", "<image>\n", 1) if message.parts[0].image else message.text
