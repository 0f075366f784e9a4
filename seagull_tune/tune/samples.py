"""Rows of a data set -> training items: rendered picture or cached front, and a conversation drawn per visit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch.utils.data import Dataset
from tqdm import tqdm

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.collate import TrainingItem
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.instructions.converse import check_tasks, sample_conversation
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.tune.front_cache import FrontCache

_MANY = 10_000  # visits, from which on it takes long enough to be shown


def trainable_rows(rows: RoiDataset) -> Sequence[int]:
    """The samples of a split that teach something: those with a labelled region.

    Raises:
        DataError: there are none.
    """
    found = rows.labelled
    if not found:
        raise DataError(
            f"{rows.folder}: no sample of the split {rows.split!r} has a labelled region, and opinion scores of whole "
            "pictures alone train no regions. Build labels with `seagull-tune build`, or import ratings of regions."
        )
    return range(len(rows)) if len(found) == len(rows) else found


class TrainingSamples(Dataset[TrainingItem]):
    """The samples of one split, visited ``passes`` times; every visit has a conversation of its own.

    The visits are one long list, so that order, seeds and resume depend on nothing but the index.

    Args:
        rows: the data set.
        processor: prepares pictures and text.
        prompts: texts of the conversations; None trains the regions alone.
        settings: how conversations are drawn.
        passes: visits per sample.
        chosen: the rows that are visited; None takes all.
        cache: the frozen front's results; None prepares pictures anew at every visit.
    """

    def __init__(
        self,
        rows: RoiDataset,
        processor: SeagullProcessor,
        prompts: PromptLibrary | None,
        settings: ConversationSettings,
        passes: int = 1,
        chosen: Sequence[int] | None = None,
        cache: FrontCache | None = None,
    ) -> None:
        if prompts is not None:
            check_tasks(prompts, settings)
        self.rows, self.processor, self.prompts, self.settings = rows, processor, prompts, settings
        self.passes, self.cache = passes, cache
        self.chosen: Sequence[int] = range(len(rows)) if chosen is None else chosen

    def __len__(self) -> int:
        return len(self.chosen) * self.passes

    def __getitem__(self, index: int) -> TrainingItem:
        item, row = self.text(index), self.chosen[index % len(self.chosen)]
        if self.cache is not None:
            return replace(item, statistics=self.cache.read(row))
        rendered = self.rows[row]
        return replace(item, visual=self.processor.visual(rendered.image, rendered.masks))

    def lengths(self) -> list[int]:
        """About how long the conversation of each visit is: its letters, which are quicker to know than its tokens."""
        if self.prompts is None:
            return [0] * len(self)
        found = []
        for index in tqdm(range(len(self)), desc="lengths", unit="visit", disable=len(self) < _MANY):
            visit, place = divmod(index, len(self.chosen))
            drawn = sample_conversation(self.rows.sample(self.chosen[place]), self.prompts, self.settings, visit)
            found.append(sum(len(part.text) for message in drawn.messages for part in message.parts))
        return found

    def text(self, index: int) -> TrainingItem:
        """A visit without its picture: labels and conversation."""
        visit, place = divmod(index, len(self.chosen))
        sample = self.rows.sample(self.chosen[place])
        if self.prompts is None:
            return TrainingItem(sample.sample_id, sample.labels)
        conversation = sample_conversation(sample, self.prompts, self.settings, visit)
        encoded = self.processor.encode(conversation.messages)
        mentions = tuple(conversation.region_order[position.region] for position in encoded.region_positions)
        order = conversation.region_order
        slot_regions = tuple(-1 if slot.region is None else order[slot.region] for slot in encoded.slots)
        return TrainingItem(sample.sample_id, sample.labels, encoded, mentions, slot_regions=slot_regions)
