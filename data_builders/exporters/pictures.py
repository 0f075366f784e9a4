"""Writes the pictures of an export as PNG files, each whole or not at all, in any number of processes."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_builders.executors import LocalExecutor
from data_builders.exporters.base import Exporter, Item, Opened
from data_builders.progress import Tick, progress_bar
from seagull_tune.config.exchange import ExportConfig
from seagull_tune.data.schema import load_image, masks_of, sample_pixels
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write


@dataclass(frozen=True)
class PictureTask:
    """The missing pictures of one image.

    Attributes:
        folder, image_root: the data set and its photographs.
        row: of the ``images`` table.
        out: the export.
        files: (path below the export, sample id; None is the reference).
        max_pixels: largest photograph that is decoded.
    """

    folder: Path
    image_root: Path
    row: int
    out: Path
    files: tuple[tuple[str, str | None], ...]
    max_pixels: int


def write_pictures(
    data: Opened, exporter: Exporter, out: Path, config: ExportConfig, show_progress: bool
) -> tuple[int, int]:
    """Write the pictures that are not there yet.

    Returns:
        How many pictures the export has, and how many of them were written now.

    Raises:
        DataError: two pictures of one name, or one that cannot be rendered.
        OSError: a file cannot be written.
    """
    with progress_bar("Looking at samples", "images", show_progress) as tick:
        total, tasks = _plan(data, exporter, out, config, tick)
    missing = sum(len(task.files) for task in tasks)
    done = total - missing
    with progress_bar("Writing pictures", "pictures", show_progress and missing > 0) as tick:
        for written in LocalExecutor(config.workers).run(_write, tasks):
            done += written
            tick(done, total)
    return total, missing


def _plan(
    data: Opened, exporter: Exporter, out: Path, config: ExportConfig, tick: Tick
) -> tuple[int, list[PictureTask]]:
    owners: dict[str, str] = {}
    tasks = []
    for done, row in enumerate(data.rows, start=1):
        item = data.item(row)
        files = []
        for path, sample in exporter.pictures(item):
            owner = sample.sample_id if sample is not None else item.record.image_id
            if path in owners:
                raise DataError(f"{owners[path]!r} and {owner!r} would be the same file {path}; rename a photograph.")
            owners[path] = owner
            if not (out / path).exists():
                files.append((path, sample.sample_id if sample is not None else None))
        if files:
            tasks.append(PictureTask(data.folder, data.image_root, row, out, tuple(files), config.max_pixels))
        tick(done, len(data))
    return len(owners), tasks


def _write(task: PictureTask) -> int:
    item = _opened(task.folder).item(task.row)
    image = load_image(item.record, task.image_root, item.where, task.max_pixels)
    for path, pixels in _pixels(item, image, task):
        # OpenCV writes BGR; level 1 is a third larger than the default and three times as fast.
        done, png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert done, "OpenCV encodes any uint8 picture"
        atomic_write(task.out / path, (png.tobytes(),))
    return len(task.files)


def _pixels(item: Item, image: np.ndarray, task: PictureTask) -> Iterator[tuple[str, np.ndarray]]:
    masks = masks_of(item.record)
    samples = {sample.sample_id: (sample, where) for sample, _, where in item.samples}
    for path, sample_id in task.files:
        if sample_id is None:
            yield path, developed(image)
        else:
            sample, where = samples[sample_id]
            yield path, sample_pixels(sample, item.record, image, masks, task.image_root, where, task.max_pixels)


@functools.lru_cache(maxsize=1)
def _opened(folder: Path) -> Opened:
    """The data set, opened once per process."""
    return Opened(folder)
