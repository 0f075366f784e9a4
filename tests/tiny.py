"""A tiny real model for tests: two Llama layers, a small timm tower, a tokenizer trained on the shipped prompts."""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast

from seagull_tune.config.instructions import ConversationSettings
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.instructions.converse import build_conversation
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.model.assemble import match_scales
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.vision_tower import VisionTower
from seagull_tune.records import RegionLabel

TOWER = "test_efficientnet"
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
def _train_tokenizer(vocabulary: int) -> str:
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
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return str(tokenizer.to_str())


def make_tokenizer(vocabulary: int = 700) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a ChatML template; with a small vocabulary, words take several tokens."""
    tokenizer = Tokenizer.from_str(_train_tokenizer(vocabulary))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    return fast


def make_tiny_model(
    seed: int = 0, dropout: float = 0.0, tower: str = TOWER, vocabulary: int = 700
) -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    """A self-contained model with random weights, and its processor."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(vocabulary)
    processor = SeagullProcessor(tokenizer, image_max_side=96, image_grid=2, patch_size=16, patches_per_region=3)
    layout = processor.layout
    text = LlamaConfig(
        vocab_size=len(processor.tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True,
    )  # fmt: skip
    config = SeagullConfig(
        text_config=text, vision_tower=tower, vision_channels=VisionTower.channels_of(tower), image_grid=2,
        mfe_hidden=32, mfe_dropout=dropout, image_token_id=layout.image_token_id,
        region_token_ids=layout.region_token_ids,
    )  # fmt: skip
    model = SeagullForConditionalGeneration(config)
    match_scales(model)
    return model.eval(), processor


def make_tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Saves a tiny model as a checkpoint; returns the folder."""
    model, processor = make_tiny_model(seed)
    save_checkpoint(model, processor, folder)
    return folder
