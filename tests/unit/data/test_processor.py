"""The processor: the same picture and text everywhere, and placeholders that agree with the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from seagull_tune.data.processor import IMAGE_TOKEN, REGION_TOKENS, SeagullProcessor, visual_tensors
from seagull_tune.errors import DataError, RegionError
from seagull_tune.instructions.converse import free_question
from seagull_tune.records import Message, Part
from tests.tiny import make_tokenizer


@pytest.fixture(scope="module")
def processor() -> SeagullProcessor:
    return SeagullProcessor(make_tokenizer(), image_max_side=96, image_grid=2, patch_size=16, patches_per_region=3)


def _picture() -> tuple[np.ndarray, np.ndarray]:
    image = skimage.data.chelsea()[:200, :300]
    masks = np.zeros((2, 200, 300), bool)
    masks[0, 50:150, 60:200] = True
    masks[1, :40] = True
    return image, masks


def test_placeholders_are_one_token_each_and_beyond_the_old_vocabulary(processor: SeagullProcessor) -> None:
    bare = make_tokenizer()
    layout = processor.layout
    assert layout.n_image_tokens == 4 and len(layout.region_token_ids) == len(REGION_TOKENS) == 2
    assert min(layout.image_token_id, *layout.region_token_ids) >= len(bare)
    assert processor.tokenizer(IMAGE_TOKEN)["input_ids"] == [layout.image_token_id]


def test_a_second_processor_over_one_tokenizer_changes_nothing(processor: SeagullProcessor) -> None:
    again = SeagullProcessor(processor.tokenizer, image_grid=2)
    assert again.layout == processor.layout


def test_it_needs_a_tokenizer() -> None:
    with pytest.raises(DataError, match="needs a tokenizer"):
        SeagullProcessor()


def test_round_trip(processor: SeagullProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path)
    loaded = SeagullProcessor.from_pretrained(tmp_path)
    names = ("image_max_side", "image_mean", "image_std", "image_grid", "patch_size", "patches_per_region", "layout")
    for name in names:
        assert getattr(loaded, name) == getattr(processor, name), name
    messages = free_question("How is the quality of this region?")
    assert loaded.encode(messages).input_ids == processor.encode(messages).input_ids
    assert loaded.tokenizer.chat_template == processor.tokenizer.chat_template


def test_call_gives_what_generate_needs(processor: SeagullProcessor) -> None:
    image, masks = _picture()
    question = "Is <region 2> better than <region 1>, and is <region 2> sharp?"
    out = processor(image, masks, free_question(question))
    assert out["mention_index"].tolist() == [1, 0, 1] and out["mention_counts"].tolist() == [3]
    layout = processor.layout
    ids = out["input_ids"][0]
    assert int((ids == layout.image_token_id).sum()) == 4
    assert [int((ids == token).sum()) for token in layout.region_token_ids] == [3, 3]
    assert bool((out["attention_mask"] == 1).all()) and out["attention_mask"].shape == out["input_ids"].shape
    assert out["pixel_values"][0].shape == (3, 64, 96) and out["region_masks"][0].shape == (2, 64, 96)
    assert out["patches"].shape == (2, 3, 3, 16, 16) and out["patch_masks"].shape == (2, 3, 16, 16)
    assert processor.tokenizer.decode(ids).endswith("<|im_start|>assistant\n")


def test_typed_placeholders_stay_text(processor: SeagullProcessor) -> None:
    image, masks = _picture()
    ids = processor(image, masks, free_question("Say <image> and <global><local> about this region."))["input_ids"][0]
    layout = processor.layout
    assert int((ids == layout.image_token_id).sum()) == 4
    assert [int((ids == token).sum()) for token in layout.region_token_ids] == [1, 1]


def test_one_way_of_preparing_a_picture(processor: SeagullProcessor) -> None:
    image, masks = _picture()
    called = processor(image, masks, free_question("How is the quality of this region?"))
    direct = visual_tensors([processor.visual(image, masks)])
    assert torch.equal(called["pixel_values"][0], direct["pixel_values"][0])
    assert all(torch.equal(called[name], direct[name]) for name in ("region_geometry", "patches", "patch_masks"))


def test_batches_are_not_padded(processor: SeagullProcessor) -> None:
    image, masks = _picture()
    batch = visual_tensors([processor.visual(image, masks), processor.visual(image[:, :150], masks[:1, :, :150])])
    assert [tuple(t.shape) for t in batch["pixel_values"]] == [(3, 64, 96), (3, 96, 72)]
    assert [len(t) for t in batch["region_masks"]] == [2, 1]
    assert len(batch["patches"]) == len(batch["patch_masks"]) == len(batch["region_geometry"]) == 3


def test_a_mention_of_a_region_that_is_not_there(processor: SeagullProcessor) -> None:
    image, masks = _picture()
    with pytest.raises(RegionError, match=r"region 3.*2 regions"):
        processor(image, masks, [Message("user", (Part(image=True), Part(region=2), Part(text="?")))])
