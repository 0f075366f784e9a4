"""What all exporters share: an opened data set, the protocol, and JSON that is written piece by piece."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from data_builders.progress import Tick
from seagull_tune.data.schema import (
    ImageRecord,
    RowTable,
    image_from_row,
    open_tables,
    read_manifest,
    sample_from_row,
)
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import Region, RegionLabel, Sample

_LONGEST_STEM = 200
"""Bytes of a file name without its suffixes: file systems allow 255."""


@dataclass(frozen=True)
class Item:
    """An image with its samples.

    Attributes:
        record: the image.
        where: its file and row, for messages.
        samples: its samples, with the quality of the whole picture ([0, 1] or None) and file and row of each.
    """

    record: ImageRecord
    where: str
    samples: tuple[tuple[Sample, float | None, str], ...]


class Opened:
    """A data set that is read image by image.

    Args:
        folder: the data set.
        split: which split; None takes all.
        image_root: where the photographs are now, if they were moved.

    Raises:
        DataError: it cannot be opened, or has no image in that split.
    """

    def __init__(self, folder: str | Path, split: str | None = None, image_root: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = read_manifest(folder)
        self.tables: tuple[RowTable, RowTable] = open_tables(folder)
        self.image_root = Path(image_root or self.manifest.get("image_root") or folder)
        splits = self.tables[0].table.column("split").to_pylist()
        self.rows = [row for row, name in enumerate(splits) if split in (None, name)]
        if not self.rows:
            raise DataError(f"{folder} has no image in split {split!r}.{did_you_mean(str(split), set(splits))}")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Item]:
        return (self.item(row) for row in self.rows)

    def item(self, row: int) -> Item:
        """The image of a row of the ``images`` table, with its samples.

        Raises:
            DataError, RegionError: a row that cannot be read; run `validate`.
        """
        images, samples = self.tables
        record = image_from_row(images.row(row))
        found = []
        for number in self._sample_rows.get(record.image_id, ()):
            values, where = samples.row(number), f"{self.folder}: {samples.where(number)}"
            sample = sample_from_row(values)
            if len(sample.labels) != len(record.regions):
                raise DataError(
                    f"{where}: {len(sample.labels)} labels, but image {record.image_id!r} has {len(record.regions)} "
                    f"regions. Run `seagull-tune validate {self.folder}`."
                )
            found.append((sample, values["image_quality"], where))
        return Item(record, f"{self.folder}: {images.where(row)}", tuple(found))

    @cached_property
    def _sample_rows(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for number, name in enumerate(self.tables[1].table.column("image_id").to_pylist()):
            rows.setdefault(name, []).append(number)
        return rows


class Exporter(Protocol):
    """One layout."""

    def pictures(self, item: Item) -> Iterator[tuple[str, Sample | None]]:
        """The pictures of an image: path below the export (forward slashes), and the sample; None is the reference."""
        ...

    def write_labels(self, data: Opened, out: Path, tick: Tick) -> tuple[int, int]:
        """Write the label files; returns how many entries they have, and how many samples were left out."""
        ...


def file_stem(name: str) -> str:
    """An id as a file name: ``a/b.jpg#0003`` -> ``a__b.jpg-0003``; of a very long one the end, behind a hash."""
    stem = name.replace("/", "__").replace("#", "-")
    if len(stem.encode()) <= _LONGEST_STEM:
        return stem
    tail = stem.encode()[-(_LONGEST_STEM - 9) :].decode(errors="ignore")
    return f"{hashlib.sha256(stem.encode()).hexdigest()[:8]}-{tail}"


def rle_of(region: Region) -> dict[str, Any]:
    """COCO's RLE object of a region."""
    return {"size": [region.height, region.width], "counts": region.counts}


def severities_by_name(label: RegionLabel) -> dict[str, int] | None:
    """The distortions of a region: type -> severity 1..5; None where nobody knows them."""
    if label.severities is None:
        return None
    return {name: s for name, s in zip(DISTORTION_TYPES, label.severities, strict=True) if s}


def json_chunks(value: Iterable[Any], brackets: str = "[]") -> Iterator[bytes]:
    """A JSON array of values, or (``{}``) an object of (key, value) pairs, one entry a line; nothing is held."""
    separator = brackets[0] + "\n"
    for entry in value:
        parts = entry if brackets == "{}" else (entry,)
        yield (separator + ": ".join(json.dumps(part, ensure_ascii=False) for part in parts)).encode()
        separator = ",\n"
    yield (f"\n{brackets[1]}" if separator.startswith(",") else brackets).encode()


def counted(items: Iterable[Item], total: int, tick: Tick) -> Iterator[Item]:
    """The same items; progress is told after each."""
    for done, item in enumerate(items, start=1):
        yield item
        tick(done, total)
