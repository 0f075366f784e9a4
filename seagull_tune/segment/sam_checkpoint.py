"""SAM's weights and where they run: a checkpoint file that the user gives -> a loaded model. No pickled code runs."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seagull_tune.errors import CheckpointError, ConfigError, did_you_mean
from seagull_tune.files import sha256_of

if TYPE_CHECKING:
    import torch

_WIDTH_TO_TYPE = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


def weights_hash(checkpoint: Path | None) -> str:
    """SHA-256 of a checkpoint file, as 64 hex digits.

    Raises:
        CheckpointError: none was given, or there is no such file.
    """
    return sha256_of(_existing(checkpoint))


def load_sam(library: Any, checkpoint: Path | None, model_type: str | None = None) -> torch.nn.Module:
    """Build SAM and fill it; every tensor has to fit.

    Args:
        library: the package segment_anything.
        checkpoint: ``.pth`` or ``.safetensors`` file.
        model_type: ``vit_b``, ``vit_l`` or ``vit_h``; None reads it from the weights.

    Raises:
        CheckpointError: none was given, or it is missing, damaged, unsafe or not SAM's.
        ConfigError: an unknown type.
    """
    path = _existing(checkpoint)
    state = _read_state(path)
    if model_type is None:
        embedding = state.get("image_encoder.pos_embed")
        width = int(embedding.shape[-1]) if embedding is not None else 0
        if width not in _WIDTH_TO_TYPE:
            raise CheckpointError(
                f"{path}: not a SAM checkpoint: image_encoder.pos_embed has width {width or 'none'}; "
                f"allowed: {', '.join(f'{k} ({v})' for k, v in _WIDTH_TO_TYPE.items())}."
            )
        model_type = _WIDTH_TO_TYPE[width]
    if model_type not in library.sam_model_registry:
        raise ConfigError(f"Unknown SAM type {model_type!r}.{did_you_mean(model_type, _WIDTH_TO_TYPE.values())}")
    model = library.sam_model_registry[model_type]()
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    seen = {key: tuple(value.shape) for key, value in state.items()}
    wrong = sorted(key for key in expected.keys() | seen.keys() if expected.get(key) != seen.get(key))
    if wrong:
        key = wrong[0]
        raise CheckpointError(
            f"{path}: not a SAM {model_type} checkpoint: {len(wrong)} tensors differ, first {key!r} "
            f"(file: {seen.get(key, 'missing')}, model: {expected.get(key, 'missing')})."
        )
    model.load_state_dict(state)
    return model


def device_of(name: str) -> torch.device:
    """The device of a name, for example ``cpu`` or ``cuda:1``, tried out.

    Raises:
        ConfigError: there is none.
    """
    import torch

    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"SAM cannot run on the device {name!r}: {str(error).splitlines()[0]} Use 'cpu'.") from error
    return device


def _existing(checkpoint: Path | None) -> Path:
    if checkpoint is None:
        raise CheckpointError(
            "The segmenter 'sam' needs a checkpoint (sam_vit_b, sam_vit_l or sam_vit_h, as .pth or .safetensors), and "
            "none was given; name one, or use the segmenter 'graph', which needs no weights."
        )
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such SAM checkpoint. Check the path, or use the segmenter 'graph'.")
    return checkpoint


def _read_state(path: Path) -> Mapping[str, torch.Tensor]:
    """Tensors of a ``.pth`` or ``.safetensors`` file; never runs pickled code."""
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: the file is damaged or holds more than tensors, and is not loaded: pickled code could run "
            f"({str(error).splitlines()[0]}). Use the released checkpoint, or one in safetensors."
        ) from error
    except Exception as error:
        # torch and safetensors raise many types for damaged files; nothing goes on from here.
        raise CheckpointError(f"{path}: damaged SAM checkpoint ({error}). Download it again.") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(
            f"{path}: not a SAM checkpoint: a table of tensors is needed, got {type(state).__name__}."
        )
    return state
