"""Writes a data set in the layouts of others: pictures are rendered, labels become JSON.

    tables -> Opened -> pictures (data_builders.exporters.pictures, any number of processes) -> labels

An export may be killed at any moment; the same call goes on where it was: finished pictures are kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from data_builders.exporters.base import Exporter, Opened
from data_builders.exporters.coco import CocoExporter
from data_builders.exporters.llava import LlavaExporter
from data_builders.exporters.pictures import write_pictures
from data_builders.exporters.seagull_100w import SeagullExporter
from data_builders.progress import progress_bar
from seagull_tune.config.exchange import ExportConfig
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write_text, why_not_written

MARKER = "export.json"
"""What a folder was exported from: going on with something else is refused."""

__all__ = ["ExportSummary", "export_dataset"]


@dataclass(frozen=True)
class ExportSummary:
    """What an export left behind.

    Attributes:
        folder: the export.
        n_pictures: its pictures; ``n_written`` of them were written now, the others were there.
        n_entries: entries of its label files: distorted pictures, conversations, or annotated images.
        n_skipped: samples that the layout has no place for.
    """

    folder: Path
    n_pictures: int
    n_written: int
    n_entries: int
    n_skipped: int

    def describe(self) -> str:
        """The summary as a person reads it."""
        skipped = f"; {self.n_skipped} samples have no place in this layout" if self.n_skipped else ""
        pictures = f"{self.n_pictures} pictures ({self.n_written} written now)"
        return f"{self.folder}: {self.n_entries} entries, {pictures}{skipped}"


def export_dataset(
    folder: str | Path, out: str | Path, config: ExportConfig, show_progress: bool = True
) -> ExportSummary:
    """Export a data set, or finish an export that was begun.

    Args:
        folder: the data set.
        out: folder of the export; made where it does not exist.
        config: what to export, and how.
        show_progress: whether progress is shown on standard error.

    Raises:
        DataError: the data set cannot be opened or rendered; ``out`` holds something else, or cannot be written.
    """
    data = Opened(folder, config.split, config.image_root)
    target = Path(out)
    exporter = make_exporter(config)
    try:
        _claim(target, data, config)
        n_pictures, n_written = 0, 0
        if config.pictures:
            n_pictures, n_written = write_pictures(data, exporter, target, config, show_progress)
        with progress_bar("Writing labels", "images", show_progress) as tick:
            n_entries, n_skipped = exporter.write_labels(data, target, tick)
    except OSError as error:
        raise DataError(
            f"{target}: the export cannot be written: {why_not_written(error)}. Finished pictures are kept: make room "
            "(or repair the folder's rights), then run the same export again."
        ) from error
    return ExportSummary(target, n_pictures, n_written, n_entries, n_skipped)


def make_exporter(config: ExportConfig) -> Exporter:
    """The exporter of a configuration's format."""
    if config.format == "seagull":
        return SeagullExporter()
    return CocoExporter() if config.format == "coco" else LlavaExporter(config)


def _claim(target: Path, data: Opened, config: ExportConfig) -> None:
    """Refuse a folder that holds something else; mark it as ours."""
    mine = {
        "format": config.format,
        "split": config.split,
        "config_hash": data.manifest.get("config_hash"),
        "n_samples": data.manifest.get("n_samples"),
    }
    marker = target / MARKER
    if target.is_dir() and not marker.exists() and any(target.iterdir()):
        raise DataError(f"{target} is not empty and is no export (it has no {MARKER}); name a new folder.")
    if marker.exists():
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{marker} is damaged ({error}); remove the folder, or name a new one.") from error
        if found != mine:
            differs = sorted(key for key in mine if found.get(key) != mine[key])
            raise DataError(f"{target} holds another export ({', '.join(differs)} differ); name a new folder.")
    else:
        atomic_write_text(marker, json.dumps(mine, indent=2, sort_keys=True) + "\n")
