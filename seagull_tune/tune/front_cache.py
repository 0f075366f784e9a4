"""The frozen front's results on disk: computed once per sample, read at every visit.

Tower and pixel statistics have no trained weight, so their results are a function of the sample alone. The cache is one
memory-mapped float16 array per quantity (float16 keeps three digits of numbers that noise moves in the second), keyed
by data set, tower and processor settings; a computation that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from seagull_tune.data.collate import TrainingItem, picture_part
from seagull_tune.data.processor import SeagullProcessor, to_device
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.files import STAGING_SUFFIX
from seagull_tune.model.mfe import RegionStatistics
from seagull_tune.model.modeling import Front, SeagullForConditionalGeneration

_PER_REGION = ("maps", "geometry", "native", "coverage")
_OPTIONAL = ("context",)  # per region too, where the extractor reads it
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
        self._optional: tuple[str, ...] | None = None

    @property
    def per_region(self) -> tuple[str, ...]:
        """Names of the arrays with one row per region."""
        if self._optional is None:
            self._optional = tuple(name for name in _OPTIONAL if (self.folder / f"{name}.npy").is_file())
        return (*_PER_REGION, *self._optional)

    def __getstate__(self) -> dict[str, object]:
        # Memory maps are reopened in every worker instead of being copied to it.
        return {"folder": self.folder, "starts": self.starts, "_arrays": {}, "_optional": None}

    def _array(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            self._arrays[name] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return self._arrays[name]

    def read(self, row: int) -> dict[str, np.ndarray]:
        """The front's result of one sample, by field of :class:`~seagull_tune.model.mfe.RegionStatistics`.

        Raises:
            DataError: it was not computed.
        """
        if not self._array("done")[row]:
            raise DataError(f"{self.folder}: row {row} was not computed; remove the folder, it is made again.")
        start, end = int(self.starts[row]), int(self.starts[row + 1])
        entry = {name: np.asarray(self._array(name)[start:end]) for name in self.per_region}
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
        "tower": [model.config.vision_tower, _tower_identity(model), model.config.image_grid],
        "processor": [
            processor.image_max_side, processor.image_mean, processor.image_std, processor.patch_size,
            processor.patches_per_region, processor.region_shape,
        ],
        "extractor": [model.config.mfe_pooling, model.config.mfe_context],
        "format": 1,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _tower_identity(model: SeagullForConditionalGeneration) -> str:
    """The tower's base by reference, or a hash of its weights where the model is self-contained."""
    base = (model.config.bases or {}).get("vision_tower")
    if base is not None:
        return base
    digest = hashlib.sha256()
    for _, tensor in sorted(model.vision_tower.state_dict().items()):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Pictures(Dataset[tuple[int, TrainingItem]]):
    """Rendered and prepared pictures of the rows that are still to do."""

    def __init__(self, rows: RoiDataset, processor: SeagullProcessor, todo: Sequence[int]) -> None:
        self.rows, self.processor, self.todo = rows, processor, todo

    def __len__(self) -> int:
        return len(self.todo)

    def __getitem__(self, index: int) -> tuple[int, TrainingItem]:
        row = self.todo[index]
        rendered = self.rows[row]
        visual = self.processor.visual(rendered.image, rendered.masks)
        return row, TrainingItem(rendered.sample.sample_id, rendered.sample.labels, visual=visual)


class _Results(Dataset[tuple[int, dict[str, np.ndarray]]]):
    """The front's results themselves, for workers on a CPU: one thread each scales better than many on one picture."""

    def __init__(self, pictures: _Pictures, model: SeagullForConditionalGeneration) -> None:
        self.pictures, self.model = pictures, model

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[int, dict[str, np.ndarray]]:
        row, item = self.pictures[index]
        return next(_split(self.model, [(row, item)]))


def _keep(batch: list[tuple[int, TrainingItem]]) -> list[tuple[int, TrainingItem]]:
    return batch


def build_front_cache(
    rows: RoiDataset,
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor,
    root: Path,
    workers: int,
    chosen: Sequence[int] | None = None,
) -> FrontCache:
    """Computes what is missing of a data set's front results and returns the cache.

    Args:
        root: the cache lies in ``root/<key>``.
        workers: processes beside this one. On a CPU they run the whole front, one thread each; with a GPU they render.
        chosen: the rows that are needed; None is all of them.

    Raises:
        DataError: the disk is full; what is done stays.
    """
    counts = [len(rows.sample(i).labels) for i in range(len(rows))]
    folder = root / cache_key(rows, model, processor)
    cache = FrontCache(folder, counts)
    wanted = range(len(rows)) if chosen is None else chosen
    done_file = folder / "done.npy"
    done = np.load(done_file) if done_file.is_file() else np.zeros(len(rows), bool)
    todo = [row for row in wanted if not done[row]]
    if not todo:
        return cache
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _compute(cache, _results(rows, model, processor, todo, workers), len(rows))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot write the front cache ({error}). Free some disk and start again; finished rows stay."
        ) from error
    return cache


def front_statistics(
    rows: RoiDataset, model: SeagullForConditionalGeneration, processor: SeagullProcessor, chosen: Sequence[int]
) -> RegionStatistics:
    """The front's results of a few rows as one batch, float32, without a cache."""
    found = [picture for _, picture in _results(rows, model, processor, chosen, workers=0)]
    items = [TrainingItem("", (), statistics=picture) for picture in found]
    return RegionStatistics(**picture_part(items)["statistics"])


def _results(
    rows: RoiDataset,
    model: SeagullForConditionalGeneration,
    processor: SeagullProcessor,
    todo: Sequence[int],
    workers: int,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Row and result of every row of ``todo``, as they are computed."""
    pictures = _Pictures(rows, processor, todo)
    ahead = 2 if workers else None
    progress = tqdm(total=len(todo), desc="frozen front", unit="picture")
    if next(model.vision_tower.parameters()).device.type == "cpu":
        loader = DataLoader(_Results(pictures, model), batch_size=None, num_workers=workers, prefetch_factor=ahead)
        for result in loader:
            yield result
            progress.update()
    else:
        batches = DataLoader(pictures, batch_size=_BATCH, num_workers=workers, collate_fn=_keep, prefetch_factor=ahead)
        for batch in batches:
            yield from _split(model, batch)
            progress.update(len(batch))
    progress.close()


@torch.no_grad()
def _split(
    model: SeagullForConditionalGeneration, batch: Sequence[tuple[int, TrainingItem]]
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Runs the front on a few prepared pictures; float16 arrays per picture, as :meth:`FrontCache.read` gives them."""
    device = next(model.vision_tower.parameters()).device
    inputs = to_device(picture_part([item for _, item in batch]), device)
    statistics = _cacheable(model.encode_front(**inputs)).to("cpu", torch.float16)
    first = 0
    for position, (row, item) in enumerate(batch):
        last = first + len(item.labels)
        rows = {name: getattr(statistics, name) for name in (*_PER_REGION, *_OPTIONAL, "image")}
        result = {name: values[first:last].numpy() for name, values in rows.items() if values is not None}
        yield row, {**result, "grid": statistics.grid[position].numpy(), "counts": np.array([last - first])}
        first = last


def _cacheable(front: Front) -> RegionStatistics:
    if not isinstance(front, RegionStatistics):
        raise ConfigError("The front of this model's extractor reads whole feature maps, which are not cached.")
    return front


def _compute(cache: FrontCache, results: Iterator[tuple[int, dict[str, np.ndarray]]], n_rows: int) -> None:
    arrays: dict[str, np.ndarray] = {}
    for row, result in results:
        if not arrays:
            arrays = _open_arrays(cache, result, n_rows)
        start, end = int(cache.starts[row]), int(cache.starts[row + 1])
        for name in (*_PER_REGION, *_OPTIONAL):
            if name in arrays:
                arrays[name][start:end] = result[name]
        arrays["image"][row] = result["image"][0]
        arrays["grid"][row] = result["grid"]
        # Last, so that a kill in between leaves the row to be done again.
        arrays["done"][row] = True


def _open_arrays(cache: FrontCache, result: Mapping[str, np.ndarray], n_rows: int) -> dict[str, np.ndarray]:
    """Opens the arrays for writing; makes them, sized from the first result, where they are not there yet."""
    names = [name for name in (*_PER_REGION, *_OPTIONAL) if name in result]
    shapes = {name: (int(cache.starts[-1]), *result[name].shape[1:]) for name in names}
    shapes["image"] = (n_rows, *result["image"].shape[1:])
    shapes["grid"] = (n_rows, *result["grid"].shape)
    shapes["done"] = (n_rows,)
    for name, shape in shapes.items():
        path = cache.folder / f"{name}.npy"
        if not path.is_file():
            _reserve(path, np.dtype(np.bool_ if name == "done" else np.float16), shape)
    return {name: np.lib.format.open_memmap(cache.folder / f"{name}.npy", mode="r+") for name in shapes}


def _reserve(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Makes an array file of zeros that appears whole or not at all.

    Writing to a hole of a memory map on a full disk kills the process; reserving the blocks raises ``OSError`` instead.
    """
    staging = path.with_name(path.name + STAGING_SUFFIX)
    try:
        np.lib.format.open_memmap(staging, mode="w+", dtype=dtype, shape=shape)
        if hasattr(os, "posix_fallocate"):  # not on macOS
            with staging.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, staging.stat().st_size)
    except OSError:
        staging.unlink(missing_ok=True)
        raise
    os.replace(staging, path)
