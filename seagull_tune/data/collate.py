"""Samples -> one batch: padded text, flat lists of trained positions and value slots, pictures without padding.

Legend: B samples, L longest sequence, N trained positions of all samples, S value slots, W candidate words of a slot,
R regions of all samples, M mentions of regions in the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seagull_tune.data.processor import visual_tensors
from seagull_tune.data.visual import VisualInputs
from seagull_tune.errors import TrainingError
from seagull_tune.instructions.chat import EncodedChat, SlotPosition
from seagull_tune.levels import DISTORTION_TYPES, soft_levels
from seagull_tune.records import RegionLabel

IGNORE = -100
SLOT_KINDS = ("quality", "importance", "types", "severity", "judgement")
"""Vocabularies of value slots; batches name them by index."""


@dataclass(frozen=True)
class TrainingItem:
    """One training sample.

    Attributes:
        name: sample id, for messages.
        labels: of the sample's R_i regions.
        encoded: its conversation, or None where only the regions are trained.
        mentions: region index of each mention in the conversation.
        visual: picture inputs, or None where ``statistics`` is given.
        statistics: cached front result (arrays by name of ``RegionStatistics``), or None.
        slot_regions: region index of each value word of the conversation, -1 where it is of no single region; empty
            where nobody knows.
    """

    name: str
    labels: tuple[RegionLabel, ...]
    encoded: EncodedChat | None = None
    mentions: tuple[int, ...] = ()
    visual: VisualInputs | None = None
    statistics: dict[str, np.ndarray] | None = None
    slot_regions: tuple[int, ...] = ()


class Collator:
    """Builds batches of :class:`TrainingItem`.

    Args:
        pad_token_id: what fills the right of shorter sequences (it is masked from attention and never trained).
        vocabulary: rows of the language model's table of embeddings; placeholders may lie beyond it.
        context: longest sequence, in tokens, that the language model reads. None checks nothing, here and there.
        placeholders: ids of image and region tokens.
    """

    def __init__(
        self,
        pad_token_id: int,
        vocabulary: int | None = None,
        context: int | None = None,
        placeholders: Sequence[int] = (),
    ) -> None:
        self.pad_token_id, self.vocabulary, self.context = pad_token_id, vocabulary, context
        self.placeholders = frozenset(placeholders)

    def __call__(self, items: Sequence[TrainingItem]) -> dict[str, Any]:
        """A batch; see :func:`picture_part`, :func:`direct_targets` and :func:`text_part` for its entries.

        ``names`` holds the samples' names, for messages.

        Raises:
            TrainingError: a sample without a trained token, with a token that the language model has no embedding of,
                or longer than it reads; by name.
        """
        for item in items:
            self._check_tokens(item)
        batch = picture_part(items) | direct_targets([label for item in items for label in item.labels])
        if items[0].encoded is not None:
            batch |= text_part(items, self.pad_token_id)
        return batch | {"names": [item.name for item in items]}

    def _check_tokens(self, item: TrainingItem) -> None:
        ids = item.encoded.input_ids if item.encoded is not None else []
        if self.context is not None and len(ids) > self.context:
            raise TrainingError(
                f"Sample {item.name!r} takes {len(ids)} tokens; the language model reads {self.context}. Nothing is "
                "cut off: set conversation.turns or model.image_grid lower."
            )
        if self.vocabulary is None or max(ids, default=0) < self.vocabulary:
            return
        for place, token in enumerate(ids):
            if token >= self.vocabulary and token not in self.placeholders:
                raise TrainingError(
                    f"Sample {item.name!r}: token {token} at place {place} has no row in the language model's table of "
                    f"{self.vocabulary} embeddings; tokenizer and language model do not belong together."
                )


def picture_part(items: Sequence[TrainingItem]) -> dict[str, Any]:
    """``statistics`` (cached) or ``pixel_values`` and its companions."""
    if items[0].statistics is None:
        return visual_tensors([item.visual for item in items if item.visual is not None])
    cached = [item.statistics for item in items if item.statistics is not None]
    stacked = {}
    for name in cached[0]:
        arrays = [entry[name] for entry in cached]
        joined = np.stack(arrays) if name == "grid" else np.concatenate(arrays)
        stacked[name] = torch.from_numpy(joined.astype(np.int64 if name == "counts" else np.float32))
    return {"statistics": stacked}


def direct_targets(labels: Sequence[RegionLabel]) -> dict[str, Tensor]:
    """Targets of the direct head.

    Returns:
        ``quality_target`` float32 (R, 5) soft levels, as wide as raters disagreed; ``importance_target`` float32
        (R, 5), rows of zeros where importance is not scored; ``severity_target`` int64 (R, 8), rows of -1 where
        severities are unknown.
    """
    unscored = (0.0,) * 5
    unknown = (-1,) * len(DISTORTION_TYPES)
    severities = [unknown if label.severities is None else label.severities for label in labels]
    quality = [soft_levels(label.quality, deviation=label.quality_deviation) for label in labels]
    importance = [unscored if label.importance is None else soft_levels(label.importance) for label in labels]
    return {
        # With shapes and types of their own: a batch may have no region at all.
        "quality_target": torch.tensor(quality).view(-1, len(unscored)),
        "importance_target": torch.tensor(importance).view(-1, len(unscored)),
        "severity_target": torch.tensor(severities, dtype=torch.long).view(-1, len(DISTORTION_TYPES)),
    }


def text_part(items: Sequence[TrainingItem], pad_token_id: int) -> dict[str, Tensor]:
    """Tokens, mentions and what is trained.

    Returns:
        ``input_ids`` and ``attention_mask`` int64 (B, L); ``mention_index`` (M,) rows of the batch's regions and
        ``mention_counts`` (B,); ``logits_index`` (N,) flat positions whose next token is trained, and ``target_ids``
        (N,), :data:`IGNORE` where a value slot replaces the hard target; ``slot_rows`` (S,) rows of ``logits_index``,
        ``slot_kinds`` (S,) indices into :data:`SLOT_KINDS`, ``slot_candidates`` (S, W) token ids padded with -1,
        ``slot_targets`` float32 (S, W), ``slot_regions`` (S,) rows of the batch's regions, or -1.

    Raises:
        TrainingError: a sample without a trained token, by name.
    """
    encoded = [item.encoded for item in items if item.encoded is not None]
    length = max(len(chat.input_ids) for chat in encoded)
    ids = torch.full((len(items), length), pad_token_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    trained = _Trained()
    mentions: list[int] = []
    first_region = 0
    for row, (item, chat) in enumerate(zip(items, encoded, strict=True)):
        ids[row, : len(chat.input_ids)] = torch.tensor(chat.input_ids)
        mask[row, : len(chat.input_ids)] = 1
        trained.add(item, chat, row * length, first_region)
        mentions += [first_region + mention for mention in item.mentions]
        first_region += len(item.labels)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mention_index": torch.tensor(mentions, dtype=torch.long),
        "mention_counts": torch.tensor([len(item.mentions) for item in items]),
        **trained.tensors(),
    }


@dataclass
class _Trained:
    """Trained positions and value slots of a batch, collected sample by sample; see :func:`text_part`."""

    index: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    candidates: list[tuple[int, ...]] = field(default_factory=list)
    soft: list[tuple[float, ...]] = field(default_factory=list)
    regions: list[int] = field(default_factory=list)

    def add(self, item: TrainingItem, chat: EncodedChat, start: int, first_region: int) -> None:
        """Adds a sample whose first token has the flat position ``start``, and whose regions begin at a row."""
        if not any(chat.trained[1:]):
            raise TrainingError(f"Sample {item.name!r} has no trained token: its conversation holds no answer.")
        slots = {slot.index: slot for slot in chat.slots}
        regions_of = dict(zip(slots, item.slot_regions or [-1] * len(slots), strict=True))
        for position in range(1, len(chat.input_ids)):
            if not chat.trained[position]:
                continue
            slot = slots.get(position)
            if slot is not None:
                region = regions_of[position]
                self._add_slot(slot, region if region < 0 else first_region + region)
            # The logits that predict a token stand one position before it.
            self.index.append(start + position - 1)
            self.targets.append(IGNORE if slot is not None else chat.input_ids[position])

    def _add_slot(self, slot: SlotPosition, region: int) -> None:
        """Adds a value word, which the next trained position is to say."""
        self.rows.append(len(self.index))
        self.kinds.append(SLOT_KINDS.index(slot.kind))
        self.candidates.append(slot.candidate_ids)
        self.soft.append(slot.target)
        self.regions.append(region)

    def tensors(self) -> dict[str, Tensor]:
        """What was collected; slots are padded to the one with the most candidate words."""
        width = max((len(words) for words in self.candidates), default=1)
        candidates = [words + (-1,) * (width - len(words)) for words in self.candidates]
        soft = [target + (0.0,) * (width - len(target)) for target in self.soft]
        return {
            "logits_index": torch.tensor(self.index),
            "target_ids": torch.tensor(self.targets),
            "slot_rows": torch.tensor(self.rows, dtype=torch.long),
            "slot_kinds": torch.tensor(self.kinds, dtype=torch.long),
            "slot_candidates": torch.tensor(candidates, dtype=torch.long).view(-1, width),
            "slot_targets": torch.tensor(soft).view(-1, width),
            "slot_regions": torch.tensor(self.regions, dtype=torch.long),
        }
