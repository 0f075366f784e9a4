"""The checkpoint contract: whole, strict, atomic, without a path of one machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoProcessor

from seagull_tune.data.collate import Collator
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import CheckpointError
from seagull_tune.files import sha256_of
from seagull_tune.model import checkpoint as contract
from seagull_tune.model.checkpoint import load_checkpoint, model_id, read_manifest, save_checkpoint
from seagull_tune.model.lora import add_lora, is_lora_parameter, merge_lora
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.tune.recipe import MODEL_INPUTS
from tests.tiny import our_branches
from tests.unit.model.conftest import Picture
from tests.unit.model.test_modeling import make_items

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]


def with_lora(model: SeagullForConditionalGeneration) -> SeagullForConditionalGeneration:
    """Adds adapters that do something (fresh ones change nothing)."""
    model.language_model = add_lora(model.language_model, rank=4, alpha=8, dropout=0.0, targets="all-linear")
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if is_lora_parameter(name):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def logits_of(tiny: Tiny, pictures: list[Picture]) -> torch.Tensor:
    model, processor = tiny
    batch = Collator(0)(make_items(processor, pictures))
    with torch.no_grad():
        out: torch.Tensor = model(**{name: batch[name] for name in MODEL_INPUTS if name in batch}).logits
    return out


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "tiny"
    save_checkpoint(*tiny, folder, {"seed": 7})
    return folder


def test_round_trip_is_bit_equal(saved: Path, tiny: Tiny, pictures: list[Picture]) -> None:
    loaded = load_checkpoint(saved)
    assert not loaded[0].training
    assert torch.equal(logits_of(tiny, pictures), logits_of(loaded, pictures))
    assert all(torch.equal(value, loaded[0].state_dict()[name]) for name, value in tiny[0].state_dict().items())
    assert loaded[1].tokenizer.get_vocab() == tiny[1].tokenizer.get_vocab()
    assert (loaded[1].layout, loaded[1].patch_size, loaded[1].image_max_side) == (tiny[1].layout, 16, 96)
    assert read_manifest(saved)["resolved_config"] == {"seed": 7}


def test_measured_constants_travel(fresh: Tiny, visual: dict[str, Any], tmp_path: Path) -> None:
    model, processor = fresh
    model.mfe.measure(model.encode_front(**visual))
    save_checkpoint(model, processor, tmp_path / "m")
    loaded, _ = load_checkpoint(tmp_path / "m")
    assert loaded.mfe.measured
    means = [our_branches(m)[1].standardize.mean for m in (loaded, model)]
    assert torch.equal(*means)


def test_a_copy_says_where_things_lie_from_where_it_is(fresh: Tiny, tmp_path: Path) -> None:
    save_checkpoint(*fresh, tmp_path / "run" / "finetune" / "model", {"data": "../../data", "seed": 7})
    (tmp_path / "run" / "model").mkdir()
    (tmp_path / "run" / "model" / "baselines").write_text("")
    contract.copy_checkpoint(tmp_path / "run" / "finetune" / "model", tmp_path / "run" / "model")
    assert read_manifest(tmp_path / "run" / "model")["resolved_config"] == {"data": "../data", "seed": 7}
    assert load_checkpoint(tmp_path / "run" / "model")[0].measured == fresh[0].measured
    assert (tmp_path / "run" / "model" / "baselines").is_file()


def test_tied_embeddings_are_saved_and_stay_tied(saved: Path) -> None:
    tensors = load_file(saved / contract.TRAINED)
    table, head = tensors["language_model.model.embed_tokens.weight"], tensors["language_model.lm_head.weight"]
    assert table.numel() > 0 and torch.equal(table, head)
    loaded = load_checkpoint(saved)[0].language_model
    assert loaded.get_input_embeddings().weight.data_ptr() == loaded.get_output_embeddings().weight.data_ptr()


def test_auto_classes(saved: Path, tiny: Tiny, pictures: list[Picture]) -> None:
    model, processor = AutoModelForCausalLM.from_pretrained(saved), AutoProcessor.from_pretrained(saved)
    assert isinstance(model, SeagullForConditionalGeneration) and isinstance(processor, SeagullProcessor)
    assert torch.equal(logits_of((model, processor), pictures), logits_of(tiny, pictures))


def test_save_pretrained_and_from_pretrained(tiny: Tiny, pictures: list[Picture], tmp_path: Path) -> None:
    tiny[0].save_pretrained(tmp_path / "hf")
    tiny[1].save_pretrained(tmp_path / "hf")
    model = SeagullForConditionalGeneration.from_pretrained(tmp_path / "hf")
    assert torch.equal(logits_of((model, tiny[1]), pictures), logits_of(tiny, pictures))
    assert load_checkpoint(tmp_path / "hf")[1].layout == tiny[1].layout


@pytest.mark.parametrize("trainable", [False, True])
def test_adapters_round_trip(fresh: Tiny, pictures: list[Picture], tmp_path: Path, trainable: bool) -> None:
    model, processor = with_lora(fresh[0]), fresh[1]
    save_checkpoint(model, processor, tmp_path / "lora")
    loaded = load_checkpoint(tmp_path / "lora", trainable=trainable)
    assert torch.equal(logits_of((model, processor), pictures), logits_of(loaded, pictures))
    open_adapters = [p.requires_grad for name, p in loaded[0].named_parameters() if is_lora_parameter(name)]
    assert len(open_adapters) == 28 and set(open_adapters) == {trainable}
    # A second save names everything as the first one did.
    save_checkpoint(*loaded, tmp_path / "again")
    for file in (contract.TRAINED, f"{contract.ADAPTER_FOLDER}/{contract.ADAPTER_WEIGHTS}"):
        first, second = load_file(tmp_path / "lora" / file), load_file(tmp_path / "again" / file)
        assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_merged_equals_unmerged(fresh: Tiny, pictures: list[Picture], tmp_path: Path) -> None:
    model, processor = fresh
    bare = logits_of((model, processor), pictures)
    unmerged = logits_of((with_lora(model), processor), pictures)
    assert float((unmerged - bare).abs().max()) > 1e-2, "the adapters do nothing, so the test would say nothing"
    model.language_model = merge_lora(model.language_model)
    torch.testing.assert_close(logits_of((model, processor), pictures), unmerged, rtol=0, atol=1e-4)
    save_checkpoint(model, processor, tmp_path / "merged")
    assert not read_manifest(tmp_path / "merged")["adapter"]
    torch.testing.assert_close(logits_of(load_checkpoint(tmp_path / "merged"), pictures), unmerged, rtol=0, atol=1e-4)


def test_adapters_are_not_put_into_adapters(fresh: Tiny) -> None:
    with pytest.raises(CheckpointError, match="already carries adapters"):
        with_lora(with_lora(fresh[0]))


def test_no_path_of_this_machine(fresh: Tiny, tmp_path: Path) -> None:
    model, processor = fresh
    model.language_model.name_or_path = str(tmp_path / "cache" / "base")
    save_checkpoint(with_lora(model), processor, tmp_path / "c")
    for path in (tmp_path / "c").rglob("*.json"):
        if path.name != "tokenizer.json":
            assert str(tmp_path) not in path.read_text(), path.name
    assert not list((tmp_path / "c").rglob("*.md")) and not list((tmp_path / "c").rglob("*.bin"))


# -- what is refused -----------------------------------------------------------------------------------------------


def _drop(folder: Path, *names: str) -> None:
    """Takes tensors out of a checkpoint whose manifest still fits its file."""
    tensors = {k: v for k, v in load_file(folder / contract.TRAINED).items() if not k.startswith(names)}
    save_file(tensors, folder / contract.TRAINED)
    manifest = json.loads((folder / contract.MANIFEST).read_text())
    manifest["sha256"] = sha256_of(folder / contract.TRAINED)
    (folder / contract.MANIFEST).write_text(json.dumps(manifest))


def _reshape(folder: Path) -> None:
    tensors = load_file(folder / contract.TRAINED)
    tensors["projector.layers.0.bias"] = tensors["projector.layers.0.bias"][:5].clone()
    save_file(tensors, folder / contract.TRAINED)
    _drop(folder)


def _flip(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[-3] ^= 0xFF
    (folder / name).write_bytes(data)


def _cut(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])


def _put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)


def _set_version(folder: Path) -> None:
    manifest = json.loads((folder / contract.MANIFEST).read_text())
    (folder / contract.MANIFEST).write_text(json.dumps(manifest | {"version": 99}))


def _say_training(folder: Path) -> None:
    manifest = json.loads((folder / contract.MANIFEST).read_text())
    (folder / contract.MANIFEST).write_text(json.dumps(manifest | {"training": "long"}))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "one MFE tensor": (
        lambda f: _drop(f, "mfe.to_local.weight"),
        r"1 tensors missing \(parts: mfe; .*mfe.to_local.weight",
    ),
    "the whole MFE": (
        lambda f: _drop(f, "mfe.", "region_norm."),
        r"parts: mfe, region_norm; .*train again, or use that version",
    ),
    "the MFE's file": (lambda f: (f / contract.TRAINED).unlink(), r"trained.safetensors is missing.*no MFE"),
    "another shape": (_reshape, r"projector.layers.0.bias \(5,\) instead of \(64,\)\. .*train again"),
    "a flipped bit": (lambda f: _flip(f, contract.TRAINED), r"trained.safetensors: .*damaged"),
    "half a file": (lambda f: _cut(f, contract.TRAINED), r"trained.safetensors: .*damaged"),
    "another version": (
        _set_version,
        r"version 99, written by Seagull-Tune \d.*; this program reads 1\. Use the version",
    ),
    "no manifest": (lambda f: (f / contract.MANIFEST).unlink(), r"checkpoint.json is missing.*not a Seagull-Tune"),
    "half a manifest": (lambda f: _cut(f, contract.MANIFEST), r"checkpoint.json is damaged"),
    "a list for a manifest": (
        lambda f: _put(f, contract.MANIFEST, "[]"),
        r"checkpoint.json is damaged \(it holds \[\]",
    ),
    "a manifest without hashes": (lambda f: _put(f, contract.MANIFEST, '{"version": 1}'), r"lacks sha256, adapter\."),
    "a word for the training": (_say_training, r"checkpoint.json is damaged \(training is no group of keys\)"),
    "half a config": (lambda f: _cut(f, "config.json"), r"config.json is damaged"),
    "an empty config": (lambda f: _put(f, "config.json", "{}"), r"config.json is damaged \(it holds {}"),
    "the config of another model": (
        lambda f: _put(f, "config.json", '{"model_type": "llama"}'),
        r"config.json: model_type is 'llama', not 'seagull'",
    ),
    "half a tokenizer": (lambda f: _cut(f, "tokenizer.json"), r"tokenizer.json is damaged"),
    "half a tokenizer's settings": (lambda f: _cut(f, "tokenizer_config.json"), r"tokenizer_config.json is damaged"),
    "half a processor": (lambda f: _cut(f, "processor_config.json"), r"processor_config.json is damaged"),
    "bytes for a manifest": (lambda f: (f / contract.MANIFEST).write_bytes(b"\xff\xfe"), r"checkpoint.json is damaged"),
    "no config": (lambda f: (f / "config.json").unlink(), r"config.json missing"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer.json missing"),
    "no processor": (lambda f: (f / "processor_config.json").unlink(), r"processor_config.json missing"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_damaged_checkpoints_are_refused_by_name(saved: Path, tmp_path: Path, case: str) -> None:
    damage, message = DAMAGES[case]
    folder = tmp_path / "damaged"
    shutil.copytree(saved, folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)


def test_damaged_adapters_are_refused(fresh: Tiny, tmp_path: Path) -> None:
    save_checkpoint(with_lora(fresh[0]), fresh[1], tmp_path / "a")
    _cut(tmp_path / "a", f"{contract.ADAPTER_FOLDER}/adapter_config.json")
    with pytest.raises(CheckpointError, match=r"adapter_config.json is damaged"):
        load_checkpoint(tmp_path / "a")
    _flip(tmp_path / "a", f"{contract.ADAPTER_FOLDER}/{contract.ADAPTER_WEIGHTS}")
    with pytest.raises(CheckpointError, match=r"adapter_model.safetensors: .*damaged"):
        load_checkpoint(tmp_path / "a")
    (tmp_path / "a" / contract.ADAPTER_FOLDER / contract.ADAPTER_WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="no adapters"):
        load_checkpoint(tmp_path / "a")


def test_a_checkpoint_on_other_bases_is_not_put_into_a_model(fresh: Tiny, tmp_path: Path) -> None:
    """As when a branch of the hub has moved on before a run is resumed."""
    model, processor = fresh
    model.config.bases = {"vision_tower": "hub:some/tower@aaaa"}
    save_checkpoint(model, processor, tmp_path / "c")
    contract.reload(model, tmp_path / "c")
    model.config.bases = {"vision_tower": "hub:some/tower@bbbb"}
    with pytest.raises(CheckpointError, match=r"tower@aaaa.*tower@bbbb.*model\.vision_tower"):
        contract.reload(model, tmp_path / "c")


def test_a_processor_of_another_grid_is_refused(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "c")
    settings = json.loads((tmp_path / "c" / "processor_config.json").read_text())
    (tmp_path / "c" / "processor_config.json").write_text(json.dumps(settings | {"image_grid": 3}))
    with pytest.raises(CheckpointError, match="9 image tokens, the model has 4"):
        load_checkpoint(tmp_path / "c")


def test_empty_tensors_are_never_saved(fresh: Tiny, tmp_path: Path) -> None:
    """An engine that shards parameters leaves empty ones behind where it was not asked to gather them."""
    model, processor = with_lora(fresh[0]), fresh[1]
    for chosen in ("mfe.to_global.weight", next(n for n in model.state_dict() if is_lora_parameter(n))):
        state = dict(model.state_dict()) | {chosen: torch.empty(0)}
        with pytest.raises(CheckpointError, match="empty"):
            save_checkpoint(model, processor, tmp_path / "z", state_dict=state)
    without = {name: value for name, value in model.state_dict().items() if not is_lora_parameter(name)}
    with pytest.raises(CheckpointError, match="every adapter"):
        save_checkpoint(model, processor, tmp_path / "z", state_dict=without)
    assert list(tmp_path.iterdir()) == [], "a refused save leaves nothing behind"


def test_a_failed_save_keeps_the_old_checkpoint(fresh: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(*fresh, tmp_path / "c")
    before = model_id(tmp_path / "c")
    with torch.no_grad():
        fresh[0].region_norm.gain.add_(1)
    monkeypatch.setattr(fresh[1], "save_pretrained", lambda folder: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(CheckpointError, match=r"c cannot be written: no space left\. Free some disk"):
        save_checkpoint(*fresh, tmp_path / "c")
    assert model_id(tmp_path / "c") == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_model_id_follows_the_content(fresh: Tiny, tmp_path: Path) -> None:
    model, processor = fresh
    save_checkpoint(model, processor, tmp_path / "run" / "model")
    first = model_id(tmp_path / "run" / "model")
    assert first.startswith("run@") and len(first.split("@")[1]) == 12
    save_checkpoint(model, processor, tmp_path / "copy")
    assert model_id(tmp_path / "copy").split("@")[1] == first.split("@")[1]
    with torch.no_grad():
        model.region_norm.gain.add_(1e-3)
    save_checkpoint(model, processor, tmp_path / "run" / "model")
    other = model_id(tmp_path / "run" / "model")
    assert other != first
    save_checkpoint(with_lora(model), processor, tmp_path / "run" / "model")
    assert model_id(tmp_path / "run" / "model") not in (first, other)
