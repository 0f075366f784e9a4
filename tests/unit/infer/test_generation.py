"""Several prompts at once: each answered as it is alone, limited and stopped by itself."""

from __future__ import annotations

import pytest
import torch

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.infer.generation import Prompt, generate
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from tests.tiny import enliven, make_tiny_model

Model = tuple[SeagullForConditionalGeneration, SeagullProcessor]


@pytest.fixture(scope="module")
def tiny() -> Model:
    model, processor = make_tiny_model()
    enliven(model)
    tokenizer = processor.tokenizer
    silent = [i for i in range(len(tokenizer)) if not tokenizer.decode([i], skip_special_tokens=True).strip()]
    model.generation_config.suppress_tokens = silent
    return model, processor


@pytest.fixture(scope="module")
def embeddings(tiny: Model) -> list[torch.Tensor]:
    """Three prompts of different lengths."""
    model, processor = tiny
    texts = ["How is it?", "Is the face sharper than the sky, and by how much would you say?", "Why?"]
    ids = [torch.tensor(processor.tokenizer(text).input_ids) for text in texts]
    with torch.no_grad():
        return [model.get_input_embeddings()(row) for row in ids]


@torch.no_grad()
def test_together_as_alone(tiny: Model, embeddings: list[torch.Tensor]) -> None:
    pieces: list[list[str]] = [[], [], []]
    prompts = [Prompt(e, 8, pieces[i].append) for i, e in enumerate(embeddings)]
    together = generate(*tiny, prompts)
    assert together == [generate(*tiny, [Prompt(e, 8)])[0] for e in embeddings]
    assert len({answer.text for answer in together}) > 1
    assert ["".join(p).strip() for p in pieces] == [answer.text for answer in together]


@torch.no_grad()
def test_padded_logits_equal_those_alone(tiny: Model, embeddings: list[torch.Tensor]) -> None:
    from seagull_tune.infer.generation import _padded

    model, _ = tiny
    padded, mask = _padded(embeddings, [0, 0, 0])
    inputs = model.prepare_inputs_for_generation(
        torch.zeros(len(embeddings), 0, dtype=torch.long), inputs_embeds=padded, attention_mask=mask,
        is_first_iteration=True,
    )  # fmt: skip
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    assert inputs.get("position_ids") is None or torch.equal(inputs["position_ids"] * mask, positions * mask)
    together = model(inputs_embeds=padded, attention_mask=mask, position_ids=positions, logits_to_keep=1).logits
    for row, alone in enumerate(embeddings):
        want = model(inputs_embeds=alone[None], logits_to_keep=1).logits
        assert torch.allclose(together[row], want[0], atol=1e-4)


@torch.no_grad()
def test_every_row_has_its_own_end(tiny: Model, embeddings: list[torch.Tensor]) -> None:
    seen: list[str] = []
    answers = generate(
        *tiny,
        [
            Prompt(embeddings[0], 3),
            Prompt(embeddings[1], 9),
            Prompt(embeddings[2], 9, seen.append, cancelled=lambda: len(seen) > 0),
        ],
    )
    assert (answers[0].n_tokens, answers[0].reason) == (3, "length")
    assert (answers[1].n_tokens, answers[1].reason) == (9, "length")
    assert answers[2].reason == "cancelled" and answers[2].n_tokens < 9
    assert answers[1] == generate(*tiny, [Prompt(embeddings[1], 9)])[0]


@torch.no_grad()
def test_when_all_went_away_generation_ends(tiny: Model, embeddings: list[torch.Tensor]) -> None:
    answers = generate(*tiny, [Prompt(e, 500, cancelled=lambda: True) for e in embeddings])
    assert [answer.n_tokens for answer in answers] == [1, 1, 1]
