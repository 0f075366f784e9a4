"""Data sets of others -> our two tables, or (COCO) regions for `build`.

    importer (two passes: images, samples) -> rows -> shards -> manifest, data card

Pictures stay where they are: the rows name and hash them. An import appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
from datasets import Features

from data_builders.card import write_card
from data_builders.importers.base import Importer, Report, file_hash
from data_builders.importers.mos_csv import MosImporter
from data_builders.importers.pandabench import PandaImporter
from data_builders.importers.qground import QGroundImporter
from data_builders.importers.ratings import RatingImporter
from data_builders.importers.seagull_100w import SeagullImporter
from data_builders.progress import Tick, progress_bar
from data_builders.shards import Failure, write_table
from data_builders.splits import assign_splits
from seagull_tune import __version__
from seagull_tune.config.data import SplitName
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.data.schema import (
    IMAGES_DIR,
    IMAGES_FEATURES,
    MANIFEST,
    SAMPLES_DIR,
    SAMPLES_FEATURES,
    SCHEMA_VERSION,
    ImageRecord,
    image_to_row,
    sample_to_row,
    to_table,
)
from seagull_tune.errors import DataError, RegionError
from seagull_tune.files import atomic_folder, atomic_write_text, why_not_written

__all__ = ["ImportSummary", "import_dataset", "make_importer"]

Row = dict[str, Any]

_AGAIN = "Nothing of the import was kept: make room (or repair the folder's rights), then run it again."


@dataclass(frozen=True)
class ImportSummary:
    """What an import left behind.

    Attributes:
        folder: the data set.
        n_images, n_regions, n_samples: what it holds.
        failed: what was left out, with reasons.
    """

    folder: Path
    n_images: int
    n_regions: int
    n_samples: int
    failed: tuple[Failure, ...]

    def describe(self, limit: int = 20) -> str:
        """The summary as a person reads it; the first ``limit`` failures are listed."""
        counts = f"{self.n_samples} samples of {self.n_images} images with {self.n_regions} regions"
        lines = [f"{self.folder}: {counts}, {len(self.failed)} left out"]
        lines += [f"  left out: {failure.image_id}: {failure.reason}" for failure in self.failed[:limit]]
        if len(self.failed) > limit:
            lines.append(f"  ... and {len(self.failed) - limit} more (dataset.json, failed)")
        return "\n".join(lines)


def make_importer(config: ImportConfig) -> Importer:
    """The importer of a configuration's format.

    Raises:
        DataError: the source is not there, or not what the format says.
    """
    if config.format == "seagull":
        return SeagullImporter(config)
    if config.format == "mos":
        return MosImporter(config)
    if config.format == "ratings":
        return RatingImporter(config)
    return PandaImporter(config) if config.format == "pandabench" else QGroundImporter(config)


def import_dataset(config: ImportConfig, out: str | Path, show_progress: bool = True) -> ImportSummary:
    """Import a data set.

    Args:
        config: what, from where, and how it is to be read. Its format is not ``coco`` (see ``importers.coco``).
        out: folder of the data set; must not exist, or be empty.
        show_progress: whether progress is shown on standard error.

    Returns:
        What the folder holds. ``failed`` lists what was left out, with reasons.

    Raises:
        DataError: the source cannot be read, nothing of it can be used, ``out`` holds something, another import is
            running into it, or it cannot be written.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} holds something already; name a new folder for the import.")
    importer = make_importer(config)
    try:
        with _alone(folder), atomic_folder(folder) as staging:
            return _import(importer, config, staging, folder, show_progress)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {why_not_written(error)}. {_AGAIN}") from error


def _import(
    importer: Importer, config: ImportConfig, staging: Path, folder: Path, show_progress: bool
) -> ImportSummary:
    failed: list[Failure] = []
    counts: dict[str, int] = {}  # image_id -> regions

    def report(name: str, reason: str) -> None:
        failed.append(Failure(name, reason))

    stated = importer.scenes()
    assigned = assign_splits((scene for scene, split in stated.items() if split is None), config.split)
    splits: dict[str, SplitName] = {**assigned, **{scene: split for scene, split in stated.items() if split}}
    identity = hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    shards = _Shards(staging, identity, config.shard_rows)
    with progress_bar("Reading images", "images", show_progress) as tick:
        rows = _image_rows(importer, splits, counts, report, tick)
        n_images = shards.write(rows, IMAGES_DIR, IMAGES_FEATURES)
    _require(n_images, config, failed)
    with progress_bar("Reading samples", "samples", show_progress) as tick:
        n_samples = shards.write(_sample_rows(importer, counts, report, tick), SAMPLES_DIR, SAMPLES_FEATURES)
    _require(n_samples, config, failed)
    summary = ImportSummary(folder, n_images, sum(counts.values()), n_samples, tuple(failed))
    manifest = {
        "schema_version": SCHEMA_VERSION, "complete": True, "config_hash": identity,
        "config": config.model_dump(mode="json"), "image_root": str(importer.root.resolve()),
        "versions": {"seagull_tune": __version__}, "label_source": importer.label_source, "licence": config.licence,
        "n_images": n_images, "n_regions": summary.n_regions, "n_samples": n_samples,
        "failed": [asdict(failure) for failure in failed],
    }  # fmt: skip
    atomic_write_text(staging / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    write_card(staging)
    return summary


def _require(count: int, config: ImportConfig, failed: Sequence[Failure]) -> None:
    if not count:
        reasons = "\n".join(f"  {failure.image_id}: {failure.reason}" for failure in failed[:10])
        raise DataError(f"Nothing of {config.source} could be used:\n{reasons}")


def _image_rows(
    importer: Importer, splits: Mapping[str, SplitName], counts: dict[str, int], report: Report, tick: Tick
) -> Iterator[Row]:
    for found in importer.images(report):
        if found.image_id in counts:
            report(found.image_id, "occurs twice; the first is kept.")
            continue
        try:
            record = ImageRecord(
                image_id=found.image_id, scene_id=found.scene_id, source_kind="file", source=found.source,
                sha256=file_hash(importer.root / found.source), crop_xyxy=None, height=found.height,
                width=found.width, split=splits[found.scene_id], regions=found.regions,
            )  # fmt: skip
        except (DataError, RegionError) as error:
            report(found.image_id, str(error))
            continue
        counts[found.image_id] = len(found.regions)
        tick(len(counts), len(splits))
        yield image_to_row(record)


def _sample_rows(importer: Importer, counts: Mapping[str, int], report: Report, tick: Tick) -> Iterator[Row]:
    for done, (sample, quality) in enumerate(importer.samples(report), start=1):
        if sample.image_id not in counts:
            report(sample.sample_id, f"its image {sample.image_id!r} was left out, or is not there.")
        elif len(sample.labels) != counts[sample.image_id]:
            report(
                sample.sample_id,
                f"{len(sample.labels)} labels, but image {sample.image_id!r} has {counts[sample.image_id]} regions.",
            )
        else:
            yield sample_to_row(sample, quality)
        tick(done, None)


class _Shards:
    """Writes rows as numbered Parquet files, a few thousand at a time."""

    def __init__(self, folder: Path, identity: str, rows_per_file: int) -> None:
        self._folder, self._identity, self._size = folder, identity, rows_per_file

    def write(self, rows: Iterable[Row], name: str, features: Features) -> int:
        """Write a table; returns how many rows it has."""
        total, number, held = 0, 0, list[Row]()
        for row in rows:
            held.append(row)
            if len(held) == self._size:
                self._flush(held, name, number, features)
                total, number, held = total + len(held), number + 1, []
        if held or not number:
            self._flush(held, name, number, features)
        return total + len(held)

    def _flush(self, rows: Sequence[Row], name: str, number: int, features: Features) -> None:
        table = to_table(rows, features, {"config_hash": self._identity})
        write_table(table, self._folder / name / f"shard-{number:05d}-{self._identity[:12]}.parquet", _AGAIN)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One import into a folder at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DataError(f"Another import is running into {folder}. Wait for it, or name another folder.") from None
    try:
        yield
    finally:
        lock.release()
