"""Language models of many families through our model: nothing that a family does to its words may get lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from seagull_tune.config.train import LossWeights, SlotWeights
from seagull_tune.data.collate import Collator
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import ConfigError
from seagull_tune.infer.scoring import ScoreReader
from seagull_tune.instructions.converse import free_question, scoring_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import QUALITY_LEVELS
from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint
from seagull_tune.model.families import attention_windows, check_head, embedding_multiplier, finish_logits
from seagull_tune.model.lora import merge_lora
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.splice import splice, word_ids
from seagull_tune.tune.recipe import MODEL_INPUTS, roi_losses
from tests.tiny import enliven, make_tiny_model, make_tokenizer
from tests.unit.model.conftest import Picture
from tests.unit.model.test_checkpoint import with_lora
from tests.unit.model.test_modeling import make_items

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]
SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024, "pad_token_id": 0, "eos_token_id": 2, "bos_token_id": 0,
}  # fmt: skip
# Windows far shorter than a conversation, so that windowed layers matter.
FAMILIES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "llama": (LlamaConfig, {}),
    "mistral": (MistralConfig, {"sliding_window": 24}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"head_dim": 16}),
    "gemma2": (Gemma2Config, {"head_dim": 16, "sliding_window": 24, "final_logit_softcapping": 2.0}),
    "gemma3": (Gemma3TextConfig, {"head_dim": 16, "sliding_window": 24, "sliding_window_pattern": 2}),
    "phi3": (Phi3Config, {}),
    "granite": (GraniteConfig, {"logits_scaling": 3.0, "embedding_multiplier": 2.0}),
    "cohere": (CohereConfig, {"logit_scale": 0.25}),
}


def text_config(family: str, **sizes: int) -> PreTrainedConfig:
    """The configuration of a tiny language model."""
    kind, special = FAMILIES[family]
    vocabulary = len(SeagullProcessor(make_tokenizer()).tokenizer)
    return kind(vocab_size=vocabulary, **{**SIZES, **special, **sizes})


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> Tiny:
    """A lively tiny model of each family; do not change it."""
    torch.manual_seed(0)
    model, processor = make_tiny_model(text=text_config(request.param))
    return enliven(model), processor


def _run(model: SeagullForConditionalGeneration, batch: dict[str, Any]) -> Any:
    with torch.no_grad():
        return model(**{name: batch[name] for name in MODEL_INPUTS if name in batch})


def test_words_alone_are_what_the_language_model_says(family: Tiny) -> None:
    model, _ = family
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits, model.language_model(input_ids=ids).logits)
    check_head(model)


def test_region_tokens_are_as_loud_as_words(family: Tiny) -> None:
    model, _ = family
    words = model.get_input_embeddings()(torch.arange(100))
    loudness = float(words.detach().square().mean().sqrt())
    assert float(model.region_norm.gain.detach()) == pytest.approx(loudness, rel=0.05)
    assert embedding_multiplier(model.get_input_embeddings()) in (1.0, pytest.approx(8.0))


def test_a_padded_batch_equals_single_samples_and_the_language_model(family: Tiny, pictures: list[Picture]) -> None:
    model, processor = family
    items = make_items(processor, pictures)
    collate = Collator(processor.tokenizer.pad_token_id)
    batch = collate(items)
    together = _run(model, batch)
    alone = torch.cat([_run(model, collate([item])).logits for item in items])
    torch.testing.assert_close(together.logits, alone, rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        # The same embeddings, spliced by hand, through the language model's own forward pass.
        visual = {k: batch[k] for k in ("pixel_values", "region_masks", "region_geometry", "patches", "patch_masks")}
        front = model.encode_front(**visual)
        mentions = model.speak_regions(model.encode_regions(front))[batch["mention_index"]]
        ids, config = batch["input_ids"], model.config
        places = [config.image_token_id, *config.region_token_ids]
        words = model.get_input_embeddings()(word_ids(ids, places))
        embeddings = splice(ids, words, model.project_image(front.grid), mentions, places[0], places[1:])
        own = model.language_model(inputs_embeds=embeddings, attention_mask=batch["attention_mask"]).logits
    torch.testing.assert_close(together.logits, own.flatten(0, 1)[batch["logits_index"]], rtol=1e-4, atol=1e-4)


def test_losses_reach_every_trained_part(family: Tiny, pictures: list[Picture]) -> None:
    model, processor = family
    batch = Collator(processor.tokenizer.pad_token_id)(make_items(processor, pictures))
    weights = LossWeights(answer=1.0, level=1.0, slots=SlotWeights())
    named = roi_losses(weights)(model(**{k: batch[k] for k in MODEL_INPUTS if k in batch}), batch)
    assert {"answer", "level"} <= named.keys()
    total = torch.stack([weight * loss for weight, loss in named.values()]).sum()
    gradients = torch.autograd.grad(total, [p for p in model.mfe.parameters() if p.requires_grad])
    assert bool(torch.isfinite(total)) and all(bool(torch.isfinite(g).all()) for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_generation_continues_as_the_forward_pass_says(family: Tiny, pictures: list[Picture]) -> None:
    model, processor = family
    inputs = processor(pictures[0].image, pictures[0].masks, free_question("How is the quality of this region?", 1))
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
        ids = inputs["input_ids"]
        for token in out[0, ids.shape[1] :].tolist():
            logits = model(**{**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits[0, -1]
            assert float(logits.max() - logits[token]) < 1e-4
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    assert ids.shape[1] == inputs["input_ids"].shape[1] + 4


def test_scores_equal_a_whole_forward_pass(family: Tiny, pictures: list[Picture]) -> None:
    """The tree of questions with its cache, also past the end of a layer's window."""
    model, processor = family
    reader = ScoreReader(model, processor, load_prompts())
    generator = torch.Generator().manual_seed(2)
    tokens = model.region_norm.gain.detach() * torch.randn(2, 2, 64, generator=generator)
    image = model.image_norm.gain.detach() * torch.randn(1, 4, 64, generator=generator)
    encoded = processor.encode(scoring_conversation("quality", load_prompts()))
    ids = torch.tensor([encoded.input_ids[: encoded.slots[0].index]])
    with torch.no_grad():
        found = reader.read(reader.open(image), tokens)
        for region, scores in enumerate(found):
            embeddings = model.embed(ids, image, tokens[region : region + 1], torch.ones(1, dtype=torch.long))
            logits = model.language_model(inputs_embeds=embeddings).logits[0, -1]
            expected = logits[list(encoded.slots[0].candidate_ids)].softmax(dim=0)
            torch.testing.assert_close(torch.tensor(scores.quality_levels), expected, rtol=0, atol=1e-4)
    assert len(found[0].quality_levels) == len(QUALITY_LEVELS) and ids.shape[1] > 24


@pytest.mark.parametrize("name", list(FAMILIES))
def test_adapters_travel_and_merge(name: str, pictures: list[Picture], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, processor = make_tiny_model(text=text_config(name))
    with_lora(enliven(model))
    batch = Collator(processor.tokenizer.pad_token_id)(make_items(processor, pictures))
    expected = _run(model, batch).logits
    save_checkpoint(model, processor, tmp_path / "c")
    loaded, _ = load_checkpoint(tmp_path / "c")
    assert torch.equal(_run(loaded, batch).logits, expected)
    loaded.language_model = merge_lora(loaded.language_model)
    merged = _run(loaded, batch).logits
    torch.testing.assert_close(merged, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_a_family_that_does_more_to_its_logits_is_refused() -> None:
    model, _ = make_tiny_model(text=text_config("cohere"))
    model.language_model.logit_scale = 3.0  # what its configuration does not say
    with pytest.raises(ConfigError, match=r"'cohere' gives logits.*families"):
        check_head(enliven(model))


def test_layers_that_cannot_read_a_tree_are_refused() -> None:
    config = text_config("qwen3")
    config.layer_types = ["linear_attention", "full_attention"]
    with pytest.raises(ConfigError, match=r"'qwen3' has layers of kind linear_attention"):
        attention_windows(config)


def test_what_the_families_do() -> None:
    logits = torch.tensor([-30.0, 0.0, 6.0])
    assert torch.equal(finish_logits(logits, text_config("llama")), logits)
    torch.testing.assert_close(finish_logits(logits, text_config("granite")), logits / 3)
    torch.testing.assert_close(finish_logits(logits, text_config("cohere")), logits / 4)
    torch.testing.assert_close(finish_logits(logits, text_config("gemma2")), 2 * torch.tanh(logits / 2))
