"""Reads an ROI data set; its samples are rendered, or read from their picture files, when they are asked for.

Legend: H, W height and width in pixels; R regions of an image.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from seagull_tune.config.data import SPLITS
from seagull_tune.data.schema import (
    ImageRecord,
    RowTable,
    SplitSize,
    find_leaks,
    image_from_row,
    load_image,
    masks_of,
    open_tables,
    read_manifest,
    sample_from_row,
    sample_pixels,
    split_sizes,
)
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.images import MAX_PIXELS
from seagull_tune.records import Region, RegionLabel, Sample


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A reference image with its regions, ready to be distorted. The arrays are shared: do not write into them.

    Attributes:
        record: its row.
        scene: what recipes are rendered from: the image itself, or uint16 scene light of a camera RAW file.
        image: uint8 (H, W, 3), sRGB; what it looks like undistorted.
        masks: bool (R, H, W).
    """

    record: ImageRecord
    scene: np.ndarray
    image: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True, eq=False)
class RenderedSample:
    """One sample with its pixels.

    Attributes:
        sample: the row: recipe, labels, prompt seed.
        image_id, scene_id: where it comes from.
        image: uint8 (H, W, 3), what the sample shows: distorted, pristine or authentic.
        reference: uint8 (H, W, 3), the photograph; shared, do not write into it.
        masks: bool (R, H, W); shared, do not write into it.
        regions: the R regions.
        image_quality: of the whole picture, [0, 1]; None where nobody knows.
    """

    sample: Sample
    image_id: str
    scene_id: str
    image: np.ndarray
    reference: np.ndarray
    masks: np.ndarray
    regions: tuple[Region, ...]
    image_quality: float | None

    @property
    def labels(self) -> tuple[RegionLabel, ...]:
        """One label per region."""
        return self.sample.labels


class RoiDataset:
    """A data set of rendered samples, for ``torch.utils.data.DataLoader`` or a plain loop.

    Samples of one image follow each other. It may be pickled or forked into workers: the tables are opened again there.

    Args:
        folder: the data set.
        split: ``train``, ``validation`` or ``test``; None takes all.
        image_root: where the photographs are now, if they were moved; None takes what the data set says.
        cache_images: how many reference images, with their masks, are kept in memory.
        max_pixels: largest photograph that is decoded.

    Raises:
        DataError: no data set, an unfinished one, another schema version, or a split without samples.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str | None = None,
        image_root: str | Path | None = None,
        cache_images: int = 32,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        if split is not None and split not in SPLITS:
            raise DataError(f"Unknown split {split!r}.{did_you_mean(split, SPLITS)}")
        self.folder = Path(folder)
        self.split = split
        self.manifest = read_manifest(folder)
        root = image_root if image_root is not None else self.manifest.get("image_root")
        self.image_root = Path(root) if root else self.folder
        self.max_pixels = max_pixels
        self._cache_images = max(1, cache_images)
        self._cache: OrderedDict[str, LoadedImage] = OrderedDict()
        if not len(self):
            held = ", ".join(f"{name} {size.images}" for name, size in self.sizes.items())
            raise DataError(f"{folder} has no samples in split {split!r}; it holds: {held or 'nothing'}.")

    def __getstate__(self) -> dict[str, Any]:
        lazy = ("_tables", "_image_rows", "_sample_rows")
        return {**{k: v for k, v in self.__dict__.items() if k not in lazy}, "_cache": OrderedDict()}

    @cached_property
    def _tables(self) -> tuple[RowTable, RowTable]:
        return open_tables(self.folder)

    @cached_property
    def _image_rows(self) -> dict[str, int]:
        """image_id -> row, for the images of this split."""
        columns = self._tables[0].table.select(["image_id", "split"]).to_pydict()
        pairs = zip(columns["image_id"], columns["split"], strict=True)
        return {name: row for row, (name, split) in enumerate(pairs) if self.split in (None, split)}

    @cached_property
    def _sample_rows(self) -> np.ndarray:
        names = self._tables[1].table.column("image_id").to_pylist()
        return np.array([row for row, name in enumerate(names) if name in self._image_rows], dtype=np.int64)

    @property
    def sizes(self) -> dict[str, SplitSize]:
        """How large the data set is, split by split (all of them, not only this one)."""
        return split_sizes(self._tables[0].table, self._tables[1].table)

    def __len__(self) -> int:
        return len(self._sample_rows)

    def __iter__(self) -> Iterator[RenderedSample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> RenderedSample:
        """Sample ``index`` (negative counts from the end), rendered.

        Raises:
            IndexError: there is no such sample.
            DataError: the photograph is missing or changed (names file and row), or the recipe cannot be rendered.
        """
        row = self._row(index)
        sample, quality = self._sample_at(row)
        loaded = self.load(sample.image_id)
        where = f"{self.folder}: {self._tables[1].where(row)}"
        if len(sample.labels) != len(loaded.record.regions):
            raise DataError(
                f"{where}: {len(sample.labels)} labels, but image {sample.image_id!r} has "
                f"{len(loaded.record.regions)} regions. Run `seagull-tune validate {self.folder}`."
            )
        return RenderedSample(
            sample=sample,
            image_id=sample.image_id,
            scene_id=loaded.record.scene_id,
            image=sample_pixels(
                sample, loaded.record, loaded.scene, loaded.masks, self.image_root, where, self.max_pixels
            ),
            reference=loaded.image,
            masks=loaded.masks,
            regions=loaded.record.regions,
            image_quality=quality,
        )

    @property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the samples with a labelled region; opinion scores of whole pictures have none."""
        counts = pc.fill_null(pc.list_value_length(self._tables[1].table["labels"]), 0).to_numpy()
        return tuple(np.flatnonzero(counts[self._sample_rows] > 0).tolist())

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the tables' content and of the split: the same samples always have the same one."""
        digest = hashlib.sha256(str(self.split).encode())
        for path in sorted(self.folder.rglob("*.parquet")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:32]

    @staticmethod
    def has_split(folder: str | Path, split: str) -> bool:
        """Whether a data set has images in a split.

        Raises:
            DataError: no data set, an unfinished one, or another schema version.
        """
        return split in open_tables(folder)[0].table.column("split").unique().to_pylist()

    def leaks(self) -> list[str]:
        """A sentence for every scene or photograph that is in more than one split; all splits are looked at."""
        columns = self._tables[0].table.select(["scene_id", "sha256", "split"]).to_pydict()
        return find_leaks(zip(columns["scene_id"], columns["sha256"], columns["split"], strict=True))

    def refuse_leaks(self) -> None:
        """Refuses a data set that cannot test anything.

        Raises:
            DataError: scenes or photographs are in more than one split; the first ten are named.
        """
        leaks = self.leaks()
        if leaks:
            more = [f"... and {len(leaks) - 10} more"] if len(leaks) > 10 else []
            raise DataError("\n  ".join([f"{self.folder} leaks between its splits:", *leaks[:10], *more]))

    @cached_property
    def photograph_of(self) -> dict[str, str]:
        """image_id -> its photograph, for the images of this split: 16 hex digits of the SHA-256 of the file."""
        columns = self._tables[0].table.select(["image_id", "sha256"]).to_pydict()
        pairs = zip(columns["image_id"], columns["sha256"], strict=True)
        return {name: digest[:16] for name, digest in pairs if name in self._image_rows}

    @property
    def photographs(self) -> tuple[str, ...]:
        """The photographs of this split, as :attr:`photograph_of` calls them, sorted."""
        return tuple(sorted(set(self.photograph_of.values())))

    def sample(self, index: int) -> Sample:
        """Sample ``index`` without its pixels: recipe and labels only."""
        return self._sample_at(self._row(index))[0]

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Indices of the samples that are two versions of one image and differ in one step (``mix.pairs``)."""
        names = self._tables[1].table.column("pair_id").to_pylist()
        found: dict[str, list[int]] = {}
        for index, row in enumerate(self._sample_rows):
            if names[row] is not None:
                found.setdefault(names[row], []).append(index)
        return tuple((members[0], members[1]) for members in found.values() if len(members) == 2)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images of this split, in the order of the table."""
        return tuple(self._image_rows)

    def image_record(self, image_id: str) -> ImageRecord:
        """The row of an image of this split.

        Raises:
            DataError: there is no such image, or its row is damaged.
        """
        if image_id not in self._image_rows:
            raise DataError(f"{self.folder} has no image {image_id!r} in split {self.split!r}.")
        row = self._image_rows[image_id]
        return image_from_row(self._tables[0].row(row))

    def load(self, image_id: str) -> LoadedImage:
        """The reference image and its masks, from memory where it was used lately.

        Raises:
            DataError: the photograph is missing or changed.
        """
        loaded = self._cache.get(image_id)
        if loaded is None:
            record = self.image_record(image_id)
            where = f"{self.folder}: {self._tables[0].where(self._image_rows[image_id])}"
            scene = load_image(record, self.image_root, where, self.max_pixels)
            image = developed(scene)
            masks = masks_of(record)
            for array in (scene, image, masks):
                array.flags.writeable = False
            loaded = LoadedImage(record, scene, image, masks)
            self._cache[image_id] = loaded
            if len(self._cache) > self._cache_images:
                self._cache.popitem(last=False)
        self._cache.move_to_end(image_id)
        return loaded

    def _row(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"Sample {index} of a data set of {len(self)} samples.")
        return int(self._sample_rows[index])

    def _sample_at(self, row: int) -> tuple[Sample, float | None]:
        values = self._tables[1].row(row)
        try:
            return sample_from_row(values), values["image_quality"]
        except DataError as error:
            raise DataError(f"{self.folder}: {self._tables[1].where(row)}: {error}") from error
