"""What a run will do, checked before anything is done, and what each stage's result depends on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_builders.pipeline import BuildPlan, plan_build
from seagull_tune.config.base import resolve_asset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.runs import QuickstartConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.schema import find_leaks
from seagull_tune.errors import DataError

Plans = Mapping[str, BuildPlan]

_NOT_RESULT = {
    "out",
    "data",
    "init",
    "cache_dir",
    "cache_front",
    "image_root",
    "workers",
    "log_every",
    "save_every",
    "keep",
    "report_to",
}
"""Keys of a training that change where and how often things are written, not what is trained."""


def describe(config: QuickstartConfig) -> list[str]:
    """The plan of a run in words; looks at nothing but the configuration."""
    test = f"test set from {config.test.source}" if config.test else "the data set's own test split"
    start = config.pretrain.init or config.pretrain.model.language_model
    return [
        f"Everything goes into {config.out}; finished stages are skipped when it is called again:",
        f"  1 data       {config.data.samples_per_image} samples per photograph from {config.data.source}",
        f"  2 pretrain   {_length(config.pretrain)}, from {start}",
        f"  3 finetune   {_length(config.finetune)}",
        f"  4 model      the checkpoint with baselines from the same data, {config.out}/model",
        f"  5 evaluate   on {test}; metrics.json, report.html and answer.json in {config.out}",
    ]


def _length(config: TrainConfig) -> str:
    steps, passes = config.optimisation.steps, config.optimisation.passes
    size = config.optimisation.batch_size * config.optimisation.accumulate
    return f"{steps} steps of {size} samples" if steps else f"{passes} passes over the data set"


def make_plans(config: QuickstartConfig) -> Plans:
    """The photographs of both data sets, found and divided; nothing is written.

    Raises:
        DataError: photographs are missing, or one is in training and in testing.
    """
    plans = {"data": plan_build(config.data, Path(config.out) / "data")}
    if config.test is not None:
        plans["test"] = plan_build(config.test, Path(config.out) / "test")
    leaks = find_leaks((s.scene_id, s.sha256, name) for name, plan in plans.items() for s in plan.sources)
    if leaks:
        raise DataError(
            f"{len(leaks)} photographs are in the training data and in the test data, for example: {leaks[0]} "
            "Select different parts in data.select and test.select."
        )
    return plans


def build_settings(config: BuildConfig, plan: BuildPlan) -> dict[str, Any]:
    """What a data set depends on; the plan's hash stands for the photographs' content."""
    return {**config.model_dump(mode="json", exclude={"workers", "max_pixels"}), "config_hash": plan.config_hash}


def train_settings(config: TrainConfig) -> dict[str, Any]:
    """What a training depends on, besides its data set and the stage before it."""
    settings = config.model_dump(mode="json", exclude=_NOT_RESULT)
    if config.losses.reads_text:
        settings["prompts"] = _texts_hash(Path(config.prompts) if config.prompts else resolve_asset("prompts"))
    return settings


def _texts_hash(folder: Path) -> str:
    """SHA-256 over the prompt files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.yaml")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
