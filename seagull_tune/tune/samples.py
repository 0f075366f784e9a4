"""Rows of a data set -> training items: rendered picture or cached front, and a conversation drawn per visit."""

from __future__ import annotations

import hashlib

from torch.utils.data import Dataset

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.collate import TrainingItem
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.tune.front_cache import FrontCache


class TrainingSamples(Dataset[TrainingItem]):
    """The samples of one split, visited ``passes`` times; every visit has a conversation of its own.

    The visits are one long list, so that order, seeds and resume depend on nothing but the index.

    Args:
        rows: the data set.
        processor: prepares pictures and text.
        prompts: texts of the conversations; None trains the regions alone.
        settings: how conversations are drawn.
        passes: visits per sample.
        cache: the frozen front's results; None prepares pictures anew at every visit.
    """

    def __init__(
        self,
        rows: RoiDataset,
        processor: SeagullProcessor,
        prompts: PromptLibrary | None,
        settings: ConversationSettings,
        passes: int = 1,
        cache: FrontCache | None = None,
    ) -> None:
        self.rows, self.processor, self.prompts, self.settings = rows, processor, prompts, settings
        self.passes, self.cache = passes, cache

    def __len__(self) -> int:
        return len(self.rows) * self.passes

    def __getitem__(self, index: int) -> TrainingItem:
        row, visit = index % len(self.rows), index // len(self.rows)
        sample = self.rows.sample(row)
        labels = sample.labels
        encoded, mentions = None, ()
        if self.prompts is not None:
            conversation = build_conversation(labels, visit_seed(sample.prompt_seed, visit), self.prompts, self.settings)
            encoded = self.processor.encode(conversation.messages)
            mentions = tuple(conversation.region_order[position.region] for position in encoded.region_positions)
        if self.cache is not None:
            return TrainingItem(sample.sample_id, labels, encoded, mentions, statistics=self.cache.read(row))
        rendered = self.rows[row]
        visual = self.processor.visual(rendered.image, rendered.masks)
        return TrainingItem(sample.sample_id, labels, encoded, mentions, visual=visual)


def visit_seed(prompt_seed: int, visit: int) -> int:
    """Seed of the conversation of one visit of one sample."""
    return int.from_bytes(hashlib.sha256(f"{prompt_seed}/{visit}".encode()).digest()[:8], "big")
