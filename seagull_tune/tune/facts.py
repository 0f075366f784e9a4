"""What is known of a training before it starts: for its record, and for the card of its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from accelerate import PartialState

from seagull_tune.config.train import TrainConfig
from seagull_tune.training.arguments import device_names, engine_in_use
from seagull_tune.training.stages import PartRow
from seagull_tune.tune.samples import TrainingSamples


def run_facts(config: TrainConfig, samples: TrainingSamples, table: Sequence[PartRow]) -> dict[str, Any]:
    """What a run trains, on what data and what devices, as plain values; every process must ask.

    Args:
        config: the run.
        samples: its training samples.
        table: the parts of the model, as the stage trains them.
    """
    rows = samples.rows
    return {
        "seed": config.seed,
        "engine": engine_in_use(),
        "world_size": PartialState().num_processes,
        "devices": device_names(),
        "threads": torch.get_num_threads(),
        "data": {
            "fingerprint": rows.fingerprint,
            **{key: rows.manifest.get(key) for key in ("config_hash", "recipe_hash", "label_source", "licence")},
            # Imported labels come from no measure of ours.
            "measure": rows.manifest.get("versions", {}).get("measure"),
            "sizes": {split: asdict(size) for split, size in rows.sizes.items()},
            "rows_visited": len(samples.chosen),
        },
        "parts": [asdict(row) for row in table],
    }
