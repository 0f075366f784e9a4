"""Runs of every kind of adapter, and runs that start from the result of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seagull_tune.config.train import TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint
from seagull_tune.model.merge import merge_checkpoint
from seagull_tune.tune.recipe import train
from tests.tiny import make_tiny_model
from tests.unit.model.test_families import text_config

ADAPTERS = Path("adapter") / "adapter_model.safetensors"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of widths that 4-bit layers can have."""
    folder = tmp_path_factory.mktemp("rounds") / "tiny"
    save_checkpoint(*make_tiny_model(text=text_config("llama", intermediate_size=128)), folder)
    return folder


def _run(out: Path, data: Path, init: Path, lora: dict[str, Any], **changes: Any) -> Path:
    plain = {
        "out": str(out), "data": str(data), "init": str(init), "cache_dir": str(out.parent / "front"), "log_every": 1,
        "lora": {"rank": 2, **lora}, "stage": {"language_model": "lora"}, "losses": {"answer": 1.0, "level": 1.0},
        "optimisation": {"steps": 2, "batch_size": 2},
    }  # fmt: skip
    return train(TrainConfig.model_validate({**plain, **changes}))


@pytest.mark.parametrize(
    "lora", [{"use_dora": True}, {"rs_lora": True}, {"quantize": "nf4"}], ids=["dora", "rslora", "qlora"]
)
def test_adapters_of_every_kind_are_trained_and_trained_further(
    lora: dict[str, Any], data: Path, start: Path, tmp_path: Path
) -> None:
    if "quantize" in lora:
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (it is for Linux on x86-64)")
    first = _run(tmp_path / "first", data, start, lora)
    second = _run(tmp_path / "second", data, first, lora)
    before, after = load_file(first / ADAPTERS), load_file(second / ADAPTERS)
    assert before.keys() == after.keys()
    assert sum(not torch.equal(before[name], after[name]) for name in before) > 0.9 * len(before)
    assert load_checkpoint(second)[0].config.quantize == lora.get("quantize")


def test_new_adapters_on_merged_ones(data: Path, start: Path, tmp_path: Path) -> None:
    first = _run(tmp_path / "first", data, start, {})
    second = _run(tmp_path / "second", data, first, {"rank": 3, "existing": "merge"})
    ranks = {len(v) for name, v in load_file(second / ADAPTERS).items() if "lora_A" in name}
    assert ranks == {3}
    merged, plain = (load_file(folder / "trained.safetensors") for folder in (second, start))
    name = "language_model.model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(merged[name], plain[name]), "what the first round learnt is in the weights"


def test_the_tower_is_trained_with_the_rest(data: Path, start: Path, tmp_path: Path) -> None:
    out = _run(
        tmp_path / "tower", data, start, {}, cache_front=False, cache_dir=None,
        stage={"vision_tower": "full", "language_model": "frozen"}, losses={},
        optimisation={"steps": 2, "batch_size": 2, "learning_rates": {"vision_tower": 1e-3}},
    )  # fmt: skip
    tuned, plain = (load_file(folder / "trained.safetensors") for folder in (out, start))
    tower = [name for name in plain if name.startswith("vision_tower.") and name.endswith("weight")]
    assert sum(not torch.equal(tuned[name], plain[name]) for name in tower) > 0.9 * len(tower)
    again = _run(tmp_path / "again", data, out, {})  # frozen once more, and its results are cached as its own
    assert torch.equal(load_file(again / "trained.safetensors")[tower[0]], tuned[tower[0]])


@pytest.mark.parametrize("tower", ["frozen", "full"])
def test_the_released_extractor_with_dora_and_merged(tower: str, data: Path, tmp_path: Path) -> None:
    """Its tower frozen or trained: saved, loaded, merged and asked it says the same."""
    save_checkpoint(*make_tiny_model(mfe="seagull"), tmp_path / "start")
    out = _run(
        tmp_path / "run", data, tmp_path / "start", {"use_dora": True}, cache_front=False, cache_dir=None,
        stage={"vision_tower": tower, "language_model": "lora"},
        optimisation={"steps": 2, "batch_size": 2, "learning_rates": {"vision_tower": 1e-3}},
    )  # fmt: skip
    tuned, plain = (load_file(folder / "trained.safetensors") for folder in (out, tmp_path / "start"))
    assert any("lora_magnitude_vector" in name for name in load_file(out / ADAPTERS))
    for prefix, moves in (("mfe.extractor.", True), ("vision_tower.", tower == "full")):
        names = [name for name in plain if name.startswith(prefix) and name.endswith("weight")]
        moved = [name for name in names if not torch.equal(tuned[name], plain[name])]
        assert len(names) > 10 and (len(moved) > 0.8 * len(names) if moves else not moved), prefix

    assert merge_checkpoint(out, tmp_path / "merged").moved < 1e-5
    rendered = RoiDataset(data, "validation")[0]
    answers = [
        RegionAssessor.from_pretrained(folder).assess(rendered.image, rendered.regions)
        for folder in (out, tmp_path / "merged")
    ]
    for first, second in zip(*answers, strict=True):
        assert first.direct == second.direct
        assert first.scores.quality_levels == pytest.approx(second.scores.quality_levels, abs=1e-4)
