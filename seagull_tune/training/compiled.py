"""Layers of the language model as torch compiles them (``optimisation.compile``)."""

from __future__ import annotations

import os
import shutil

import torch

from seagull_tune.errors import ConfigError, MissingDependencyError
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.training.engines import engine_from_launch

_COMPILERS = ("c++", "g++", "clang++")


def check_compiling() -> None:
    """Refuses to compile where it would fail at the first step.

    Raises:
        MissingDependencyError: there is no GPU, and no C++ compiler, which code for processors needs.
        ConfigError: the launcher's engine spreads weights over processes, layer by layer, which cuts compiled code.
    """
    if not torch.cuda.is_available() and not any(shutil.which(os.environ.get("CXX") or name) for name in _COMPILERS):
        raise MissingDependencyError(
            "optimisation.compile is on, and without a GPU it needs a C++ compiler: install one (Debian, Ubuntu: "
            "apt-get install g++), or set it to false."
        )
    engine = engine_from_launch(os.environ)
    if engine is not None and engine.shards_weights:
        raise ConfigError(
            f"optimisation.compile is on, and the launcher asked for {engine.name}, which spreads weights over "
            "processes: set it to false, or start with configs/accelerate/ddp.yaml or zero2-*.yaml."
        )


def compile_layers(model: SeagullForConditionalGeneration, backend: str = "inductor") -> int:
    """Compiles every layer of the language model's decoder, in place: names, weights and checkpoints stay as they are.

    Layers, because they are alike, so that the first one's code serves all; pictures with their ragged regions stay
    outside. Sequences may be of any length.

    Args:
        model: frozen and adapted as the stage says.
        backend: of ``torch.compile``.

    Returns:
        How many layers there are.
    """
    layers: torch.nn.ModuleList = model.decoder.layers  # type: ignore[assignment]
    for layer in layers:
        layer.compile(backend=backend, dynamic=True)
    return len(layers)
