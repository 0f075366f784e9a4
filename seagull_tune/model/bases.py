"""The pre-trained parts a model starts from, and the references by which checkpoints name them.

``embedded:NAME@sha256`` is a model that the package index carries; ``hub:ID@revision`` one of the model hub. A
checkpoint never names a path of one machine.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from seagull_tune import embedded
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.model.vision_tower import build_backbone

_KINDS = ("embedded", "hub")


def pin(reference: str) -> str:
    """Adds the version to a reference: ``embedded:NAME`` -> ``embedded:NAME@sha256``; a hub reference brings its own.

    Raises:
        ConfigError: not a reference, or a hub reference without a revision.
    """
    kind, name, version = split_reference(reference)
    if kind == "embedded":
        embedded.ensure(name)
        return f"embedded:{name}@{embedded.fingerprint(name)}"
    if not version:
        raise ConfigError(
            f"Base {reference!r} has no revision; write hub:{name}@REVISION so that a run can be repeated."
        )
    return reference


def split_reference(reference: str) -> tuple[str, str, str]:
    """Kind (``embedded`` or ``hub``), name and version ("" where there is none) of a reference.

    Raises:
        ConfigError: it is none.
    """
    kind, _, rest = reference.partition(":")
    name, _, version = rest.partition("@")
    if kind not in _KINDS or not name:
        raise ConfigError(f"Base {reference!r} is not a reference; allowed: embedded:NAME or hub:ID@REVISION.")
    return kind, name, version


def _locate(reference: str) -> tuple[str, dict[str, str]]:
    """Folder or hub id, and the keyword arguments that ``from_pretrained`` needs."""
    kind, name, version = split_reference(reference)
    if kind == "hub":
        return name, {"revision": version}
    folder = embedded.ensure(name)
    if version and version != embedded.fingerprint(name):
        raise CheckpointError(
            f"Base {reference!r} is not the model that this version of Seagull-Tune brings "
            f"({embedded.fingerprint(name)}); use the version that made the checkpoint."
        )
    return str(folder), {}


def load_language_model(reference: str) -> PreTrainedModel:
    """The causal language model that a reference names, float32."""
    place, options = _locate(reference)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(place, dtype="float32", **options)
    return model


def load_text_config(reference: str) -> PreTrainedConfig:
    """The configuration of the language model that a reference names."""
    place, options = _locate(reference)
    config: PreTrainedConfig = AutoConfig.from_pretrained(place, **options)
    config.name_or_path = ""  # a folder of this machine; the checkpoint names its bases by reference
    return config


def load_tokenizer(reference: str) -> PreTrainedTokenizerBase:
    """The tokenizer of the language model that a reference names."""
    place, options = _locate(reference)
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(place, **options)
    return tokenizer


def load_tower_weights(reference: str, backbone_name: str) -> dict[str, Tensor]:
    """Weights of a timm backbone (an embedded one brings its classifier too), as a state dict.

    Args:
        reference: where they come from; a hub reference names a timm repository of the model hub.
        backbone_name: timm name of the architecture.
    """
    kind, name, version = split_reference(reference)
    if kind == "hub":
        overlay = {"hf_hub_id": f"{name}@{version}"}
        backbone, _ = build_backbone(backbone_name, pretrained=True, pretrained_cfg_overlay=overlay)
        return dict(backbone.state_dict())
    folder = Path(_locate(reference)[0])
    return load_file(folder / "model.safetensors")
