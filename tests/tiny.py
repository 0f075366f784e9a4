"""A tiny real model for tests: two Llama layers, a small timm tower, a tokenizer trained on the shipped prompts."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedTokenizerFast

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.assemble import match_scales, speak_its_words
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mfe import GlobalBranch, LocalBranch, MaskFeatureExtractor, RegionStatistics
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.vision_tower import VisionTower
from seagull_tune.records import RegionLabel

TOWER = "test_efficientnet"
CROP_SIDE = 64
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def random_labels(rng: random.Random, n_regions: int) -> list[RegionLabel]:
    """Labels of all kinds: pristine, distorted, importance scored or not."""
    labels = []
    for _ in range(n_regions):
        share = rng.choice([0.0, 0.2, 1.0])
        severities = tuple(rng.randrange(len(SEVERITY_NAMES)) if rng.random() < share else 0 for _ in DISTORTION_TYPES)
        labels.append(RegionLabel(rng.random(), None if rng.random() < 0.3 else rng.random(), severities))
    return labels


@lru_cache
def _train_tokenizer() -> str:
    """A byte-level BPE tokenizer of the shipped prompts, as JSON."""
    rng = random.Random(0)
    corpus = [
        "".join(part.text for part in message.parts)
        for seed in range(200)
        for message in build_conversation(random_labels(rng, 3), seed, load_prompts(), ConversationSettings()).messages
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return str(tokenizer.to_str())


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a ChatML template; every value word is one token."""
    return _with_template(Tokenizer.from_str(_train_tokenizer()))


def make_spelling_tokenizer() -> PreTrainedTokenizerFast:
    """One that spells words letter by letter after their beginning, so that value words take 2 to 11 tokens.

    The first tokens of one vocabulary differ, as value words need it.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("\u0120", letter) for letter in string.ascii_letters] + [("\u0120s", "l"), ("\u0120s", "e")]
    merges += [("\u0120n", "o"), ("\u0120no", "i"), ("\u0120c", "o"), *(("\u0120co", letter) for letter in "lmn")]
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *alphabet, *("".join(pair) for pair in merges)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    return _with_template(tokenizer)


def _with_template(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    return fast


def make_tiny_model(
    seed: int = 0,
    dropout: float = 0.0,
    tower: str = TOWER,
    tokenizer: PreTrainedTokenizerFast | None = None,
    mfe: str = "mfe",
    text: PreTrainedConfig | None = None,
    settings: Mapping[str, Any] | None = None,
    region_shape: str = "mask",
) -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    """A self-contained model with random weights, and its processor; ``text``: a language model other than Llama.

    ``settings``: of the extractor, by their names in :class:`SeagullConfig`.
    """
    torch.manual_seed(seed)
    words = tokenizer if tokenizer is not None else make_tokenizer()
    released = mfe == "seagull"
    chosen = dict(settings or {})
    counts = SeagullConfig(**chosen).region_token_counts
    processor = SeagullProcessor(
        words, image_max_side=96, image_grid=2, patch_size=CROP_SIDE if released else 16,
        patches_per_region=1 if released else 3, view="square" if released else "native",
        region_tokens=counts, region_shape=region_shape,
    )  # fmt: skip
    layout = processor.layout
    text = text or LlamaConfig(
        vocab_size=len(processor.tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    config = SeagullConfig(
        text_config=text, vision_tower=tower, vision_channels=VisionTower.channels_of(tower), image_grid=2,
        mfe_hidden=32, mfe_dropout=dropout, image_token_id=layout.image_token_id,
        region_token_ids=layout.region_token_ids, mfe=mfe, image_level=-2 if released else -1,
        mfe_map_sides=VisionTower.map_sides(tower, 96)[-4:] if released else (), mfe_crop_side=CROP_SIDE * released,
        **chosen,
    )  # fmt: skip
    model = SeagullForConditionalGeneration(config)
    match_scales(model)
    speak_its_words(model, processor)
    return model.eval(), processor


def make_tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Saves a tiny model as a checkpoint; returns the folder."""
    model, processor = make_tiny_model(seed)
    save_checkpoint(model, processor, folder)
    return folder


def our_mfe(model: SeagullForConditionalGeneration) -> MaskFeatureExtractor:
    """The extractor of a model that has ours."""
    assert isinstance(model.mfe, MaskFeatureExtractor)
    return model.mfe


def our_branches(model: SeagullForConditionalGeneration) -> tuple[GlobalBranch, LocalBranch]:
    """Both branches of a model that has our extractor with both."""
    extractor = our_mfe(model)
    assert extractor.global_branch is not None and extractor.local_branch is not None
    return extractor.global_branch, extractor.local_branch


def our_statistics(model: SeagullForConditionalGeneration, inputs: dict[str, Any]) -> RegionStatistics:
    """The front's result of a model that has our extractor."""
    statistics = model.encode_front(**inputs)
    assert isinstance(statistics, RegionStatistics)
    return statistics


def enliven(model: SeagullForConditionalGeneration) -> SeagullForConditionalGeneration:
    """Scales the language model's weights up, in place, so that its predictions are far from uniform."""
    with torch.no_grad():
        for name, parameter in model.language_model.named_parameters():
            if parameter.ndim >= 2:
                parameter.mul_(16.0 if "self_attn" in name else 8.0)
    match_scales(model)
    return model
