"""What is known of a training before it starts: for its record, and for the card of its model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState

from seagull_tune.config.train import TrainConfig
from seagull_tune.model.card_sections import CONVERTED
from seagull_tune.model.checkpoint import model_digest, read_manifest
from seagull_tune.model.seen import PHOTOGRAPHS, photographs_after
from seagull_tune.training.arguments import device_names, engine_in_use
from seagull_tune.training.stages import PartRow
from seagull_tune.tune.samples import TrainingSamples


def run_facts(
    config: TrainConfig, samples: TrainingSamples, table: Sequence[PartRow], derived_from: Mapping[str, str]
) -> dict[str, Any]:
    """What a run trains, on what data and what devices, as plain values; every process must ask.

    Args:
        config: the run.
        samples: its training samples.
        table: the parts of the model, as the stage trains them.
        derived_from: part -> base that it comes from.
    """
    rows = samples.rows
    return {
        "seed": config.seed,
        "engine": engine_in_use(),
        "world_size": PartialState().num_processes,
        "devices": device_names(),
        "threads": torch.get_num_threads(),
        "derived_from": dict(derived_from),
        "earlier": [] if config.init is None else earlier_rounds(Path(config.init)),
        "data": {
            "fingerprint": rows.fingerprint,
            **{key: rows.manifest.get(key) for key in ("config_hash", "recipe_hash", "label_source", "licence")},
            # Imported labels come from no measure of ours.
            "measure": rows.manifest.get("versions", {}).get("measure"),
            "label_method": rows.manifest.get("labels", {}).get("method"),
            "sizes": {split: asdict(size) for split, size in rows.sizes.items()},
            "rows_visited": len(samples.chosen),
            PHOTOGRAPHS: photographs_after(rows, None if config.init is None else Path(config.init)),
        },
        "parts": [asdict(row) for row in table],
    }


def earlier_rounds(init: Path) -> list[dict[str, Any]]:
    """What a checkpoint went through before: the trainings whose result it is, oldest first, the last being its own."""
    manifest = read_manifest(init)
    training = manifest.get("training") or {}
    converted = (manifest.get("resolved_config") or {}).get(CONVERTED)
    if converted is not None:
        return [{"model": model_digest(init), CONVERTED: converted["format"]}]
    own = {
        "model": model_digest(init),
        "steps": training.get("steps"),
        "data": training.get("data", {}).get("config_hash"),
        "trained": {row["part"]: row["mode"] for row in training.get("parts", []) if row["trained"]},
    }
    return [*training.get("earlier", []), own]
