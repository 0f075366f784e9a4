"""The freezing table: what is trained, counted, and given to the optimiser."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from seagull_tune.config.train import LearningRates, Lora, Stage
from seagull_tune.errors import TrainingError
from seagull_tune.model.lora import has_lora, is_lora_parameter
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.training.stages import PARTS, apply_stage, parameter_groups, part_of, stage_table
from tests.tiny import make_tiny_model

FROZEN = dict.fromkeys(PARTS, "frozen")
STAGES: dict[str, dict[str, Any]] = {
    "pretrain": FROZEN | {"mfe": "full", "direct_head": "full"},
    "finetune": FROZEN | {"mfe": "full", "direct_head": "full", "projector": "full", "language_model": "lora"},
    "projector": FROZEN | {"projector": "full"},
    "everything": FROZEN | {"mfe": "full", "projector": "full", "language_model": "full"},
}


@pytest.fixture
def model() -> SeagullForConditionalGeneration:
    return make_tiny_model()[0]


@pytest.mark.parametrize("name", STAGES)
def test_only_the_asked_parts_are_open(model: SeagullForConditionalGeneration, name: str) -> None:
    stage = STAGES[name]
    apply_stage(model, Stage.model_validate(stage), Lora(rank=2))
    for parameter_name, parameter in model.named_parameters():
        mode = stage[part_of(parameter_name)]
        expected = mode == "full" or (mode == "lora" and is_lora_parameter(parameter_name))
        assert parameter.requires_grad == expected, parameter_name


@pytest.mark.parametrize("name", STAGES)
def test_the_table_adds_up(model: SeagullForConditionalGeneration, name: str) -> None:
    rows = apply_stage(model, Stage.model_validate(STAGES[name]), Lora(rank=2))
    assert [row.part for row in rows] == list(PARTS)
    assert sum(row.total for row in rows) == sum(p.numel() for p in model.parameters())
    assert sum(row.trained for row in rows) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert all(row.trained == (row.total if row.mode == "full" else 0) for row in rows if row.mode != "lora")
    text = stage_table(rows)
    assert len(text.splitlines()) == len(PARTS) + 2
    assert f"{sum(row.total for row in rows):,}" in text.splitlines()[-1]


def test_lora_size_by_hand(model: SeagullForConditionalGeneration) -> None:
    rows = apply_stage(model, Stage.model_validate(STAGES["finetune"]), Lora(rank=3))
    # Per layer of width 64, key-value width 32, inner width 96: rank * (in + out) of the seven linear layers.
    per_layer = 3 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 96))
    assert next(row for row in rows if row.part == "language_model").trained == 2 * per_layer


@pytest.mark.parametrize("name", STAGES)
def test_optimiser_groups_cover_every_open_parameter_once(model: SeagullForConditionalGeneration, name: str) -> None:
    apply_stage(model, Stage.model_validate(STAGES[name]), Lora(rank=2))
    rates = LearningRates(mfe=1e-3, direct_head=2e-3, projector=3e-3, language_model=4e-3)
    groups: list[dict[str, Any]] = list(parameter_groups(model, rates, weight_decay=0.1))
    ids = [id(p) for group in groups for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    assert len(set(ids)) == len(ids)
    names = {id(p): n for n, p in model.named_parameters()}
    for group in groups:
        for parameter in group["params"]:
            assert group["lr"] == rates.model_dump()[part_of(names[id(parameter)])]
            assert group["weight_decay"] == (0.1 if parameter.ndim >= 2 else 0.0)


def test_adapters_are_added_once(model: SeagullForConditionalGeneration) -> None:
    stage = Stage.model_validate(STAGES["finetune"])
    first = apply_stage(model, stage, Lora(rank=2))
    assert has_lora(model.language_model)
    adapters = model.language_model
    assert apply_stage(model, stage, Lora(rank=8)) == first, "adapters that are there are trained further"
    assert model.language_model is adapters


def test_fresh_adapters_change_nothing(model: SeagullForConditionalGeneration) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        apply_stage(model, Stage.model_validate(STAGES["finetune"]), Lora(rank=2))
        assert torch.equal(model(input_ids=ids).logits, before)


def test_a_trained_language_model_is_no_base_any_more(model: SeagullForConditionalGeneration) -> None:
    model.config.bases = {"language_model": "embedded:a@1", "vision_tower": "embedded:b@2"}
    apply_stage(model, Stage.model_validate(STAGES["finetune"]), Lora(rank=2))
    assert set(model.config.bases) == {"language_model", "vision_tower"}
    apply_stage(model, Stage.model_validate(STAGES["everything"]), Lora())
    assert set(model.config.bases) == {"vision_tower"}


def test_nothing_to_train_is_an_error(model: SeagullForConditionalGeneration) -> None:
    with pytest.raises(TrainingError, match="Every part is frozen"):
        apply_stage(model, Stage.model_validate(FROZEN), Lora())


def test_a_parameter_of_no_part_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"'other\.weight' belongs to no part"):
        part_of("other.weight")
