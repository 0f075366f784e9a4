"""Merged models: the same answers, in a folder that needs nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoProcessor

from seagull_tune.config.train import Lora, Stage
from seagull_tune.errors import CheckpointError
from seagull_tune.model import bases, merge
from seagull_tune.model.checkpoint import PROMPTS_FOLDER, load_checkpoint, model_id, read_manifest, save_checkpoint
from seagull_tune.model.merge import merge_checkpoint
from seagull_tune.training.stages import apply_stage
from tests.tiny import make_tiny_model
from tests.unit.model.conftest import Picture
from tests.unit.model.test_checkpoint import logits_of, with_lora
from tests.unit.model.test_families import text_config


def test_merged_equals_unmerged(pictures: list[Picture], tmp_path: Path) -> None:
    tiny = make_tiny_model()
    plain = logits_of(tiny, pictures)
    with_lora(tiny[0])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.yaml").write_text("id: x\n")
    save_checkpoint(*tiny, tmp_path / "tuned", {"seed": 7}, prompts=tmp_path / "mine")
    expected = logits_of(tiny, pictures)
    found = merge_checkpoint(tmp_path / "tuned", tmp_path / "merged")
    assert found.moved < 1e-5 and found.size > 100_000 and found.model_id == model_id(tmp_path / "merged")
    assert not (tmp_path / "merged" / "adapter").exists()
    manifest = read_manifest(tmp_path / "merged")
    assert manifest["adapter"] is False and manifest["resolved_config"] == {"seed": 7}
    assert (tmp_path / "merged" / PROMPTS_FOLDER / "note.yaml").is_file(), "it is asked with the words that it learned"
    merged = load_checkpoint(tmp_path / "merged")
    torch.testing.assert_close(logits_of(merged, pictures), expected, rtol=0, atol=1e-4)
    assert float((expected - plain).abs().max()) > 0.01
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    assert torch.equal(logits_of((model, processor), pictures), logits_of(merged, pictures))


def test_places_in_the_merged_copy_are_relative_to_itself(tmp_path: Path) -> None:
    save_checkpoint(*make_tiny_model(), tmp_path / "run" / "model", {"data": "../data", "seed": 7})
    merge_checkpoint(tmp_path / "run" / "model", tmp_path / "run" / "other" / "merged")
    assert read_manifest(tmp_path / "run" / "other" / "merged")["resolved_config"] == {"data": "../../data", "seed": 7}


def test_nothing_of_the_bases_is_needed_any_more(
    pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = make_tiny_model()
    language_model, tower = tiny[0].language_model, tiny[0].vision_tower.backbone.state_dict()
    monkeypatch.setattr(bases, "load_language_model", lambda reference: language_model)
    monkeypatch.setattr(bases, "load_tower_weights", lambda reference, name: tower)
    tiny[0].config.bases = {"language_model": "embedded:words@1", "vision_tower": "embedded:eyes@1"}
    save_checkpoint(*tiny, tmp_path / "small")
    merge_checkpoint(tmp_path / "small", tmp_path / "whole")
    monkeypatch.setattr(bases, "load_language_model", None)
    monkeypatch.setattr(bases, "load_tower_weights", None)
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["bases"] is None
    assert "| words | `1` |" in (tmp_path / "whole" / "README.md").read_text(), "the card says what it comes from"
    assert torch.equal(logits_of(load_checkpoint(tmp_path / "whole"), pictures), logits_of(tiny, pictures))


def test_adapters_on_small_weights(pictures: list[Picture], tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (it is for Linux on x86-64)")
    tiny = make_tiny_model(text=text_config("llama", intermediate_size=128))
    apply_stage(tiny[0], Stage(language_model="lora"), Lora(rank=2, quantize="nf4"))
    save_checkpoint(*tiny, tmp_path / "c")
    merge_checkpoint(tmp_path / "c", tmp_path / "merged")
    merged = load_checkpoint(tmp_path / "merged")
    assert merged[0].config.quantize is None
    expected = logits_of(load_checkpoint(tmp_path / "c"), pictures)
    torch.testing.assert_close(logits_of(merged, pictures), expected, rtol=0, atol=1e-4)


def test_a_merge_that_changes_answers_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = make_tiny_model()
    save_checkpoint(with_lora(tiny[0]), tiny[1], tmp_path / "c")
    monkeypatch.setattr(merge, "merge_lora", lambda model: model.unload())
    with pytest.raises(CheckpointError, match="merging moves the logits"):
        merge_checkpoint(tmp_path / "c", tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c"]


def test_nothing_is_replaced(tmp_path: Path) -> None:
    save_checkpoint(*make_tiny_model(), tmp_path / "c")
    with pytest.raises(CheckpointError, match="is there already"):
        merge_checkpoint(tmp_path / "c", tmp_path / "c")
    with pytest.raises(CheckpointError, match=r"checkpoint.json is missing"):
        merge_checkpoint(tmp_path, tmp_path / "new")
