"""Real fast tokenizers, trained in a moment on conversations made from the shipped prompts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from seagull_tune.instructions.converse import ConversationSettings, build_conversation
from seagull_tune.instructions.templates import PromptLibrary, load_prompts
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.records import RegionLabel

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<global>", "<local>", "<s>", "</s>"]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def random_labels(rng: random.Random, n_regions: int) -> list[RegionLabel]:
    """Labels with none, some or all distortions, and importance scored or not."""
    labels = []
    for _ in range(n_regions):
        share = rng.choice([0.0, 0.2, 1.0])
        severities = tuple(rng.randrange(len(SEVERITY_NAMES)) if rng.random() < share else 0 for _ in DISTORTION_TYPES)
        importance = None if rng.random() < 0.3 else rng.random()
        labels.append(RegionLabel(rng.random(), importance, severities))
    return labels


@pytest.fixture(scope="session")
def prompts() -> PromptLibrary:
    return load_prompts()


@pytest.fixture
def labels() -> list[RegionLabel]:
    return [
        RegionLabel(0.3, 0.1, (0, 3, 0, 1, 0, 0, 0, 5)),
        RegionLabel(0.95, None, (0,) * 8),
        RegionLabel(0.6, 0.8, (1, 2, 3, 4, 5, 1, 2, 3)),
        RegionLabel(0.0, 1.0, (0, 0, 4, 0, 0, 0, 0, 0)),
    ]


@pytest.fixture(scope="session")
def make_tokenizer(prompts: PromptLibrary) -> Callable[..., PreTrainedTokenizerFast]:
    """``make(template=CHATML, eos="<|im_end|>", kind="bytes", vocab=700)`` -> a tokenizer of its own."""
    built: dict[tuple[str, int], str] = {}

    def corpus() -> Iterator[str]:
        rng = random.Random(0)
        for seed in range(300):
            conversation = build_conversation(random_labels(rng, 3), seed, prompts, ConversationSettings(turns=6))
            for message in conversation.messages:
                yield from ("".join(p.text for p in message.parts), message.role, "USER: ASSISTANT: SYSTEM:")

    def make(
        template: str | None = CHATML, eos: str | None = "<|im_end|>", kind: str = "bytes", vocab: int = 700
    ) -> PreTrainedTokenizerFast:
        if (kind, vocab) not in built:
            tokenizer = Tokenizer(models.BPE(byte_fallback=kind == "metaspace"))
            if kind == "bytes":
                tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
                tokenizer.decoder = decoders.ByteLevel()
                alphabet = pre_tokenizers.ByteLevel.alphabet()
            else:
                tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
                tokenizer.decoder = decoders.Metaspace()
                alphabet = [chr(c) for c in range(32, 127)] + ["\n"]
            trainer = trainers.BpeTrainer(
                vocab_size=vocab, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
            )
            tokenizer.train_from_iterator(corpus(), trainer)
            built[kind, vocab] = tokenizer.to_str()
        fast = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(built[kind, vocab]), eos_token=eos, pad_token="<|endoftext|>"
        )
        fast.chat_template = template
        return fast

    return make
