"""What families of language models do around their decoder: louder embeddings, softened logits.

Everything else of a language model is reached through transformers' common interface. The decoder's hidden states are
turned into logits only where something is trained or read, so what a family does after its output head is done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from seagull_tune.errors import ConfigError

if TYPE_CHECKING:
    from seagull_tune.model.modeling import SeagullForConditionalGeneration

WHOLE, WINDOWED = "full_attention", "sliding_attention"
"""Kinds of layers, as transformers names them: a token sees all that came before it, or a window of it."""
_PROBE = 8
_TOLERANCE = 1e-3


def finish_logits(logits: Tensor, config: PreTrainedConfig) -> Tensor:
    """Applies what a family does to the output of its head.

    Args:
        logits: (..., V), straight from the head.
        config: of the language model. ``final_logit_softcapping`` c (Gemma): ``c tanh(x / c)``; ``logits_scaling``
            (Granite) divides; ``logit_scale`` (Cohere) multiplies.
    """
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (factor := getattr(config, "logit_scale", None)) is not None:
        logits = logits * factor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = cap * torch.tanh(logits / cap)
    return logits


def attention_windows(config: PreTrainedConfig) -> tuple[int, tuple[str, ...]]:
    """How many tokens windowed layers see, and which kinds of layers a language model has.

    Raises:
        ConfigError: it has layers of another kind (recurrent, chunked), which cannot read a tree of questions.
    """
    window = getattr(config, "sliding_window", None)
    named = getattr(config, "layer_types", None)
    kinds = tuple(sorted(set(named))) if named else (WINDOWED if window else WHOLE,)
    if unknown := [kind for kind in kinds if kind not in (WHOLE, WINDOWED)]:
        raise ConfigError(
            f"The language model {config.model_type!r} has layers of kind {', '.join(unknown)}; scores are read from "
            f"layers of kind {WHOLE} and {WINDOWED} only. Choose another language model."
        )
    return window or 0, kinds


@torch.no_grad()
def embedding_multiplier(table: nn.Embedding) -> float:
    """By how much a table's words are louder than its weights (Gemma multiplies them by the root of the width)."""
    ids = torch.arange(min(len(table.weight), 256), device=table.weight.device)
    spoken, stored = table(ids).float().norm(), table.weight[ids].float().norm()
    return float(spoken / stored) if bool(stored) else 1.0


@torch.no_grad()
def check_head(model: SeagullForConditionalGeneration) -> None:
    """Compares our logits with the language model's own on a few words.

    Raises:
        ConfigError: they differ, so the family does something that :func:`finish_logits` does not know; or it has
            layers that cannot be read.
    """
    attention_windows(model.config.text_config)
    ids = torch.arange(_PROBE, device=model.get_input_embeddings().weight.device)[None]
    training = model.training
    model.eval()
    own, ours = model.language_model(input_ids=ids).logits.float(), model(input_ids=ids).logits.float()
    model.train(training)
    apart = float((own - ours).abs().max())
    if apart > _TOLERANCE * max(1.0, float(own.abs().max())):
        raise ConfigError(
            f"The language model {model.config.text_config.model_type!r} gives logits that are {apart:.3g} away from "
            "those of its output head: its family does something to them that seagull_tune/model/families.py does not "
            "know. Choose another language model, or add it there."
        )
