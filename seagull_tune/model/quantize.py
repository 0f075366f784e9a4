"""4-bit language models (nf4, Dettmers et al. 2023) for training adapters on them; the one place of bitsandbytes.

A quantised layer keeps the block-wise maxima themselves (no second quantisation), so that quantising dequantised
weights gives the same weights again: a checkpoint may hold them as ordinary numbers, and a merged model is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from seagull_tune.errors import ConfigError, MissingDependencyError

NF4 = "nf4"
BLOCK = 64
"""Weights of a row that share one maximum."""


def _library() -> Any:
    try:
        import bitsandbytes
    except ImportError as error:
        raise MissingDependencyError(
            "A language model in 4 bits needs bitsandbytes (Linux on x86-64): pip install bitsandbytes; or train with "
            "lora.quantize: null. A finished model can be used without it after `seagull-tune merge`."
        ) from error
    return bitsandbytes


def is_quantized(model: nn.Module) -> bool:
    """Whether any layer of a model is in 4 bits."""
    return next(_quantized_layers(model), None) is not None


def _quantized_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    # By the state that only quantised weights have: without the library there are none to be found.
    for name, module in model.named_modules():
        if getattr(getattr(module, "weight", None), "quant_state", None) is not None:
            yield name, module


def layers_to_quantize(language_model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """The linear layers of a language model that are held in 4 bits, with their names: all but its output head."""
    head = language_model.get_output_embeddings()  # type: ignore[operator]
    return [(n, m) for n, m in language_model.named_modules() if isinstance(m, nn.Linear) and m is not head]


def bytes_in_4_bits(n_weights: int) -> int:
    """Bytes of so many weights in 4 bits: half a byte each, and a float32 maximum per block."""
    return n_weights // 2 + n_weights // BLOCK * 4


def quantize(language_model: nn.Module, device: torch.device | None = None) -> None:
    """Brings the linear layers of a language model to 4 bits, in place; its output head and embeddings stay.

    Args:
        device: where those layers are brought, one by one; None leaves them where they are.

    Raises:
        MissingDependencyError: bitsandbytes is not installed.
        ConfigError: a layer's width is no multiple of 64: bitsandbytes gives wrong weights for those on a CPU.
    """
    library = _library()
    chosen = layers_to_quantize(language_model)
    odd = [f"{name} ({layer.in_features})" for name, layer in chosen if layer.in_features % BLOCK]
    if odd:
        raise ConfigError(
            f"{len(odd)} layers of the language model cannot be brought to 4 bits, since their widths are no multiples "
            f"of {BLOCK}: {', '.join(odd[:3])}. Set lora.quantize to null."
        )
    for name, layer in chosen:
        _replace(language_model, name, _four_bits(library, layer, device or layer.weight.device))
    # peft asks for this mark before it builds adapters for such layers.
    language_model.is_loaded_in_4bit = True  # type: ignore[assignment]


def _four_bits(library: Any, layer: nn.Linear, place: torch.device) -> nn.Module:
    small: nn.Module = library.nn.Linear4bit(
        layer.in_features, layer.out_features, bias=layer.bias is not None, quant_type=NF4, compress_statistics=False,
        device="meta",
    )  # fmt: skip
    # In evaluation on some CPUs it would pack its weights anew, with their maxima rounded to bfloat16.
    small.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
    small.weight = library.nn.Params4bit(
        layer.weight.data.float(), requires_grad=False, quant_type=NF4, compress_statistics=False, module=small
    ).to(place)
    small.bias = layer.bias
    return small.train(layer.training)


def dequantize(language_model: nn.Module) -> None:
    """Turns 4-bit layers into ordinary float32 ones of the same weights, in place."""
    for name, layer in list(_quantized_layers(language_model)):
        weight = dequantized(layer)
        full = nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None, device="meta")
        full.weight = nn.Parameter(weight, requires_grad=False)
        if layer.bias is not None:
            full.bias = layer.bias  # type: ignore[assignment]
        _replace(language_model, name, full.train(layer.training))
    language_model.is_loaded_in_4bit = False  # type: ignore[assignment]


def dequantized(layer: nn.Module) -> Tensor:
    """The weights (out, in) that a 4-bit layer stands for, float32."""
    weight: Any = layer.weight
    full: Tensor = _library().functional.dequantize_4bit(weight.data, weight.quant_state)
    return full.float()


def plain_state(model: nn.Module, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict of a model, with its 4-bit weights as the numbers that they stand for.

    Args:
        state: its (gathered) state dict, where an engine holds the tensors.
    """
    whole = model.state_dict() if state is None else state
    small = {f"{name}.weight": layer for name, layer in _quantized_layers(model)}
    packed = tuple(f"{name}." for name in small)
    kept = {name: tensor for name, tensor in whole.items() if name not in small and not name.startswith(packed)}
    return kept | {name: dequantized(layer) for name, layer in small.items()}


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


@torch.no_grad()
def rounded(language_model: nn.Module) -> None:
    """Gives a language model the weights that it has after quantising, in full precision, in place."""
    quantize(language_model)
    dequantize(language_model)
