"""Builds an ROI data set: plans the shards, builds those that are missing, and closes the folder.

    sources -> splits -> plan -> shards (data_builders.shards, any number of processes) -> dataset.json

The build may be killed at any moment; the same call goes on where it was. The result is the same bytes for any
number of workers.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import filelock
import numpy as np
import pyarrow as pa

from data_builders.card import write_card
from data_builders.executors import make_executor
from data_builders.labelers import make_labeler
from data_builders.progress import progress_bar
from data_builders.regions import label_map_file, sam_weights_hash
from data_builders.shards import PARTIAL_SUFFIX, Failure, ShardSummary, ShardTask, build_shard
from data_builders.sources import SourceImage, list_sources
from data_builders.splits import assign_splits
from seagull_tune import __version__
from seagull_tune.config.data import SPLITS, BuildConfig, SplitName
from seagull_tune.data.schema import MANIFEST, SCHEMA_VERSION, read_manifest
from seagull_tune.distortions.compression import codec_versions
from seagull_tune.distortions.severity import severity_table
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write_text, sha256_of
from seagull_tune.images import is_raw
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.raw import raw_versions

_LOCK = ".lock"
_NOT_IDENTITY = {"workers", "executor", "ray_address", "source", "licence"}
"""Settings that do not change the rows: where the photographs lie is not what they are (their content is hashed)."""


@dataclass(frozen=True)
class BuildPlan:
    """What a build will do.

    Attributes:
        config: the resolved configuration.
        sources: the photographs, in order.
        splits: scene -> split.
        shards: one task per shard.
        config_hash: of everything that the result depends on.
    """

    config: BuildConfig
    sources: tuple[SourceImage, ...]
    splits: Mapping[str, SplitName]
    shards: tuple[ShardTask, ...]
    config_hash: str

    def describe(self) -> str:
        """The plan as a person reads it."""
        names = sorted(self.splits.values(), key=SPLITS.index)
        counts = ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
        return (
            f"{len(self.sources)} photographs ({len(names)} scenes: {counts}) from {self.config.source}, "
            f"regions: {self.config.regions.method}, {self.config.samples_per_image} samples per image, "
            f"{len(self.shards)} shards, {self.config.workers} workers, seed {self.config.seed}"
        )


@dataclass(frozen=True)
class BuildSummary:
    """What a build left behind.

    Attributes:
        folder: the data set.
        n_images, n_regions, n_samples: what it holds.
        n_shards: its shards; ``n_built`` of them were built now, the others were there.
        failed: the photographs that could not be built, with reasons.
        recipe_hash: identifies the recipes of all samples, whatever the shards.
        seconds: time this call took.
    """

    folder: Path
    n_images: int
    n_regions: int
    n_samples: int
    n_shards: int
    n_built: int
    failed: tuple[Failure, ...]
    recipe_hash: str
    seconds: float

    def describe(self) -> str:
        """The summary as a person reads it; failed photographs are listed."""
        heading = (
            f"{self.folder}: {self.n_samples} samples of {self.n_images} images with {self.n_regions} regions, "
            f"{self.n_built} of {self.n_shards} shards built now in {self.seconds:.1f} s, {len(self.failed)} failed"
        )
        return "\n".join([heading, *(f"  failed: {failure.image_id}: {failure.reason}" for failure in self.failed)])


def plan_build(config: BuildConfig, out: str | Path, show_progress: bool = True) -> BuildPlan:
    """Find the photographs, divide them, and cut the work into shards; writes nothing.

    Raises:
        DataError: no photographs, or a split or selection that cannot be made.
        MissingDependencyError: a built-in photograph cannot be fetched.
    """
    with progress_bar("Looking at photographs", "files", show_progress) as tick:
        sources = tuple(list_sources(config, tick))
    splits = assign_splits((source.scene_id for source in sources), config.split)
    digest = _config_hash(config, sources)
    size = config.shard_images
    groups = [sources[i : i + size] for i in range(0, len(sources), size)]
    shards = tuple(
        ShardTask(
            out=Path(out),
            name=f"shard-{index:05d}-of-{len(groups):05d}-{digest[:12]}.parquet",
            config_hash=digest,
            config=config,
            sources=group,
            splits={source.scene_id: splits[source.scene_id] for source in group},
        )
        for index, group in enumerate(groups)
    )
    return BuildPlan(config, sources, splits, shards, digest)


def build_dataset(config: BuildConfig, out: str | Path, show_progress: bool = True) -> BuildSummary:
    """Build a data set, or finish one that was begun with the same configuration.

    Args:
        config: what to build.
        out: folder of the data set; made where it does not exist.
        show_progress: whether progress is shown on standard error.

    Returns:
        What the folder holds now. ``failed`` lists the photographs that could not be built.

    Raises:
        DataError: the folder holds something else or another data set, another build is running in it, it cannot be
            written (disk full), or every photograph failed.
        MissingDependencyError: a built-in photograph cannot be fetched.
    """
    started = time.monotonic()
    folder = Path(out)
    plan = plan_build(config, folder, show_progress)
    _refuse_foreign_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DataError(f"Another build is running in {folder}. Wait for it, or build into another folder.") from None
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error}.") from error
    try:
        n_built = _build_under_lock(plan, folder, show_progress)
        summary = _close(plan, folder, n_built)
    finally:
        lock.release()
    return replace(summary, seconds=time.monotonic() - started)


def _build_under_lock(plan: BuildPlan, folder: Path, show_progress: bool) -> int:
    """Build the missing shards; returns how many."""
    manifest = _manifest(plan)
    if (folder / MANIFEST).exists():
        _refuse_other_build(read_manifest(folder), manifest, folder)
    else:
        _write_manifest(folder, manifest)
    for left in [*folder.glob(f"*/*{PARTIAL_SUFFIX}"), *folder.glob(f"*{PARTIAL_SUFFIX}")]:
        left.unlink()  # of a killed build: nobody else writes here while we hold the lock
    todo = [task for task in plan.shards if not (task.samples_file.exists() and task.images_file.exists())]
    n_done = len(plan.shards) - len(todo)
    with progress_bar("Building", "shards", show_progress and bool(todo)) as tick:
        for done, _ in enumerate(make_executor(plan.config).run(build_shard, todo), start=1):
            tick(n_done + done, len(plan.shards))
    return len(todo)


def _close(plan: BuildPlan, folder: Path, n_built: int) -> BuildSummary:
    """Add up the shards and mark the data set as complete."""
    parts = [ShardSummary.read(task) for task in plan.shards]
    failed = tuple(failure for part in parts for failure in part.failed)
    n_samples = sum(part.n_samples for part in parts)
    if not n_samples:
        reasons = "\n".join(f"  {failure.image_id}: {failure.reason}" for failure in failed[:10])
        raise DataError(f"No photograph could be built; the data set {folder} would be empty:\n{reasons}")
    total = sum(int(part.recipe_sum, 16) for part in parts) % 2**256
    recipe_hash = hashlib.sha256(f"{total:064x}".encode()).hexdigest()
    summary = BuildSummary(
        folder=folder,
        n_images=sum(part.n_images for part in parts),
        n_regions=sum(part.n_regions for part in parts),
        n_samples=n_samples,
        n_shards=len(parts),
        n_built=n_built,
        failed=failed,
        recipe_hash=recipe_hash,
        seconds=0.0,
    )
    stated = {"image_root": _image_root(plan.config), "licence": plan.config.licence}
    manifest = _manifest(plan) if n_built else {**read_manifest(folder), **stated}
    counts = {name: getattr(summary, name) for name in ("n_images", "n_regions", "n_samples", "n_shards")}
    _write_manifest(
        folder,
        {**manifest, "complete": True, **counts, "recipe_hash": recipe_hash, "failed": [asdict(f) for f in failed]},
    )
    write_card(folder)
    return summary


def _config_hash(config: BuildConfig, sources: tuple[SourceImage, ...]) -> str:
    """SHA-256 over all that the rows depend on: settings, photographs, label maps or weights, measure, schema ..."""
    identity = {
        "config": _identity(config),
        "sources": [(source.image_id, source.scene_id, source.source, source.sha256) for source in sources],
        "label_maps": [_file_hash(label_map_file(source, config.regions)) for source in sources],
        "sam_weights": sam_weights_hash(config.regions),
        "measure": _measure(config),
        "severities": severity_table().model_dump(mode="json"),
        "schema": SCHEMA_VERSION,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _identity(config: BuildConfig) -> dict[str, Any]:
    values = config.model_dump(mode="json", exclude=_NOT_IDENTITY)
    values["regions"].pop("dir")  # the label maps' content is hashed instead
    values["regions"].pop("sam")
    if config.regions.method == "sam":
        values["regions"]["sam"] = config.regions.sam.identity()  # and here the content of the weights
    return values


def _file_hash(path: Path | None) -> str | None:
    return None if path is None else sha256_of(path)


def _image_root(config: BuildConfig) -> str | None:
    folder = Path(config.source)
    return str(folder.resolve()) if folder.is_dir() else None


def _measure(config: BuildConfig) -> dict[str, Any]:
    """What tells the labels: version and calibration."""
    labeler = make_labeler(config.labels)
    calibration = labeler.calibration
    return {
        "version": labeler.version,
        "calibration": None if calibration is None else calibration.model_dump(mode="json"),
    }


def _manifest(plan: BuildPlan) -> dict[str, Any]:
    labeler = make_labeler(plan.config.labels)
    return {
        "schema_version": SCHEMA_VERSION,
        "complete": False,
        "config_hash": plan.config_hash,
        "config": {"source": plan.config.source, **_identity(plan.config)},
        "image_root": _image_root(plan.config),
        "licence": plan.config.licence,
        "label_source": f"full-reference measure {labeler.version}, against the photograph as it was",
        "labels": {"method": plan.config.labels.method, **_measure(plan.config)},
        "prompts": dict(load_prompts().versions),
        "versions": {
            "seagull_tune": __version__,
            "measure": labeler.version,
            "numpy": np.__version__,
            "opencv": cv2.__version__,
            "pyarrow": pa.__version__,
            **codec_versions(),
            **(raw_versions() if any(is_raw(source.path) for source in plan.sources) else {}),
        },
    }


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    path = folder / MANIFEST
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            atomic_write_text(path, text)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error}. Run the same build again once it can.") from error


def _refuse_foreign_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; name a folder for the data set.")
    if folder.is_dir() and not (folder / MANIFEST).exists():
        others = sorted(path.name for path in folder.iterdir() if not path.name.startswith((".", MANIFEST)))
        if others:
            raise DataError(
                f"{folder} is not empty and is no data set (it holds {', '.join(others[:3])}); name a new folder."
            )


def _refuse_other_build(old: dict[str, Any], new: dict[str, Any], folder: Path) -> None:
    """A folder holds one data set: the same configuration, and, until it is finished, the same library versions."""
    remedy = "Build into another folder, or remove this one."
    if old["config_hash"] != new["config_hash"]:
        changes = _differences(old["config"], new["config"])
        changes = [change for change in changes if not change.startswith("source:")] or [
            "the photographs, their label maps, the measure or the severity table changed"
        ]
        raise DataError(
            f"{folder} holds a data set of another configuration:\n"
            + "\n".join(f"  {change}" for change in changes)
            + f"\n{remedy}"
        )
    if not old["complete"]:
        changes = _differences(old["versions"], new["versions"])
        if changes:
            raise DataError(
                f"{folder} was begun with other library versions, and one data set must not mix them:\n"
                + "\n".join(f"  {change}" for change in changes)
                + f"\nInstall those versions to finish it. Otherwise: {remedy[0].lower()}{remedy[1:]}"
            )


def _differences(old: dict[str, Any], new: dict[str, Any], at: str = "") -> list[str]:
    """One line per value that differs: dotted key, old value, new value."""
    lines = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            lines += _differences(a, b, f"{at}{key}.")
        elif a != b:
            lines.append(f"{at}{key}: was {a!r}, is now {b!r}")
    return lines
