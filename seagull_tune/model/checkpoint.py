"""The checkpoint contract: what every save holds, how it is written, and how strictly it is read.

    config.json          sizes, token ids, and the bases by reference
    trained.safetensors  every tensor that does not come from a base: MFE, heads, projector, scales, constants
    adapter/             the language model's adapters (peft's own format), where it has any
    checkpoint.json      format version, the list of tensors, the resolved training configuration, facts for the card
    processor_config.json, tokenizer files
    prompts/             the prompt files, where the run brought its own
    calibration.json     how its scores are calibrated, once `calibrate` was run on it (model/calibration.py)

A model without bases holds all weights in ``trained.safetensors`` and is self-contained. The folder appears atomically.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from seagull_tune import __version__
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import CheckpointError
from seagull_tune.files import atomic_folder, sha256_of
from seagull_tune.model import bases
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.lora import (
    ADAPTER_FOLDER,
    ADAPTER_WEIGHTS,
    has_lora,
    is_lora_parameter,
    load_adapter_weights,
    load_lora,
    plain_name,
    save_lora,
)
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.places import portable
from seagull_tune.model.quantize import plain_state, quantize, rounded

FORMAT_VERSION = 1
MANIFEST = "checkpoint.json"
TRAINED = "trained.safetensors"
PROMPTS_FOLDER = "prompts"
CALIBRATED = "+"
"""Between the id of a model and the hash of the calibration that its answers went through."""
_CONFIG = "config.json"
_ADAPTER_CONFIG = "adapter_config.json"
_AGAIN = "Copy the whole folder again, or train again."
_OTHER_PARTS = "Its parts are those of another version of Seagull-Tune: train again, or use that version."
_PROCESSOR_FILES = ("processor_config.json", "tokenizer_config.json", "tokenizer.json")
# What torch.save says of a full disk; it has no error class of its own for that.
_TORCH_WRITE_ERRORS = ("iostream", "inline_container", "PytorchStreamWriter")
_BASE_PREFIXES = {"language_model": "language_model.", "vision_tower": "vision_tower."}


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns what the libraries say of a full disk or a forbidden folder into one sentence.

    Raises:
        CheckpointError: something could not be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _TORCH_WRITE_ERRORS):
            raise
        raise CheckpointError(
            f"{folder} cannot be written: {str(error).splitlines()[0]}. Free some disk and go on with --resume; "
            "earlier checkpoints are whole."
        ) from error


def save_checkpoint(
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor | None,
    folder: Path,
    resolved: Mapping[str, Any] | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
    prompts: Path | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Writes a checkpoint folder, atomically.

    Args:
        model: the model.
        processor: its processor; a folder without one can only be read by code that brings its own.
        folder: where to; an existing checkpoint there is replaced.
        resolved: the resolved configuration of the run, for the record, without paths of this machine
            (:func:`~seagull_tune.model.places.portable`).
        state_dict: full weights gathered by the engine, where the model's own are sharded.
        prompts: folder of the prompt files that it was tuned with, where they are not the package's own.
        training: what is known of the finished training, as plain values, for the model card.

    Raises:
        CheckpointError: it cannot be written; what was there stays.
    """
    with writing(Path(folder)), atomic_folder(Path(folder)) as staging:
        write_model(model, staging, resolved, state_dict, training)
        if processor is not None:
            processor.save_pretrained(staging)
        if prompts is not None:
            shutil.copytree(prompts, staging / PROMPTS_FOLDER)


def write_model(
    model: SeagullForConditionalGeneration,
    folder: Path,
    resolved: Mapping[str, Any] | None = None,
    state_dict: Mapping[str, Tensor] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """The model's part of a checkpoint, into an existing folder."""
    state = plain_state(model, state_dict)
    # Names as they are without adapters: a reader builds the bare model first and puts the adapters in afterwards.
    trained = _unshared({plain_name(name): tensor for name, tensor in state.items() if _is_own(name, model.config)})
    prefix = _BASE_PREFIXES["language_model"]
    adapters = {name.removeprefix(prefix): tensor for name, tensor in state.items() if _is_adapter(name)}
    empty = [name for name, tensor in (trained | adapters).items() if tensor.numel() == 0]
    if has_lora(model.language_model) and not adapters:
        empty = ["every adapter"]
    if empty:
        raise CheckpointError(
            f"{len(empty)} tensors are empty ({empty[0]}, ...): the engine did not gather its shards; "
            "nothing was saved."
        )
    model.config.save_pretrained(folder)
    save_file(trained, folder / TRAINED, metadata={"format": "pt"})
    if adapters:
        save_lora(model.language_model, folder / ADAPTER_FOLDER, adapters)
    manifest = {
        "format": "seagull-tune-checkpoint",
        "version": FORMAT_VERSION,
        "written_by": __version__,
        "adapter": bool(adapters),
        "tensors": {name: list(tensor.shape) for name, tensor in trained.items()},
        "sha256": sha256_of(folder / TRAINED),
        "adapter_sha256": sha256_of(folder / ADAPTER_FOLDER / ADAPTER_WEIGHTS) if adapters else None,
        "resolved_config": dict(resolved or {}),
        "training": None if training is None else dict(training),
    }
    _write_manifest(folder, manifest)


def _write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def copy_checkpoint(folder: Path, target: Path) -> None:
    """Copies a checkpoint into another folder, which may hold more; what it says of places fits the new one.

    Raises:
        CheckpointError: ``folder`` is no checkpoint.
        OSError: it cannot be copied.
    """
    manifest = read_manifest(folder)
    shutil.copytree(folder, target, dirs_exist_ok=True)
    told = portable(manifest.get("resolved_config") or {}, target, start=folder)
    _write_manifest(target, {**manifest, "resolved_config": told})


def _unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors; tied ones are copied, since a safetensors file cannot hold two names for one storage."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        out[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    return out


def _is_own(name: str, config: SeagullConfig) -> bool:
    """Whether a tensor is written to ``trained.safetensors`` (neither a base's nor an adapter's)."""
    return not _is_adapter(name) and not any(name.startswith(_BASE_PREFIXES[part]) for part in config.bases or {})


def _is_adapter(name: str) -> bool:
    return name.startswith(_BASE_PREFIXES["language_model"]) and is_lora_parameter(name)


def _check_content(path: Path, sha256: str | None, holds: str) -> None:
    """Refuses a file of a checkpoint that is missing or is not the one that was saved."""
    if not path.is_file():
        raise CheckpointError(
            f"{path} is missing: the checkpoint has no {holds}. Copy the whole folder, or train again."
        )
    if sha256_of(path) != sha256:
        raise CheckpointError(
            f"{path}: its content does not match {MANIFEST}; the file is damaged or from another checkpoint. {_AGAIN}"
        )


def read_manifest(folder: Path) -> dict[str, Any]:
    """The checked manifest of a checkpoint.

    Raises:
        CheckpointError: not a checkpoint, or of a version that this program does not read.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: {MANIFEST} is missing. This is not a Seagull-Tune checkpoint, or its save was cut off."
        )
    manifest = _read_object(path)
    if manifest.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{folder}: checkpoint format version {manifest.get('version')!r}, written by Seagull-Tune "
            f"{manifest.get('written_by', 'of an unknown version')}; this program reads {FORMAT_VERSION}. Use the "
            "version that wrote it, or train again."
        )
    lacks = [key for key in ("sha256", "adapter") if key not in manifest]
    if manifest.get("adapter") and not isinstance(manifest.get("adapter_sha256"), str):
        lacks.append("adapter_sha256")
    if lacks:
        raise CheckpointError(f"{path} lacks {', '.join(lacks)}. {_AGAIN}")
    wrong = [key for key in ("resolved_config", "training") if not isinstance(manifest.get(key) or {}, dict)]
    if wrong:
        raise CheckpointError(f"{path} is damaged ({', '.join(wrong)} is no group of keys). {_AGAIN}")
    return manifest


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object: the libraries answer half a file with a traceback, or with their defaults."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). {_AGAIN}") from error
    if not isinstance(value, dict) or not value:
        raise CheckpointError(f"{path} is damaged (it holds {str(value)[:40]}). {_AGAIN}")
    return value


def model_id(folder: Path) -> str:
    """Name and content hash by which answers say which model gave them."""
    resolved = Path(folder).resolve()
    name = resolved.parent.name if resolved.name == "model" else resolved.name
    return f"{name}@{model_digest(folder)}"


def model_digest(folder: Path) -> str:
    """Content hash of a model, wherever its folder lies: 12 hex digits over the hashes of its weight files."""
    manifest = read_manifest(folder)
    digest = hashlib.sha256(manifest["sha256"].encode())
    if manifest["adapter"]:
        digest.update(manifest["adapter_sha256"].encode())
    return digest.hexdigest()[:12]


def read_bases(folder: Path) -> dict[str, str]:
    """Part -> reference of the bases that a checkpoint names; empty where it holds all weights itself."""
    return dict(_read_object(Path(folder) / _CONFIG).get("bases") or {})


def read_quantization(folder: Path) -> str | None:
    """``nf4`` where a checkpoint's adapters were trained on 4-bit weights, else None."""
    return _read_object(Path(folder) / _CONFIG).get("quantize")


def load_checkpoint(folder: Path, trainable: bool = False) -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    """Reads a checkpoint with its processor.

    Args:
        folder: the checkpoint.
        trainable: whether its adapters will be trained further.

    Raises:
        CheckpointError: not a checkpoint, damaged, incomplete (every missing tensor is named), or of another version.
    """
    read_manifest(folder)
    _check_files(Path(folder), _PROCESSOR_FILES)
    model = load_model(Path(folder), trainable)
    processor: SeagullProcessor = SeagullProcessor.from_pretrained(str(folder))
    if processor.image_grid**2 != model.config.n_image_tokens:
        raise CheckpointError(
            f"{folder}: the processor lays out {processor.image_grid**2} image tokens, "
            f"the model has {model.config.n_image_tokens}."
        )
    if tuple(processor.layout.region_token_ids) != tuple(model.config.region_token_ids):
        raise CheckpointError(
            f"{folder}: the processor's placeholders of a region are {list(processor.layout.region_token_ids)}, "
            f"the model's {list(model.config.region_token_ids)}. {_AGAIN}"
        )
    return model, processor


def _check_files(folder: Path, names: Sequence[str]) -> None:
    """Refuses a folder that lacks one of these JSON files, or holds a damaged one."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder}: {', '.join(missing)} missing. Copy the whole folder, or train again.")
    for name in names:
        _read_object(folder / name)


def load_model(folder: Path, trainable: bool = False) -> SeagullForConditionalGeneration:
    """The model of a checkpoint, in evaluation mode; see :func:`load_checkpoint`."""
    manifest = read_manifest(folder)
    _check_files(folder, (_CONFIG,))
    kind = _read_object(folder / _CONFIG).get("model_type")
    if kind != SeagullConfig.model_type:
        # Otherwise transformers fills everything with its defaults, and a model of billions of weights is made.
        raise CheckpointError(f"{folder / _CONFIG}: model_type is {kind!r}, not {SeagullConfig.model_type!r}. {_AGAIN}")
    config = SeagullConfig.from_pretrained(str(folder))
    model = build_from_bases(config)
    load_trained(model, folder, manifest)
    if config.quantize is not None:
        # Only a run that goes on needs the small weights; to everyone else their rounded values are the same model.
        (quantize if trainable else rounded)(model.language_model)
    if manifest["adapter"]:
        model.language_model = load_lora(model.language_model, _checked_adapters(folder).parent, trainable)
    return model.eval()


def reload(model: SeagullForConditionalGeneration, folder: Path) -> None:
    """Puts the weights of a checkpoint into a model that is built already, adapters included, in place and strictly.

    Raises:
        CheckpointError: the checkpoint is damaged, or of another model; or it stands on other bases.
    """
    named, here = read_bases(folder), model.config.bases or {}
    if named != here:
        raise CheckpointError(
            f"{folder} stands on the bases {named or 'inside it'}, this model on {here or 'weights of its own'}: a "
            "branch of the hub moves on, and so does an update of this program. Name the same ones in the "
            "configuration (model.language_model, model.vision_tower)."
        )
    load_trained(model, folder, read_manifest(folder))
    if has_lora(model.language_model):
        load_adapter_weights(model.language_model, load_file(_checked_adapters(folder)))


def _checked_adapters(folder: Path) -> Path:
    path = folder / ADAPTER_FOLDER / ADAPTER_WEIGHTS
    _check_content(path, read_manifest(folder).get("adapter_sha256"), "adapters")
    _check_files(path.parent, (_ADAPTER_CONFIG,))
    return path


def build_from_bases(config: SeagullConfig) -> SeagullForConditionalGeneration:
    """A model whose bases are loaded and whose own parts are fresh."""
    references = config.bases or {}
    language_model = bases.load_language_model(references["language_model"]) if "language_model" in references else None
    model = SeagullForConditionalGeneration(config, language_model)
    if "vision_tower" in references:
        weights = bases.load_tower_weights(references["vision_tower"], config.vision_tower)
        result = model.vision_tower.backbone.load_state_dict(weights, strict=False)
        # A full classifier has a head that the feature extractor lacks; the other direction would be a real loss.
        if result.missing_keys:
            raise CheckpointError(
                f"{references['vision_tower']} lacks {len(result.missing_keys)} tensors of {config.vision_tower}: "
                f"{result.missing_keys[:3]} ..."
            )
    return model


def load_trained(model: SeagullForConditionalGeneration, folder: Path, manifest: Mapping[str, Any]) -> None:
    """Loads ``trained.safetensors`` into ``model``, in place, strictly."""
    path = folder / TRAINED
    _check_content(path, manifest["sha256"], "MFE")
    tensors = load_file(path)
    # Of 4-bit weights these are copies, but those are frozen: a run that goes on has them already.
    own = {plain_name(name): tensor for name, tensor in plain_state(model).items() if _is_own(name, model.config)}
    wanted = own.keys()
    missing, unknown = sorted(wanted - tensors.keys()), sorted(tensors.keys() - wanted)
    if missing or unknown:
        parts = sorted({name.split(".")[0] for name in missing})
        raise CheckpointError(
            f"{path}: {len(missing)} tensors missing (parts: {', '.join(parts) or 'none'}; first: {missing[:3]}), "
            f"{len(unknown)} unknown (first: {unknown[:3]}). {_OTHER_PARTS}"
        )
    wrong = [
        f"{n} {tuple(t.shape)} instead of {tuple(own[n].shape)}" for n, t in tensors.items() if t.shape != own[n].shape
    ]
    if wrong:
        raise CheckpointError(f"{path}: {len(wrong)} tensors of another shape: {'; '.join(wrong[:3])}. {_OTHER_PARTS}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
