"""The released SEAGULL layout: which files hold which tensors, and where each of them belongs in our model.

mask_extractor.*                     -> mfe.extractor.*
model.mm_projector.*                 -> projector.layers.*
model.vision_tower.*visual.trunk.*   -> vision_tower.backbone.*       (open_clip's names -> timm's)
model.embed_tokens|layers|norm, lm_head -> language_model.*
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seagull_tune.errors import CheckpointError

TOWER_PREFIX = "vision_tower.backbone."
_WEIGHTS = (".safetensors", ".bin")
_PEFT_PREFIX = "base_model.model."
_TRUNK = re.compile(r"(?:^|.*\.)visual\.trunk\.(.+)$")
_ABOVE_THE_MAPS = re.compile(r"(?:^|.*\.)visual\.(?:head\.|trunk\.(?:head|norm_pre)\.).+$")
_RECOMPUTED = re.compile(r"(?:^|.*\.)rotary_emb\.inv_freq$|(?:^|.*\.)position_ids$")


@dataclass(frozen=True)
class MappedTensor:
    """One tensor of a release.

    Attributes:
        name: there.
        target: its name in our model; None where it is not used.
        shape: its size.
        note: why it is not used.
    """

    name: str
    target: str | None
    shape: tuple[int, ...]
    note: str = ""


def weight_files(folder: Path) -> list[Path]:
    """Files of a folder that hold its weights: those of its index, or all of one kind, safetensors before ``.bin``.

    Raises:
        CheckpointError: there are none, or the index names some that are missing.
    """
    for suffix in _WEIGHTS:
        for index in sorted(folder.glob(f"*{suffix}.index.json")):
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise CheckpointError(
                    f"{folder}: {index.name} names {len(missing)} files that are missing: {', '.join(missing)}. "
                    "Fetch them, then convert again."
                )
            return [folder / name for name in names]
        files = [f for f in sorted(folder.glob(f"*{suffix}")) if f.stem not in ("training_args", "optimizer")]
        if files:
            return files
    raise CheckpointError(f"{folder} holds no weights: no file ends with {' or '.join(_WEIGHTS)}.")


def read_weights(file: Path) -> dict[str, Tensor]:
    """Tensors of one file, mapped into memory, nothing but tensors unpickled.

    Raises:
        CheckpointError: not readable, or it holds something else.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(
            f"{file} cannot be read as weights: {str(error).splitlines()[0]}. Fetch it again; pickles of torch before "
            "1.6, and files with code in them, are not opened."
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{file} holds something else than named tensors.")
    return state


def read_all(files: Collection[Path]) -> dict[str, Tensor]:
    """Tensors of all files.

    Raises:
        CheckpointError: one cannot be read, or two hold the same name.
    """
    found: dict[str, Tensor] = {}
    for file in files:
        tensors = read_weights(file)
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise CheckpointError(f"{file} holds {len(twice)} tensors that another file holds too, first: {twice[0]}.")
        found |= tensors
    return found


def plain(name: str) -> str:
    """A name without the prefix that peft leaves at merged models."""
    return name.removeprefix(_PEFT_PREFIX)


def map_release(tensors: Mapping[str, Tensor], tower_names: Collection[str]) -> list[MappedTensor]:
    """Where every tensor of a release belongs, sorted by name.

    Args:
        tensors: of the release.
        tower_names: names of the tensors of our vision tower.

    Raises:
        CheckpointError: adapters that are not merged, or tensors that nobody knows; all are named.
    """
    rows = [_mapped(name, tuple(tensor.shape), tower_names) for name, tensor in sorted(tensors.items())]
    adapters = [row.name for row in rows if "lora_" in row.name]
    if adapters:
        raise CheckpointError(
            f"The release holds {len(adapters)} tensors of adapters (first: {adapters[0]}); merge them into the "
            "language model first."
        )
    unknown = [row.name for row in rows if row.target is None and not row.note]
    if unknown:
        raise CheckpointError(
            f"{len(unknown)} tensors have no place in the released layout: {', '.join(unknown[:20])}"
            f"{' ...' if len(unknown) > 20 else ''}."
        )
    return rows


def map_tower(tensors: Mapping[str, Tensor], tower_names: Collection[str]) -> list[MappedTensor]:
    """The same for a file of the vision tower alone (a whole open_clip model: its text side is not used)."""
    rows = [_mapped(name, tuple(tensor.shape), tower_names) for name, tensor in sorted(tensors.items())]
    return [
        row
        if (row.target or "").startswith(TOWER_PREFIX)
        else MappedTensor(row.name, None, row.shape, row.note or "not part of the vision tower")
        for row in rows
    ]


def _mapped(name: str, shape: tuple[int, ...], tower_names: Collection[str]) -> MappedTensor:
    short = plain(name)
    extractor = short.removeprefix("model.").removeprefix("mask_extractor.")
    if extractor != short and "mask_extractor." in short:
        return MappedTensor(name, f"mfe.extractor.{extractor}", shape)
    if short.startswith("model.mm_projector."):
        layer = short.removeprefix("model.mm_projector.")
        return MappedTensor(name, f"projector.layers.{layer if layer[0].isdigit() else '0.' + layer}", shape)
    if _ABOVE_THE_MAPS.match(short):
        return MappedTensor(name, None, shape, "above the maps that are read")
    trunk = _TRUNK.match(short)
    if trunk:
        return MappedTensor(name, TOWER_PREFIX + _timm_name(trunk[1], tower_names), shape)
    if _RECOMPUTED.match(short):
        return MappedTensor(name, None, shape, "computed when the model is built")
    if short.startswith(("model.embed_tokens.", "model.layers.", "model.norm.", "lm_head.")):
        return MappedTensor(name, f"language_model.{short}", shape)
    return MappedTensor(name, None, shape)


def _timm_name(name: str, tower_names: Collection[str]) -> str:
    """timm's name in a tower that only gives maps: ``stages.0.x`` is ``stages_0.x`` there."""
    if name in tower_names:
        return name
    return re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", name)
