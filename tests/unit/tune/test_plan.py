"""The plan of a run, with and without what it needs being there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from seagull_tune.config.train import TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.model.checkpoint import load_checkpoint
from seagull_tune.training.compute import GPUS
from seagull_tune.training.estimate import size_of
from seagull_tune.training.stages import apply_stage
from seagull_tune.tune.outline import conversation_tokens, outline_of, workload_of
from seagull_tune.tune.plan import describe
from seagull_tune.tune.samples import TrainingSamples

SIZES = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 700,
    "max_position_embeddings": 1024, "tie_word_embeddings": True,
}  # fmt: skip


def config_of(**changes: Any) -> TrainConfig:
    model = {"language_model_sizes": SIZES, "vision_backbone": "test_efficientnet", "image_max_side": 96}
    return TrainConfig.model_validate({"out": "o", "data": "nowhere", "model": model, **changes})


def row_of(plan: str, name: str) -> list[str]:
    (line,) = [line for line in plan.splitlines() if line.startswith(name)]
    return line[len(name) :].split()


def test_what_is_not_there_is_named_with_the_command_that_makes_it() -> None:
    plan = describe("finetune", config_of(init="no/model"))
    assert "nowhere is not there yet. Build it: seagull-tune build --images PHOTOS --out nowhere" in plan
    assert "the checkpoint no/model is not there yet" in plan
    assert "100,000 visits of samples (nobody knows how many there will be)" in plan


def test_what_is_there_is_opened(data: Path, checkpoint: Path) -> None:
    config = config_of(data=str(data), init=str(checkpoint), optimisation={"passes": 2})
    plan = describe("finetune", config)
    samples = len(RoiDataset(data))
    assert f"{data}, {samples} samples." in plan and f"{2 * samples} visits of samples:" in plan
    model, _ = load_checkpoint(checkpoint)
    assert row_of(plan, "sum")[-1] == f"{sum(p.numel() for p in model.parameters()):,}"


def test_a_data_set_that_cannot_be_read_is_refused(data: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    next((copy / "samples").glob("*.parquet")).write_bytes(b"no table")
    with pytest.raises(DataError, match="is not a whole Parquet file"):
        describe("pretrain", config_of(data=str(copy)))


def test_columns_stay_apart_however_large_a_batch_is() -> None:
    plan = describe("pretrain", config_of(optimisation={"batch_size": 100_000_000}, cache_front=False))
    assert len(row_of(plan, "one process")) == 1 + 7 + 3 + 1  # processes, sizes, cards, host


def test_steps_say_how_much_is_visited() -> None:
    optimisation = {"steps": 10, "batch_size": 3, "accumulate": 2}
    plan = describe("pretrain", config_of(optimisation=optimisation), processes=4)
    assert "240 visits of samples:" in plan and "hours on 4" in plan
    assert len([line for line in plan.splitlines() if line.startswith(tuple(gpu.name for gpu in GPUS))]) == len(GPUS)


def test_without_sizes_there_is_a_plan_all_the_same() -> None:
    plan = describe("pretrain", TrainConfig(out="o", data="d"))
    assert "not known without model.language_model_sizes" in plan and "Memory per GPU" not in plan


def test_one_engine_is_shown_where_it_is_named(project_root: Path) -> None:
    file = project_root / "configs" / "accelerate" / "zero3-offload-gpu.yaml"
    plan = describe("pretrain", config_of(), engine_file=file, processes=4)
    assert row_of(plan, "ZeRO-3 + offload")[0] == "4" and "DDP" not in plan
    assert row_of(describe("pretrain", config_of()), "DDP")[0] == "8"


def test_weights_in_4_bits_take_less_and_cannot_be_spread() -> None:
    changes = {"stage": {"language_model": "lora"}, "losses": {"answer": 1.0}}
    plain, packed = (config_of(**changes, lora={"rank": 2, "quantize": kind}) for kind in (None, "nf4"))
    assert outline_of(packed).size.weight_bytes < outline_of(plain).size.weight_bytes
    plan = describe("finetune", packed)
    assert "cannot spread weights in 4 bits" in " ".join(row_of(plan, "ZeRO-3 +")) and "4 bits" in plan


def test_an_outline_is_the_model_that_is_trained(checkpoint: Path) -> None:
    config = config_of(init=str(checkpoint), stage={"language_model": "lora"}, lora={"rank": 2})
    found = outline_of(config)
    model, processor = load_checkpoint(checkpoint)
    assert found.rows == apply_stage(model, config.stage, config.lora)
    assert found.size == size_of(model) and found.side == processor.image_max_side
    assert all(tensor.is_meta for tensor in found.model.parameters())


def test_a_step_reads_text_only_where_a_loss_does(checkpoint: Path) -> None:
    found = outline_of(config_of())
    silent, spoken = (workload_of(config_of(losses={"answer": weight}), found) for weight in (0.0, 1.0))
    assert silent.length == silent.answered == 0
    assert spoken.length > found.model.config.n_image_tokens + spoken.answered > 0


def test_conversations_are_about_as_long_as_they_are(rows: RoiDataset, tiny: Any) -> None:
    """Within a factor of two of a tokenizer that was trained on the prompts, which it packs more tightly."""
    config = config_of(losses={"answer": 1.0}, optimisation={"batch_size": 4})
    model, processor = tiny
    samples = TrainingSamples(rows, processor, load_prompts(), config.conversation, passes=2)
    encoded = [chat for i in range(len(samples)) if (chat := samples[i].encoded) is not None]
    real = torch.tensor([len(text.input_ids) - model.config.n_image_tokens for text in encoded]).float()
    answered = torch.tensor([sum(text.trained) for text in encoded]).float()
    length, answers = conversation_tokens(config)
    longest = real.split(4)
    assert 0.5 < length / float(torch.stack([part.max() for part in longest]).mean()) < 2
    assert 0.5 < answers / float(answered.mean()) < 2
