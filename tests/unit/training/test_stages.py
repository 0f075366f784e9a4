"""The freezing table: what is trained, counted, and given to the optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from seagull_tune.config.train import LearningRates, Lora, Stage, TrainConfig
from seagull_tune.data.visual import GEOMETRY
from seagull_tune.errors import ConfigError, TrainingError
from seagull_tune.model.checkpoint import load_model, save_checkpoint
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
    assert apply_stage(model, stage, Lora(rank=2)) == first, "adapters that are there are trained further"
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


def _lively(model: SeagullForConditionalGeneration) -> SeagullForConditionalGeneration:
    torch.manual_seed(4)
    for name, parameter in model.named_parameters():
        if is_lora_parameter(name) and "magnitude" not in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


LORA = Stage(language_model="lora")
IDS = torch.arange(5, 45)[None]


@pytest.mark.parametrize("kind", [{}, {"use_dora": True}, {"rs_lora": True}], ids=["lora", "dora", "rslora"])
def test_a_second_round_goes_on_with_the_same_adapters(
    model: SeagullForConditionalGeneration, kind: dict[str, Any], tmp_path: Path
) -> None:
    apply_stage(model, LORA, Lora(rank=2, **kind))
    expected = _lively(model)(input_ids=IDS).logits
    save_checkpoint(model, None, tmp_path / "first")
    second = load_model(tmp_path / "first", trainable=True)
    apply_stage(second, LORA, Lora(rank=2, **kind))
    assert torch.equal(second.eval()(input_ids=IDS).logits, expected)
    save_checkpoint(second, None, tmp_path / "second")
    names = [
        load_file(tmp_path / name / "adapter" / "adapter_model.safetensors").keys() for name in ("first", "second")
    ]
    assert names[0] == names[1] and all(name.count("base_model") == 1 for name in names[1])


def test_a_second_round_on_merged_adapters_starts_where_the_first_ended(
    model: SeagullForConditionalGeneration, tmp_path: Path
) -> None:
    model.config.bases = {"language_model": "embedded:words@1"}
    apply_stage(model, LORA, Lora(rank=2))
    expected = _lively(model)(input_ids=IDS).logits
    apply_stage(model, LORA, Lora(rank=5, use_dora=True, existing="merge"))
    assert model.config.bases == {}, "merged weights come from no base"
    torch.testing.assert_close(model.eval()(input_ids=IDS).logits, expected, rtol=0, atol=1e-4)
    names = [name for name, _ in model.named_parameters() if is_lora_parameter(name)]
    assert names and all(name.count("base_model") == 1 for name in names)
    save_checkpoint(model, None, tmp_path / "c")
    assert torch.equal(load_model(tmp_path / "c")(input_ids=IDS).logits, model(input_ids=IDS).logits)


def test_adapters_that_were_made_otherwise_are_not_passed_off_as_asked_for(
    model: SeagullForConditionalGeneration,
) -> None:
    apply_stage(model, LORA, Lora(rank=2, alpha=4.0))
    with pytest.raises(ConfigError, match=r"rank 2 \(lora.rank is 8\), use_dora False .*existing to merge"):
        apply_stage(model, LORA, Lora(rank=8, alpha=4.0, use_dora=True))


def test_a_tower_that_is_trained(model: SeagullForConditionalGeneration, tmp_path: Path) -> None:
    """It gets gradients, depends on no other picture of the batch, and leaves its base."""
    model.config.bases = {"vision_tower": "embedded:eyes@1"}
    apply_stage(model, Stage(vision_tower="full"), Lora())
    model.train()
    assert not any(module.training for module in model.vision_tower.modules())
    masks = [torch.ones(1, 64, 64)]
    patches = torch.randint(0, 255, (1, 3, 3, 16, 16), dtype=torch.uint8)
    out = model(
        pixel_values=[torch.randn(3, 64, 64)], region_masks=masks, region_geometry=torch.zeros(1, GEOMETRY),
        patches=patches, patch_masks=torch.ones(1, 3, 16, 16, dtype=torch.uint8),
    )  # fmt: skip
    out.direct.quality.square().sum().backward()
    moved = [name for name, p in model.vision_tower.named_parameters() if p.grad is not None and bool(p.grad.any())]
    assert len(moved) > 10 and model.config.bases == {}
    groups = {group["name"]: group["lr"] for group in parameter_groups(model, LearningRates(vision_tower=1e-6), 0.1)}
    assert groups["vision_tower/0.1"] == 1e-6


def test_what_cannot_be_combined_is_said_before_anything_is_loaded() -> None:
    plain = {"out": "o", "data": "d"}
    with pytest.raises(ValidationError, match="cache_front to false"):
        TrainConfig.model_validate({**plain, "stage": {"vision_tower": "full"}})
    with pytest.raises(ValidationError, match=r"stage.language_model must be lora, not full"):
        TrainConfig.model_validate({**plain, "stage": {"language_model": "full"}, "lora": {"quantize": "nf4"}})
