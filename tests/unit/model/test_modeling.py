"""The whole model: one sample or many, cached or not, words only, generation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.instructions.converse import build_conversation, free_question
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.records import RegionLabel
from seagull_tune.tune.recipe import MODEL_INPUTS
from tests.tiny import make_tiny_model
from tests.unit.model.conftest import Picture

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]
SWIN = "swin_tiny_patch4_window7_224"  # the smallest that timm has


def make_items(processor: SeagullProcessor, pictures: list[Picture]) -> list[TrainingItem]:
    """One sample per photograph, each with a conversation of its own length."""
    items = []
    for number, picture in enumerate(pictures):
        severities = tuple((number + i) % 3 for i in range(len(DISTORTION_TYPES)))
        labels = tuple(RegionLabel(0.2 + 0.3 * i, 0.5, severities) for i in range(len(picture.masks)))
        settings = ConversationSettings(turns=2 + 3 * number)
        conversation = build_conversation(labels, number, load_prompts(), settings)
        encoded = processor.encode(conversation.messages)
        mentions = tuple(conversation.region_order[position.region] for position in encoded.region_positions)
        visual = processor.visual(picture.image, picture.masks)
        items.append(TrainingItem(f"sample {number}", labels, encoded, mentions, visual))
    return items


def _run(model: SeagullForConditionalGeneration, batch: dict[str, Any]) -> Any:
    with torch.no_grad():
        return model(**{name: batch[name] for name in MODEL_INPUTS if name in batch})


@pytest.mark.parametrize("tower", ["test_efficientnet", "test_convnext", "test_resnet", "test_vit", SWIN])
def test_a_padded_batch_equals_single_samples(tower: str, pictures: list[Picture]) -> None:
    model, processor = make_tiny_model(tower=tower)
    items = make_items(processor, pictures)
    collate = Collator(processor.tokenizer.pad_token_id)
    together = _run(model, collate(items))
    alone = [_run(model, collate([item])) for item in items]
    assert len(items[0].encoded.input_ids) != len(items[1].encoded.input_ids)  # type: ignore[union-attr]
    torch.testing.assert_close(together.logits, torch.cat([out.logits for out in alone]), rtol=1e-4, atol=1e-5)
    for name in ("quality", "importance", "severity"):
        joined = torch.cat([getattr(out.direct, name) for out in alone])
        torch.testing.assert_close(getattr(together.direct, name), joined, rtol=1e-4, atol=1e-5)


def test_mentions_carry_their_own_region(tiny: Tiny, pictures: list[Picture]) -> None:
    """Swapping the regions of a photograph and the mentions with them changes nothing; swapping only one does."""
    model, processor = tiny
    (item,) = make_items(processor, pictures[1:])
    batch = Collator(0)([item])
    order = torch.tensor([2, 0, 1])
    swapped = dict(batch)
    swapped["region_masks"] = [batch["region_masks"][0][order]]
    for name in ("region_geometry", "patches", "patch_masks"):
        swapped[name] = batch[name][order]
    there = _run(model, batch).logits
    assert float((_run(model, swapped).logits - there).abs().max()) > 1e-4
    swapped["mention_index"] = torch.argsort(order)[batch["mention_index"]]
    torch.testing.assert_close(_run(model, swapped).logits, there, rtol=1e-4, atol=1e-5)


def test_logits_at_an_index_equal_all_logits(tiny: Tiny, pictures: list[Picture]) -> None:
    model, processor = tiny
    batch = Collator(processor.tokenizer.pad_token_id)(make_items(processor, pictures))
    chosen = _run(model, batch).logits
    everything = _run(model, {k: v for k, v in batch.items() if k != "logits_index"}).logits
    assert everything.shape[:2] == batch["input_ids"].shape
    torch.testing.assert_close(chosen, everything.flatten(0, 1)[batch["logits_index"]], rtol=1e-4, atol=1e-5)


def test_cached_statistics_equal_pixels(tiny: Tiny, pictures: list[Picture]) -> None:
    model, processor = tiny
    batch = Collator(0)(make_items(processor, pictures))
    visual = ("pixel_values", "region_masks", "region_geometry", "patches", "patch_masks")
    statistics = model.encode_front(**{name: batch[name] for name in visual})
    cached = {k: v for k, v in batch.items() if k not in visual} | {"statistics": vars(statistics)}
    torch.testing.assert_close(_run(model, cached).logits, _run(model, batch).logits)


def test_words_alone_and_regions_alone(tiny: Tiny, visual: dict[str, Any]) -> None:
    model, _ = tiny
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, model.language_model(input_ids=ids).logits)
        regions = model(**visual)
    assert regions.logits is None and regions.direct.severity.shape == (6, 8, 6)
    assert regions.region_tokens.shape == (6, 2, 64)


def test_incomplete_arguments_are_named(tiny: Tiny, visual: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="patches"):
        tiny[0](pixel_values=visual["pixel_values"])
    with pytest.raises(TypeError, match="mention_index and mention_counts"):
        tiny[0](input_ids=torch.tensor([[5, 6]]), **visual)


def test_generation_continues_as_the_forward_pass_says(tiny: Tiny, pictures: list[Picture]) -> None:
    model, processor = tiny
    picture = pictures[0]
    inputs = processor(picture.image, picture.masks, free_question("How is the quality of this region?", 1))
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=6, do_sample=False, eos_token_id=None, pad_token_id=0)
        new = out[0, inputs["input_ids"].shape[1] :].tolist()
        assert len(new) == 6
        ids = inputs["input_ids"]
        for token in new:
            logits = model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits
            assert int(logits[0, -1].argmax()) == token
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)


def test_a_frozen_front_gets_no_gradients(fresh: Tiny, pictures: list[Picture]) -> None:
    model, processor = fresh
    model.train()
    batch = Collator(0)(make_items(processor, pictures))
    out = model(**{name: batch[name] for name in MODEL_INPUTS if name in batch})
    out.logits.square().mean().backward()
    assert all(p.grad is None for p in model.vision_tower.parameters())
    for part in (model.mfe, model.projector, model.region_norm, model.image_norm):
        assert any(p.grad is not None and bool(p.grad.any()) for p in part.parameters()), type(part).__name__
    assert model.language_model.get_input_embeddings().weight.grad is not None
