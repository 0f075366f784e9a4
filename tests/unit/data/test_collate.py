"""Batches: where logits are read, what stands there, what a value slot trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.collate import IGNORE, SLOT_KINDS, Collator, TrainingItem, direct_targets
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.visual import VisualInputs
from seagull_tune.errors import TrainingError
from seagull_tune.instructions.chat import EncodedChat
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.records import Message, Part, RegionLabel
from tests.tiny import make_tokenizer

LABELS = (
    RegionLabel(0.3, None, (0, 2, 0, 0, 0, 0, 5, 0)),
    RegionLabel(1.0, 0.1, (0,) * 8),
    RegionLabel(0.0, 1.0, (1, 1, 1, 1, 1, 1, 1, 1)),
)


@pytest.fixture(scope="module")
def processor() -> SeagullProcessor:
    return SeagullProcessor(make_tokenizer(), image_max_side=96, image_grid=2, patch_size=16, patches_per_region=3)


@pytest.fixture(scope="module")
def visual(processor: SeagullProcessor) -> VisualInputs:
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    return processor.visual(image, np.ones((3, 40, 50), bool))


def _items(processor: SeagullProcessor, visual: VisualInputs, count: int = 3) -> list[TrainingItem]:
    items = []
    for number in range(count):
        settings = ConversationSettings(turns=1 + 3 * number)
        conversation = build_conversation(LABELS, number, load_prompts(), settings)
        encoded = processor.encode(conversation.messages)
        mentions = tuple(conversation.region_order[position.region] for position in encoded.region_positions)
        items.append(TrainingItem(f"s{number}", LABELS, encoded, mentions, visual))
    return items


@pytest.fixture(scope="module")
def items(processor: SeagullProcessor, visual: VisualInputs) -> list[TrainingItem]:
    return _items(processor, visual)


@pytest.fixture(scope="module")
def batch(items: list[TrainingItem]) -> dict[str, Any]:
    return Collator(pad_token_id=0)(items)


def _chat(item: TrainingItem) -> EncodedChat:
    assert item.encoded is not None
    return item.encoded


def test_text_is_padded_on_the_right(batch: dict[str, Any], items: list[TrainingItem]) -> None:
    for row, item in enumerate(items):
        length = len(_chat(item).input_ids)
        assert batch["input_ids"][row, :length].tolist() == _chat(item).input_ids
        assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (batch["input_ids"].shape[1] - length)
        assert bool((batch["input_ids"][row, length:] == 0).all())


def test_logits_are_read_one_position_before_each_trained_token(
    batch: dict[str, Any], items: list[TrainingItem]
) -> None:
    width = batch["input_ids"].shape[1]
    flat = batch["input_ids"].flatten()
    expected = [
        (row, position)
        for row, item in enumerate(items)
        for position, trained in enumerate(_chat(item).trained)
        if trained
    ]
    found = [(int(i) // width, int(i) % width + 1) for i in batch["logits_index"]]
    assert found == expected
    slots = {(row, slot.index) for row, item in enumerate(items) for slot in _chat(item).slots}
    for place, index, target in zip(expected, batch["logits_index"], batch["target_ids"], strict=True):
        next_token = int(flat[index + 1])
        assert int(target) == (IGNORE if place in slots else next_token)


def test_slots_train_their_own_words(
    batch: dict[str, Any], items: list[TrainingItem], processor: SeagullProcessor
) -> None:
    slots = [(row, slot) for row, item in enumerate(items) for slot in _chat(item).slots]
    assert len(slots) == len(batch["slot_rows"]) > 10
    width = batch["input_ids"].shape[1]
    for number, (row, slot) in enumerate(slots):
        position = int(batch["logits_index"][batch["slot_rows"][number]]) + 1
        assert (position // width, position % width) == (row, slot.index)
        assert SLOT_KINDS[batch["slot_kinds"][number]] == slot.kind
        words = len(slot.candidate_ids)
        assert batch["slot_candidates"][number].tolist() == [*slot.candidate_ids] + [-1] * (
            batch["slot_candidates"].shape[1] - words
        )
        np.testing.assert_allclose(batch["slot_targets"][number, :words], slot.target, atol=1e-6)
        assert float(batch["slot_targets"][number, words:].sum()) == 0
        # The word that stands in the text is a most probable candidate.
        written = slot.candidate_ids.index(int(batch["input_ids"][row, slot.index]))
        assert slot.target[written] == max(slot.target)
    assert {SLOT_KINDS[kind] for kind in batch["slot_kinds"]} >= {"quality", "importance", "severity"}


def test_mentions_point_at_rows_of_the_batch(batch: dict[str, Any], items: list[TrainingItem]) -> None:
    assert batch["mention_counts"].tolist() == [len(item.mentions) for item in items]
    expected = [3 * row + mention for row, item in enumerate(items) for mention in item.mentions]
    assert batch["mention_index"].tolist() == expected
    assert len(batch["region_geometry"]) == 9 and len(batch["pixel_values"]) == 3


def test_a_batch_is_its_samples(items: list[TrainingItem], batch: dict[str, Any]) -> None:
    alone = [Collator(0)([item]) for item in items]
    for name in ("target_ids", "slot_targets", "quality_target", "importance_target", "severity_target", "patches"):
        parts = [single[name] for single in alone]
        if name == "slot_targets":
            parts = [torch.nn.functional.pad(part, (0, batch[name].shape[1] - part.shape[1])) for part in parts]
        assert torch.equal(torch.cat(parts), batch[name]), name


def test_direct_targets() -> None:
    targets = direct_targets(LABELS)
    torch.testing.assert_close(
        targets["quality_target"],
        torch.tensor([[0, 0.8, 0.2, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]], dtype=torch.float32),
    )
    torch.testing.assert_close(
        targets["importance_target"],
        torch.tensor([[0, 0, 0, 0, 0], [0.6, 0.4, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=torch.float32),
    )
    assert targets["severity_target"].tolist() == [list(label.severities or ()) for label in LABELS]
    assert targets["severity_target"].dtype == torch.int64


def test_a_sample_without_a_trained_token_is_named(processor: SeagullProcessor, visual: VisualInputs) -> None:
    question = Message("user", (Part(image=True), Part(text="How is "), Part(region=0), Part(text="?")))
    silent = TrainingItem("sample-17", LABELS, processor.encode([question]), (0,), visual)
    with pytest.raises(TrainingError, match="Sample 'sample-17' has no trained token"):
        Collator(0)([*_items(processor, visual, 1), silent])


def test_regions_alone_need_no_text(visual: VisualInputs) -> None:
    batch = Collator(0)([TrainingItem("a", LABELS, visual=visual), TrainingItem("b", LABELS, visual=visual)])
    assert "input_ids" not in batch and batch["quality_target"].shape == (6, 5)


def test_cached_statistics_are_joined() -> None:
    def entry(regions: int, value: float) -> dict[str, np.ndarray]:
        return {
            "grid": np.full((4, 5), value, np.float16),
            "maps": np.full((regions, 7), value, np.float16),
            "counts": np.array([regions]),
        }

    items = [
        TrainingItem("a", LABELS[:1], statistics=entry(1, 1.5)),
        TrainingItem("b", LABELS[:2], statistics=entry(2, 2.5)),
    ]  # fmt: skip
    statistics = Collator(0)(items)["statistics"]
    assert statistics["grid"].shape == (2, 4, 5) and statistics["maps"].shape == (3, 7)
    assert statistics["maps"][:, 0].tolist() == [1.5, 2.5, 2.5] and statistics["maps"].dtype == torch.float32
    assert statistics["counts"].tolist() == [1, 2] and statistics["counts"].dtype == torch.int64


def test_a_batch_without_value_words(processor: SeagullProcessor, visual: VisualInputs) -> None:
    messages = [
        Message("user", (Part(image=True), Part(region=1), Part(text="?"))),
        Message("assistant", (Part(text="It is a sky."),)),
    ]
    encoded = processor.encode(messages)
    batch = Collator(0)([TrainingItem("a", LABELS, encoded, (1,), visual)])
    assert batch["slot_rows"].shape == (0,) and batch["slot_targets"].shape[0] == 0
    assert processor.tokenizer.decode(batch["target_ids"]).startswith("It is a sky.")


def test_tokens_that_the_language_model_cannot_read_are_named(
    processor: SeagullProcessor, visual: VisualInputs
) -> None:
    turns = [Message("user", (Part(image=True), Part(text="How is "), Part(region=0), Part(text="?")))]
    encoded = processor.encode([*turns, Message("assistant", (Part(text="It is good."),))])
    item = TrainingItem("sample-18", LABELS, encoded, (0,), visual)
    layout = processor.layout
    places = (layout.image_token_id, *layout.region_token_ids)
    words = max(token for token in encoded.input_ids if token not in places)
    Collator(0, words + 1, len(encoded.input_ids), places)([item])
    with pytest.raises(TrainingError, match=rf"'sample-18': token {words} at place \d+ has no row .* {words} embed"):
        Collator(0, words, None, places)([item])
    with pytest.raises(TrainingError, match=rf"'sample-18' takes {len(encoded.input_ids)} tokens.*conversation.turns"):
        Collator(0, None, len(encoded.input_ids) - 1, places)([item])
