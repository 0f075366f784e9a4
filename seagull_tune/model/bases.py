"""The pre-trained parts a model starts from, and the references by which checkpoints name them.

``embedded:NAME@sha256`` is a model that the package index carries; ``hub:ID@revision`` one of the model hub. A
checkpoint never names a path of one machine, nor a branch of the hub, whose head moves: it names the commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
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
_COMMIT = re.compile(r"[0-9a-f]{40}")


@contextmanager
def _asking_the_hub(reference: str) -> Iterator[None]:
    """Turns what the libraries say of a hub that does not answer, or does not know a repository, into one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        if not reference.startswith("hub:"):
            raise
        raise CheckpointError(
            f"{reference} cannot be read: {' '.join(str(error).split())[:300].rstrip('. ')}. Check its name and "
            "revision, and that the model hub can be reached from here (a gated model also wants `hf auth login`); "
            "what was fetched before is read without the hub."
        ) from error


def pin(reference: str) -> str:
    """Makes a reference name one model for ever.

    ``embedded:NAME`` -> ``embedded:NAME@sha256``; a branch or tag of a hub repository -> the commit that it is now.

    Raises:
        ConfigError: not a reference, or a hub reference without a revision.
        CheckpointError: the hub does not say what commit a branch is.
    """
    kind, name, version = split_reference(reference)
    if kind == "embedded":
        embedded.ensure(name)
        return f"embedded:{name}@{embedded.fingerprint(name)}"
    if not version:
        raise ConfigError(
            f"Base {reference!r} has no revision; write hub:{name}@REVISION so that a run can be repeated."
        )
    if _COMMIT.fullmatch(version):
        return reference
    with _asking_the_hub(reference):
        file = Path(hf_hub_download(name, "config.json", revision=version))
    return f"hub:{name}@{file.parent.name}"  # the cache keeps files in folders that are named by their commit


def fetch(reference: str, ask_hub: bool = True) -> Path:
    """The folder of all files of a hub repository, whose name is their commit; ``ask_hub`` False: as fetched before.

    Raises:
        ConfigError: not a reference of the hub.
        CheckpointError: it cannot be read.
    """
    kind, name, version = split_reference(reference)
    if kind != "hub" or not version:
        raise ConfigError(f"{reference!r} names no repository of the model hub; write hub:ID@REVISION.")
    with _asking_the_hub(reference):
        return Path(snapshot_download(name, revision=version, local_files_only=not ask_hub))


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
    with _asking_the_hub(reference):
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(place, dtype="float32", **options)
    return model


def load_text_config(reference: str) -> PreTrainedConfig:
    """The configuration of the language model that a reference names."""
    place, options = _locate(reference)
    with _asking_the_hub(reference):
        config: PreTrainedConfig = AutoConfig.from_pretrained(place, **options)
    config.name_or_path = ""  # a folder of this machine; the checkpoint names its bases by reference
    return config


def load_tokenizer(reference: str) -> PreTrainedTokenizerBase:
    """The tokenizer of the language model that a reference names."""
    place, options = _locate(reference)
    with _asking_the_hub(reference):
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
        with _asking_the_hub(reference):
            backbone, _ = build_backbone(backbone_name, pretrained=True, pretrained_cfg_overlay=overlay)
        return dict(backbone.state_dict())
    folder = Path(_locate(reference)[0])
    return load_file(folder / "model.safetensors")
