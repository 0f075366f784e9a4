from __future__ import annotations

import copy

import pytest
import torch

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import ConfigError
from seagull_tune.model.lora import add_lora, is_lora_parameter, prepare_for_mixed_precision
from seagull_tune.model.modeling import SeagullForConditionalGeneration


@pytest.mark.parametrize(
    ("targets", "named"), [(("nope",), "'nope'"), (("q_proj", "nope"), "'nope'"), ("nope", "'nope'"), ((), "nothing")]
)
def test_layers_that_are_not_there_get_no_adapters(
    targets: tuple[str, ...] | str, named: str, fresh: tuple[SeagullForConditionalGeneration, SeagullProcessor]
) -> None:
    with pytest.raises(ConfigError, match=f"lora.targets names {named}; allowed: all-linear.*q_proj"):
        add_lora(fresh[0].language_model, rank=2, alpha=2.0, dropout=0.0, targets=targets)


def test_one_name_may_stand_alone(fresh: tuple[SeagullForConditionalGeneration, SeagullProcessor]) -> None:
    adapted = add_lora(fresh[0].language_model, rank=2, alpha=2.0, dropout=0.0, targets="q_proj")
    found = {name.split(".lora_")[0].rpartition(".")[2] for name, _ in adapted.named_parameters() if ".lora_" in name}
    assert found == {"q_proj"}


def test_mixed_precision_is_cheap_and_changes_only_the_last_digits(
    fresh: tuple[SeagullForConditionalGeneration, SeagullProcessor],
) -> None:
    plain = add_lora(fresh[0].language_model, rank=4, alpha=8.0, dropout=0.0, targets="all-linear")
    torch.manual_seed(0)
    for name, parameter in plain.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    ready = copy.deepcopy(plain)
    prepare_for_mixed_precision(ready)

    dtypes = {is_lora_parameter(name): parameter.dtype for name, parameter in ready.named_parameters()}
    assert dtypes == {False: torch.bfloat16, True: torch.float32}
    assert ready.get_base_model().config._attn_implementation == "eager"

    found = []
    ids = torch.randint(0, 100, (2, 12), generator=torch.Generator().manual_seed(1))
    for model in (plain, ready):
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids).logits.float()
        logits.log_softmax(dim=-1)[..., 3].mean().backward()
        gradients = [p.grad.flatten() for name, p in model.named_parameters() if p.grad is not None]
        found.append((logits.detach(), torch.cat(gradients)))
    (logits, gradient), (other_logits, other_gradient) = found
    assert float((logits - other_logits).norm() / logits.norm()) < 0.02
    assert float(torch.cosine_similarity(gradient, other_gradient, dim=0)) > 0.99
