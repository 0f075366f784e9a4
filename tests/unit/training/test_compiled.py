"""Compiled layers: the same numbers and names. What compiles to machine code is torch's; dynamo alone is tried here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch._dynamo

from seagull_tune.config.train import Lora, Stage, TrainConfig
from seagull_tune.errors import ConfigError, MissingDependencyError
from seagull_tune.training.compiled import check_compiling, compile_layers
from seagull_tune.training.stages import apply_stage
from tests.tiny import make_tiny_model

torch.set_num_threads(1)


@pytest.fixture
def _forgets() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_forgets")
def test_losses_gradients_and_names_stay() -> None:
    model, _ = make_tiny_model()
    apply_stage(model, Stage(language_model="lora"), Lora(rank=2))
    names = list(model.state_dict())

    def measure(length: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        ids = (torch.arange(2 * length) % 90 + 5).view(2, length)
        model.zero_grad()
        loss = model(input_ids=ids).logits.float().logsumexp(-1).mean()
        loss.backward()
        return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    plain = [measure(length) for length in (7, 12)]
    assert compile_layers(model, backend="eager") == 2
    assert list(model.state_dict()) == names
    counters = torch._dynamo.utils.counters
    counters.clear()
    found = [measure(length) for length in (7, 12)]
    assert counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    for (loss, gradients), (expected, wanted) in zip(found, plain, strict=True):
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
        torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-8)


def test_what_cannot_be_compiled_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"C\+\+ compiler.*set it to false"):
        check_compiling()
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/c++")
    check_compiling()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"FSDP.*spreads weights.*set it to false"):
        check_compiling()


@pytest.mark.parametrize("key", ["group_by_length", "compile"])
def test_both_are_for_text(key: str) -> None:
    plain = {"out": "o", "data": "d", "optimisation": {key: True}}
    with pytest.raises(ValueError, match=rf"optimisation.{key} speed up the language model"):
        TrainConfig.model_validate(plain)
    assert TrainConfig.model_validate({**plain, "losses": {"answer": 1.0}})
