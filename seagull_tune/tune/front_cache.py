"""The frozen front's results on disk: computed once per sample, read at every visit.

Tower and pixel statistics have no trained weight, so their results are a function of the sample alone. The cache is one
memory-mapped float16 array per quantity (float16 keeps three digits of numbers that noise moves in the second), keyed
by data set, tower and processor settings; a computation that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from seagull_tune.data.collate import TrainingItem, picture_part
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write_text
from seagull_tune.model.mfe import RegionStatistics
from seagull_tune.model.modeling import SeagullForConditionalGeneration

_PER_REGION = ("maps", "geometry", "native", "coverage")
_BATCH = 8


class FrontCache:
    """Arrays of one data set's front results.

    Args:
        folder: where they lie.
        counts: regions per sample.
    """

    def __init__(self, folder: Path, counts: Sequence[int]) -> None:
        self.folder = folder
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self._arrays: dict[str, np.ndarray] = {}

    def __getstate__(self) -> dict[str, object]:
        # Memory maps are reopened in every worker instead of being copied to it.
        return {"folder": self.folder, "starts": self.starts, "_arrays": {}}

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]

    def read(self, row: int) -> dict[str, np.ndarray]:
        """The front's result of one sample, by field of :class:`~seagull_tune.model.mfe.RegionStatistics`."""
        start, end = int(self.starts[row]), int(self.starts[row + 1])
        entry = {name: np.asarray(self._array(name)[start:end]) for name in _PER_REGION}
        entry["image"] = np.repeat(np.asarray(self._array("image")[row])[None], end - start, axis=0)
        entry["grid"] = np.asarray(self._array("grid")[row])
        entry["counts"] = np.array([end - start])
        return entry

    def sample_statistics(self, rows: Sequence[int]) -> RegionStatistics:
        """Statistics of several samples as one batch, float32 (to measure the standardising constants on)."""
        items = [TrainingItem("", (), statistics=self.read(row)) for row in rows]
        return RegionStatistics(**picture_part(items)["statistics"])


def cache_key(rows: RoiDataset, model: SeagullForConditionalGeneration, processor: SeagullProcessor) -> str:
    """Name of the cache of one data set, tower and processor."""
    settings = {
        "data": rows.fingerprint,
        "tower": [model.config.vision_tower, (model.config.bases or {}).get("vision_tower"), model.config.image_grid],
        "processor": [
            processor.image_max_side, processor.image_mean, processor.image_std, processor.patch_size,
            processor.patches_per_region,
        ],
        "format": 1,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class _Pictures(Dataset[tuple[int, TrainingItem]]):
    """Rendered and prepared pictures of the rows that are still to do."""

    def __init__(self, rows: RoiDataset, processor: SeagullProcessor, todo: Sequence[int]) -> None:
        self.rows, self.processor, self.todo = rows, processor, todo

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, index: int) -> tuple[int, TrainingItem]:
        row = self.todo[index]
        rendered = self.rows[row]
        item = TrainingItem(rendered.sample.sample_id, rendered.sample.labels, visual=self.processor.visual(rendered.image, rendered.masks))
        return row, item


def _keep(batch: list[tuple[int, TrainingItem]]) -> list[tuple[int, TrainingItem]]:
    return batch


def build_front_cache(
    rows: RoiDataset,
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor,
    root: Path,
    workers: int,
    max_rows: int | None = None,
) -> FrontCache:
    """Computes what is missing of a data set's front results and returns the finished cache.

    Args:
        root: the cache lies in ``root/<key>``.
        workers: rendering processes beside this one, which runs the tower.
        max_rows: only the first so many rows (a short trial run).

    Raises:
        DataError: the disk is full; what is done stays.
    """
    counts = [len(rows.sample(i).labels) for i in range(len(rows))]
    folder = root / cache_key(rows, model, processor)
    cache = FrontCache(folder, counts)
    done_file = folder / "done.npy"
    first = not done_file.is_file()
    todo = list(range(len(rows))) if first else np.flatnonzero(~np.load(done_file)).tolist()
    if max_rows is not None:
        todo = [row for row in todo if row < max_rows]
    if not todo:
        return cache
    folder.mkdir(parents=True, exist_ok=True)
    loader = DataLoader(
        _Pictures(rows, processor, todo), batch_size=_BATCH, num_workers=workers, collate_fn=_keep,
        prefetch_factor=2 if workers else None,
    )  # fmt: skip
    try:
        _compute(cache, model, tqdm(loader, desc="frozen front", unit="batch"), len(rows))
    except OSError as error:
        raise DataError(f"{folder}: cannot write the front cache ({error}). Free some disk and start again; finished rows stay.") from error
    atomic_write_text(folder / "complete.json", json.dumps({"rows": len(rows)}))
    return cache


def _compute(cache: FrontCache, model: SeagullForConditionalGeneration, batches: Iterator[list[tuple[int, TrainingItem]]], n_rows: int) -> None:
    device = next(model.vision_tower.parameters()).device
    arrays: dict[str, np.ndarray] = {}
    for batch in batches:
        inputs = picture_part([item for _, item in batch])
        inputs = {name: [t.to(device) for t in value] if isinstance(value, list) else value.to(device) for name, value in inputs.items()}
        statistics = model.encode_front(**inputs).to("cpu", torch.float16)
        if not arrays:
            arrays = _open_arrays(cache, statistics, n_rows)
        first = 0
        for position, (row, item) in enumerate(batch):
            last = first + len(item.labels)
            start, end = int(cache.starts[row]), int(cache.starts[row + 1])
            for name in _PER_REGION:
                arrays[name][start:end] = getattr(statistics, name)[first:last].numpy()
            arrays["image"][row] = statistics.image[first].numpy()
            arrays["grid"][row] = statistics.grid[position].numpy()
            first = last
        # Last, so that a kill in between leaves the rows to be done again.
        arrays["done"][[row for row, _ in batch]] = True


def _open_arrays(cache: FrontCache, statistics: RegionStatistics, n_rows: int) -> dict[str, np.ndarray]:
    """Opens the arrays for writing; makes them, sized from the first batch, where they are not there yet."""
    shapes = {name: (int(cache.starts[-1]), *getattr(statistics, name).shape[1:]) for name in _PER_REGION}
    shapes |= {"image": (n_rows, statistics.image.shape[1]), "grid": (n_rows, *statistics.grid.shape[1:]), "done": (n_rows,)}
    arrays = {}
    for name, shape in shapes.items():
        path = cache.folder / f"{name}.npy"
        if path.is_file():
            arrays[name] = np.lib.format.open_memmap(path, mode="r+")
        else:
            dtype = np.bool_ if name == "done" else np.float16
            arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
            # Writing to a hole of a memory map on a full disk kills the process; reserving it now raises instead.
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return arrays
