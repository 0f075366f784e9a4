"""Low-rank adapters on the language model; the one place that imports peft."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

# peft imports bitsandbytes where it is installed, which complains at import about a kernel that only 4-bit layers on
# CPUs use.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

import torch  # noqa: E402
from peft import (  # noqa: E402
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.tuners_utils import BaseTunerLayer  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from transformers import PreTrainedModel  # noqa: E402

from seagull_tune.errors import CheckpointError, ConfigError  # noqa: E402
from seagull_tune.model.quantize import dequantize, is_quantized  # noqa: E402

ADAPTER_FOLDER = "adapter"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
ALL_LINEAR = "all-linear"
"""Stands for the names of all linear layers but the output head."""


def add_lora(
    language_model: PreTrainedModel,
    *,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] | str,
    rs_lora: bool = False,
    use_dora: bool = False,
) -> PeftModel:
    """Puts fresh adapters into a language model; a model that has adapters already is refused.

    Args:
        rank, alpha, dropout: as in Hu et al. 2021; the update is ``alpha / rank * B A`` (``alpha / sqrt(rank)`` if
            ``rs_lora``, Kalajdzievski 2023).
        targets: names of the linear layers, or ``all-linear``.
        use_dora: magnitudes of the weights are learnt apart from their directions (Liu et al. 2024).

    Raises:
        CheckpointError: it has adapters.
        ConfigError: it has no layers of these names; peft itself leaves some out without a word.
    """
    if isinstance(language_model, PeftModel):
        raise CheckpointError("The language model already carries adapters; merge them first, or go on training them.")
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, use_rslora=rs_lora, use_dora=use_dora, task_type="CAUSAL_LM",
        target_modules=targets if targets == ALL_LINEAR else _named_layers(language_model, targets),
    )  # fmt: skip
    with _deprecated_alias_allowed():
        return _without_path(get_peft_model(language_model, config))


def _named_layers(language_model: nn.Module, targets: Sequence[str] | str) -> list[str]:
    """The names of layers that get adapters, checked to be there."""
    named = [targets] if isinstance(targets, str) else list(targets)
    paths = [name for name, _ in language_model.named_modules()]
    unknown = [target for target in named if not any(f".{path}".endswith(f".{target}") for path in paths)]
    if unknown or not named:
        linear = {
            name.rpartition(".")[2] for name, part in language_model.named_modules() if isinstance(part, nn.Linear)
        }
        raise ConfigError(
            f"lora.targets names {', '.join(map(repr, unknown)) or 'nothing'}; allowed: {ALL_LINEAR}, or names of "
            f"layers that the language model has ({', '.join(sorted(linear))})."
        )
    return named


@contextmanager
def _deprecated_alias_allowed() -> Iterator[None]:
    """peft still asks transformers under an old name whether activations are checkpointed; no user can change that."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        yield


def _without_path(model: PeftModel) -> PeftModel:
    """peft notes the folder that the base was read from; a checkpoint must not name a path of one machine."""
    for config in model.peft_config.values():
        config.base_model_name_or_path = ""
    return model


def plain_name(name: str) -> str:
    """The name that a tensor of the whole model has where the language model carries no adapters."""
    return name.replace("language_model.base_model.model.", "language_model.", 1).replace(".base_layer.", ".", 1)


def has_lora(language_model: nn.Module) -> bool:
    """Whether the language model carries adapters."""
    return isinstance(language_model, PeftModel)


def is_lora_parameter(name: str) -> bool:
    """Whether a parameter of the language model belongs to an adapter."""
    return "lora_" in name


def prepare_for_mixed_precision(language_model: nn.Module) -> None:
    """Makes adapters on a frozen base cheap to train under bfloat16 autocast.

    - The frozen weights are kept in bfloat16: autocast would convert each of them at every step. A checkpoint does not
      hold them, so nothing rounded is ever saved.
    - The adapters no longer convert their inputs to float32, which autocast turns back at once.
    - On a CPU attention is written out: at a few hundred tokens the backward pass of torch's fused attention takes
      three times as long there (26 ms against 8 ms per layer at 6 x 148 tokens on 2 cores).
    """
    for name, parameter in language_model.named_parameters():
        # 4-bit weights are packed bytes, and stay that.
        if parameter.is_floating_point() and not is_lora_parameter(name) and not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    for module in language_model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False
    if isinstance(language_model, PeftModel) and next(language_model.parameters()).device.type == "cpu":
        language_model.get_base_model().set_attn_implementation("eager")


def load_lora(language_model: PreTrainedModel, folder: Path, trainable: bool) -> PeftModel:
    """Loads the adapters saved under ``folder`` (safetensors only; the caller has checked that they are whole)."""
    with _deprecated_alias_allowed():
        return _without_path(PeftModel.from_pretrained(language_model, str(folder), is_trainable=trainable))


def save_lora(language_model: nn.Module, folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Writes the adapters of a language model, whose (gathered) tensors are ``weights``, into ``folder``."""
    # peft would ask a hub whether the vocabulary has grown; ours never does.
    language_model.save_pretrained(  # type: ignore[operator]
        str(folder), state_dict=dict(weights), safe_serialization=True, save_embedding_layers=False
    )
    (folder / "README.md").unlink(missing_ok=True)


def load_adapter_weights(language_model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts saved adapter weights into adapters that are already there, strictly."""
    result = set_peft_model_state_dict(language_model, dict(weights))
    missing = [name for name in result.missing_keys if is_lora_parameter(name)]
    if missing or result.unexpected_keys:
        raise CheckpointError(
            f"Adapter weights do not fit: missing {missing[:3]}, unknown {list(result.unexpected_keys)[:3]}."
        )


def merge_lora(language_model: nn.Module) -> nn.Module:
    """The language model with its adapters added into its weights; as it is where it has none.

    A 4-bit base is dequantised first: what the adapters add would be lost in its rounding.
    """
    if not isinstance(language_model, PeftModel):
        return language_model
    if is_quantized(language_model):
        language_model = _on_dequantized_base(language_model)
    merged: nn.Module = language_model.merge_and_unload()  # type: ignore[operator]
    return merged


def _on_dequantized_base(adapted: PeftModel) -> PeftModel:
    """The same adapters on the numbers that a 4-bit base stands for; peft has layers of their own for each."""
    config, weights = adapted.peft_config["default"], get_peft_model_state_dict(adapted)
    config.base_model_name_or_path = None  # emptied by us; peft would warn that it changes
    base: nn.Module = adapted.unload()  # type: ignore[operator]
    dequantize(base)
    again = get_peft_model(base, config)
    load_adapter_weights(again, weights)
    return _without_path(again.train(adapted.training))


def adapter_settings(language_model: nn.Module) -> dict[str, object]:
    """How the adapters of a language model were made, by the keys of ``lora`` in a training YAML; empty without any."""
    if not isinstance(language_model, PeftModel):
        return {}
    config = language_model.peft_config["default"]
    targets = config.target_modules
    return {
        "rank": config.r, "alpha": float(config.lora_alpha), "dropout": config.lora_dropout,
        "rs_lora": config.use_rslora, "use_dora": config.use_dora,
        "targets": targets if isinstance(targets, str) else tuple(sorted(targets)),
    }  # fmt: skip
