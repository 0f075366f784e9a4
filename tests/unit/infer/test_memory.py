"""What was read before is found again, within its bound, and changes no answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import MistralConfig

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.infer.generation import Prompt, generate
from seagull_tune.infer.memory import PromptMemory
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from tests.tiny import enliven, make_tiny_model

Model = tuple[SeagullForConditionalGeneration, SeagullProcessor]
ROOM = 64 << 20


@pytest.fixture(scope="module")
def tiny() -> Model:
    model, processor = make_tiny_model()
    return enliven(model), processor


def read(tiny: Model, text: str) -> Tensor:
    """The embeddings of a text, (L, D)."""
    model, processor = tiny
    with torch.no_grad():
        return model.get_input_embeddings()(torch.tensor(processor.tokenizer(text).input_ids))


FIRST = "The picture has two regions. How is the face?"
OTHERS = ["The picture has two regions. Is the sky blurred, and by how much?", "Why?", FIRST]


@torch.no_grad()
def test_answers_are_those_without_a_memory(tiny: Model) -> None:
    memory = PromptMemory(ROOM)
    (answer,) = generate(*tiny, [Prompt(read(tiny, FIRST), 6)], memory=memory)
    assert answer == generate(*tiny, [Prompt(read(tiny, FIRST), 6)])[0] and memory.recalled == 0
    prompts = [Prompt(read(tiny, text), 6) for text in OTHERS]  # the same beginning; nothing in common; the same
    together = generate(*tiny, prompts, memory=memory)
    assert together == [generate(*tiny, [prompt])[0] for prompt in prompts]
    assert memory.recalled >= len(read(tiny, "The picture has two regions.")) + len(read(tiny, FIRST)) - 1


@torch.no_grad()
def test_what_is_recalled_equals_what_is_read(tiny: Model) -> None:
    """Keys and values of a text that was read in pieces, padded among others, against those of one reading."""
    model, processor = tiny
    pieces, whole = PromptMemory(ROOM), PromptMemory(ROOM)
    (answer,) = generate(*tiny, [Prompt(read(tiny, FIRST), 5)], memory=pieces)
    said = model.get_input_embeddings()(torch.tensor(processor.tokenizer(answer.text).input_ids))
    follow_up = torch.cat([read(tiny, FIRST), said, read(tiny, " And why is that?")])
    generate(*tiny, [Prompt(follow_up, 1), Prompt(read(tiny, "Why?"), 3)], memory=pieces)
    generate(*tiny, [Prompt(follow_up, 1)], memory=whole)
    assert pieces.recalled >= len(read(tiny, FIRST)) and whole.recalled == 0
    again, alone = pieces.recall(torch.cat([follow_up, said])), whole.recall(torch.cat([follow_up, said]))
    assert again.length == alone.length == len(follow_up)
    for (keys, values), (want_keys, want_values) in zip(again.layers, alone.layers, strict=True):
        assert torch.allclose(keys, want_keys, atol=1e-4) and torch.allclose(values, want_values, atol=1e-4)


@torch.no_grad()
def test_the_last_token_is_always_read(tiny: Model) -> None:
    memory = PromptMemory(ROOM)
    prompt = Prompt(read(tiny, FIRST), 3)
    first = generate(*tiny, [prompt], memory=memory)
    assert generate(*tiny, [prompt], memory=memory) == first
    assert memory.recalled == len(prompt.embeddings) - 1 and memory.read == len(prompt.embeddings) + 1


@torch.no_grad()
def test_an_answer_is_recalled_with_its_prompt(tiny: Model) -> None:
    model, _ = tiny
    memory = PromptMemory(ROOM)
    prompt, words = read(tiny, FIRST), model.get_input_embeddings().weight
    (answer,) = generate(*tiny, [Prompt(prompt, 4)], memory=memory)
    assert answer.n_tokens == 4
    # Whatever its first word was: a prompt that goes on with it and something else is known that far.
    found = {memory.recall(torch.cat([prompt, word.repeat(2, 1)])).length for word in words}
    assert found <= {len(prompt), len(prompt) + 1} and max(found) == len(prompt) + 1


@torch.no_grad()
def test_one_that_goes_on_replaces_what_it_continues(tiny: Model) -> None:
    memory = PromptMemory(ROOM)
    generate(*tiny, [Prompt(read(tiny, "How"), 1)], memory=memory)
    before = memory.n_bytes
    generate(*tiny, [Prompt(read(tiny, "How is it?"), 1)], memory=memory)
    after = memory.n_bytes
    assert before < after < before * len(read(tiny, "How is it?")) + 1
    generate(*tiny, [Prompt(read(tiny, "How is it?"), 1)], memory=memory)
    generate(*tiny, [Prompt(read(tiny, "How"), 1)], memory=memory)
    assert memory.n_bytes == after


@torch.no_grad()
def test_memory_is_bounded_and_forgets_the_oldest(tiny: Model) -> None:
    texts = [f"{word} is the quality of this region?" for word in ("How", "What", "Which", "Why")]
    memory = PromptMemory(ROOM)
    generate(*tiny, [Prompt(read(tiny, texts[0]), 1)], memory=memory)
    memory.max_bytes = 2 * memory.n_bytes + memory.n_bytes // 2
    for text in texts[1:]:
        generate(*tiny, [Prompt(read(tiny, text), 1)], memory=memory)
        assert memory.n_bytes <= memory.max_bytes
    assert [memory.recall(read(tiny, text)).length > 0 for text in texts] == [False, False, True, True]
    small = PromptMemory(10)
    generate(*tiny, [Prompt(read(tiny, FIRST), 1)], memory=small)
    assert small.n_bytes == 0


@torch.no_grad()
def test_a_model_with_windows_recalls_nothing() -> None:
    text = MistralConfig(
        vocab_size=1000, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, sliding_window=8,
    )  # fmt: skip
    model, processor = make_tiny_model(text=text)
    memory = PromptMemory(ROOM)
    for _ in range(2):
        generate(model, processor, [Prompt(read((model, processor), FIRST), 2)], memory=memory)
    assert not memory.serves(model.config.text_config) and memory.n_bytes == memory.recalled == 0
