"""A tuned model as one self-contained folder: adapters added into the weights, bases copied in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seagull_tune.errors import CheckpointError
from seagull_tune.model.calibration import load_calibration
from seagull_tune.model.card import origins, write_card
from seagull_tune.model.checkpoint import (
    PROMPTS_FOLDER,
    TRAINED,
    load_checkpoint,
    model_digest,
    model_id,
    read_manifest,
    save_checkpoint,
)
from seagull_tune.model.lora import has_lora, merge_lora
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.places import portable

_PROBE = 32


@dataclass(frozen=True)
class Merged:
    """What merging did: the new model's id, its size in bytes, and how far its logits moved (of the largest one)."""

    model_id: str
    size: int
    moved: float


def check_merge(folder: Path, out: Path) -> dict[str, Any]:
    """Checks before anything is loaded.

    Returns:
        The manifest of the checkpoint.

    Raises:
        CheckpointError: ``folder`` is no checkpoint, its calibration is of other weights, or ``out`` is there already.
    """
    manifest = read_manifest(folder)
    load_calibration(folder)
    if out.exists():
        raise CheckpointError(f"{out} is there already; choose another --out, or remove it.")
    return manifest


def merge_checkpoint(folder: Path, out: Path, tolerance: float = 1e-4) -> Merged:
    """Writes a checkpoint's model, merged, as a folder that needs no base, no adapters and no 4-bit kernels.

    Args:
        folder: any checkpoint.
        out: folder that does not exist; it appears whole or not at all.
        tolerance: how far logits may move, in parts of the largest one (or of 1, where that is smaller).

    Raises:
        CheckpointError: see :func:`check_merge`; the checkpoint is damaged; or the merged model says something else.
    """
    manifest = check_merge(folder, out)
    model, processor = load_checkpoint(folder)
    before = _probe(model)
    if has_lora(model.language_model):
        model.language_model = merge_lora(model.language_model)  # type: ignore[assignment]
    model.config.bases, model.config.quantize = None, None
    after = _probe(model)
    moved = float((after - before).abs().max()) / max(1.0, float(before.abs().max()))
    if not moved <= tolerance:
        raise CheckpointError(
            f"{folder}: merging moves the logits by {moved:.2g} of the largest, more than {tolerance}; nothing was "
            "written. Use the checkpoint as it is, and report this."
        )
    resolved = portable(manifest["resolved_config"], out, start=folder)
    prompts = folder / PROMPTS_FOLDER
    save_checkpoint(
        model.eval(), processor, out, resolved, prompts=prompts if prompts.is_dir() else None,
        training={**(manifest.get("training") or {}), "derived_from": origins(folder)},
    )  # fmt: skip
    calibration = load_calibration(folder)
    if calibration is not None:
        # What was fitted to the old weights holds for the new ones: they say the same.
        calibration.model_copy(update={"model": model_digest(out)}).save(out)
    write_card(out)
    return Merged(model_id(out), (out / TRAINED).stat().st_size, moved)


@torch.no_grad()
def _probe(model: SeagullForConditionalGeneration) -> Tensor:
    """Logits after words from all over the vocabulary."""
    rows = len(model.get_input_embeddings().weight)
    ids = torch.arange(_PROBE) * (rows // _PROBE) if rows >= _PROBE else torch.arange(rows)
    logits: Tensor = model(input_ids=ids[None]).logits.float()
    return logits
