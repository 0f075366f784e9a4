"""Adapters on a 4-bit language model, on the CPU: exact after merging, and the same model for whoever reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from seagull_tune.config.train import Lora, Stage
from seagull_tune.data.collate import Collator
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import ConfigError, MissingDependencyError
from seagull_tune.model.checkpoint import load_checkpoint, reload, save_checkpoint
from seagull_tune.model.lora import is_lora_parameter, merge_lora, prepare_for_mixed_precision
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.quantize import dequantize, is_quantized, quantize, rounded
from seagull_tune.training.stages import apply_stage
from seagull_tune.tune.recipe import MODEL_INPUTS
from tests.tiny import make_tiny_model
from tests.unit.model.conftest import Picture
from tests.unit.model.test_checkpoint import logits_of
from tests.unit.model.test_families import text_config
from tests.unit.model.test_modeling import make_items

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (it is for Linux on x86-64)")
Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]
QLORA = Stage(language_model="lora")


def _fresh() -> Tiny:
    """A tiny model of widths that fit into blocks."""
    return make_tiny_model(text=text_config("llama", intermediate_size=128))


@pytest.fixture
def fresh() -> Tiny:
    return _fresh()


def _tuned(model: SeagullForConditionalGeneration, **changes: Any) -> SeagullForConditionalGeneration:
    """A model with lively adapters on 4-bit weights."""
    apply_stage(model, QLORA, Lora(rank=4, alpha=8.0, quantize="nf4", **changes))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if is_lora_parameter(name) and "magnitude" not in name:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def test_rounding_twice_is_rounding_once(fresh: Tiny) -> None:
    words = fresh[0].language_model
    before = {name: value.clone() for name, value in words.state_dict().items()}
    rounded(words)
    once = {name: value.clone() for name, value in words.state_dict().items()}
    rounded(words)
    assert {name for name in before if not torch.equal(before[name], once[name])} == {
        name for name in before if name.endswith("proj.weight")
    }, "embeddings, head and norms stay"
    assert all(torch.equal(value, words.state_dict()[name]) for name, value in once.items())


def test_widths_that_the_library_gets_wrong_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 layers .*layers.0.mlp.down_proj \(96\).*lora.quantize to null"):
        quantize(make_tiny_model()[0].language_model)


@pytest.mark.parametrize("changes", [{}, {"use_dora": True}, {"rs_lora": True}], ids=["lora", "dora", "rslora"])
def test_merged_equals_adapters_on_the_dequantised_base(
    changes: dict[str, Any], pictures: list[Picture], tmp_path: Path
) -> None:
    tiny = _fresh()
    plain = logits_of(tiny, pictures)
    _tuned(tiny[0], **changes)
    assert is_quantized(tiny[0])
    save_checkpoint(*tiny, tmp_path / "c")
    read = load_checkpoint(tmp_path / "c")
    assert read[0].config.quantize == "nf4" and not is_quantized(read[0]), "who only asks needs no 4-bit kernels"
    unmerged = logits_of(read, pictures)
    tiny[0].language_model = merge_lora(tiny[0].language_model)
    assert not is_quantized(tiny[0])
    torch.testing.assert_close(logits_of(tiny, pictures), unmerged, rtol=0, atol=1e-4)
    assert float((unmerged - plain).abs().max()) > 0.01, "the adapters do nothing, so nothing was compared"


def test_a_run_goes_on_with_the_same_small_weights(fresh: Tiny, pictures: list[Picture], tmp_path: Path) -> None:
    _tuned(fresh[0])
    expected = logits_of(fresh, pictures)
    save_checkpoint(*fresh, tmp_path / "c")
    again = load_checkpoint(tmp_path / "c", trainable=True)
    assert is_quantized(again[0])
    assert torch.equal(logits_of(again, pictures), expected)
    with torch.no_grad():
        for name, parameter in again[0].named_parameters():
            if is_lora_parameter(name):
                parameter.zero_()
    reload(again[0], tmp_path / "c")
    assert torch.equal(logits_of(again, pictures), expected)


def test_gradients_reach_the_adapters_and_the_extractor(fresh: Tiny, pictures: list[Picture]) -> None:
    model, processor = fresh
    _tuned(model)
    prepare_for_mixed_precision(model.language_model)
    batch = Collator(0)(make_items(processor, pictures))
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(**{name: batch[name] for name in MODEL_INPUTS if name in batch}).logits
    logits.float().square().mean().backward()
    trained = [p for name, p in model.named_parameters() if is_lora_parameter(name) or name.startswith("mfe.")]
    assert sum(p.grad is not None and bool(p.grad.any()) for p in trained) > 0.9 * len(trained)


def test_full_tuning_begins_with_the_numbers_that_the_small_weights_stand_for(
    fresh: Tiny, pictures: list[Picture]
) -> None:
    _tuned(fresh[0])
    before = logits_of(fresh, pictures)
    apply_stage(fresh[0], Stage(language_model="full"), Lora())
    fresh[0].eval()
    assert fresh[0].config.quantize is None and not is_quantized(fresh[0])
    torch.testing.assert_close(logits_of(fresh, pictures), before, rtol=0, atol=1e-3)


def test_without_the_library(fresh: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    dequantize(fresh[0].language_model)  # nothing to do, so nothing is needed
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match="pip install bitsandbytes"):
        quantize(fresh[0].language_model)
