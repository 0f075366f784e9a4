"""COCO instances or panoptic masks -> a folder of regions that `build --regions` reads.

Instances may overlap, so they become one ``<stem>.json`` with a list of RLE objects per picture, not label maps.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_builders.importers.base import entries_of, whole_of
from data_builders.importers.json_stream import stream_json
from data_builders.importers.paths import get
from data_builders.progress import progress_bar
from data_builders.shards import Failure
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.errors import DataError, RegionError
from seagull_tune.files import atomic_folder, why_not_written
from seagull_tune.images import read_values
from seagull_tune.records import Region
from seagull_tune.regions.masks import encode, from_polygon, from_rle
from seagull_tune.values import shown

Id = int | str


@dataclass(frozen=True)
class _Image:
    """An entry of COCO's images."""

    id: Id
    file_name: str
    height: int
    width: int

    @classmethod
    def read(cls, value: Any, where: str, max_pixels: int) -> _Image:
        """The entry, checked.

        Raises:
            DataError: a key is missing, or its value cannot be used.
        """
        sides = [whole_of(get(value, key, where), key, max_pixels) for key in ("height", "width")]
        if not 0 < sides[0] * sides[1] <= max_pixels:
            raise DataError(f"it has {sides[1]}x{sides[0]} pixels (width x height); allowed: 1 to {max_pixels:,}.")
        name = get(value, "file_name", where)
        if not isinstance(name, str) or not Path(name).name or "\0" in name:
            raise DataError(f"file_name is {shown(name)}; the name of a file is needed.")
        return cls(_id(get(value, "id", where), "id"), name, *sides)


@dataclass(frozen=True)
class RegionsSummary:
    """What was made.

    Attributes:
        folder: the regions.
        n_images, n_regions: how many pictures have how many regions.
        failed: what was left out, with reasons.
    """

    folder: Path
    n_images: int
    n_regions: int
    failed: tuple[Failure, ...]

    def describe(self, limit: int = 20) -> str:
        """The summary as a person reads it, with the command that uses it."""
        lines = [
            f"{self.folder}: {self.n_regions} regions of {self.n_images} pictures, {len(self.failed)} left out",
            *(f"  left out: {failure.image_id}: {failure.reason}" for failure in self.failed[:limit]),
            f"Use them: seagull-tune build --images PHOTOS --regions {self.folder} --out DATASET",
        ]
        return "\n".join(lines)


def import_regions(config: ImportConfig, out: str | Path, show_progress: bool = True) -> RegionsSummary:
    """Make a folder of regions from a COCO file.

    Args:
        config: ``source`` is the JSON file; ``images`` the folder of panoptic PNG files, where it is of that kind.
        out: the folder; must not exist, or be empty.
        show_progress: whether progress is shown on standard error.

    Raises:
        DataError: not COCO, two pictures of one stem, no region at all, or ``out`` holds something.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} holds something already; name a new folder.")
    failed: list[Failure] = []
    images, categories, total = _look_through(config, failed)
    stems = _stems(images)
    found: dict[Any, list[dict[str, Any]]] = {}
    with progress_bar("Reading annotations", "annotations", show_progress) as tick:
        annotations = (value for keys, value in stream_json(config.source, 2) if keys[0] == "annotations")
        for done, annotation in enumerate(annotations, start=1):
            try:
                image, regions = _of_annotation(annotation, images, categories, config.images)
                found.setdefault(image.id, []).extend(regions)
            except (RegionError, DataError) as error:
                number = annotation.get("id", done - 1) if isinstance(annotation, dict) else done - 1
                failed.append(Failure(f"annotation {number}", str(error)))
            tick(done, total)
    if not found:
        raise DataError(f"{config.source} gives no region" + "".join(f"\n  {f.reason}" for f in failed[:5]))
    try:
        with atomic_folder(folder) as staging:
            for image_id, entries in found.items():
                (staging / f"{stems[image_id]}.json").write_text(json.dumps(entries), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {why_not_written(error)}.") from error
    return RegionsSummary(folder, len(found), sum(map(len, found.values())), tuple(failed))


def _look_through(config: ImportConfig, failed: list[Failure]) -> tuple[dict[Id, _Image], dict[Id, str], int]:
    """The images and categories of a COCO file by id, and how many annotations it has; those are not held.

    Entries that cannot be used are put into ``failed``.
    """
    path = config.source
    sections: Counter[str] = Counter()
    images: dict[Id, _Image] = {}
    categories: dict[Id, str] = {}
    for keys, value in stream_json(path, 2):
        name, where = str(keys[0]) if keys else "", "/".join(map(str, keys))
        sections[name] += 1
        try:
            if name == "images":
                image = _Image.read(value, f"{path.name}, {where}", config.max_pixels)
                images[image.id] = image
            elif name == "categories":
                categories[_id(get(value, "id", where), "id")] = str(get(value, "name", where))
        except DataError as error:
            failed.append(Failure(where, str(error)))
    if not images or not sections["annotations"]:
        found = ", ".join(sections) or "nothing"
        raise DataError(
            f"{path} is not COCO: it needs the lists images and annotations, with entries; found {found}."
            + "".join(f"\n  {failure.image_id}: {failure.reason}" for failure in failed[:5])
        )
    return images, categories, sections["annotations"]


def _stems(images: Mapping[Id, _Image]) -> dict[Id, str]:
    stems = {key: Path(image.file_name).stem for key, image in images.items()}
    seen: dict[str, Id] = {}
    for key, stem in stems.items():
        if stem in seen:
            raise DataError(f"The pictures {seen[stem]} and {key} are both called {stem}; regions are found by name.")
        seen[stem] = key
    return stems


def _of_annotation(
    annotation: Any, images: Mapping[Id, _Image], categories: Mapping[Id, str], panoptic: Path | None
) -> tuple[_Image, list[dict[str, Any]]]:
    """The image of an annotation, and its regions: one instance, or all segments of a panoptic picture."""
    if not isinstance(annotation, Mapping):
        raise DataError(f"it is {shown(annotation)}; an object is needed.")
    image = images.get(_id(annotation.get("image_id"), "image_id"))
    if image is None:
        raise DataError(f"image_id {shown(annotation['image_id'])} is in no usable entry of images.")
    if "segments_info" in annotation:
        return image, [_entry(region) for region in _segments(annotation, image, categories, panoptic)]
    shape, name = annotation.get("segmentation"), _category(annotation, categories)
    if isinstance(shape, Mapping):
        return image, [_entry(from_rle(shape, image.height, image.width, name))]
    if isinstance(shape, list) and shape:
        return image, [_entry(from_polygon(shape, image.height, image.width, name))]
    raise RegionError(f"segmentation is {shown(shape)}; allowed: an RLE object or polygons.")


def _segments(
    annotation: Mapping[str, Any], image: _Image, categories: Mapping[Id, str], panoptic: Path | None
) -> Iterator[Region]:
    if panoptic is None:
        raise DataError("panoptic annotations need the folder of their PNG files: give --images.")
    file, shape = str(get(annotation, "file_name", "panoptic")), (image.height, image.width, 3)
    values = read_values(panoptic / file).astype(np.int64)
    if values.shape != shape:
        raise RegionError(f"{file} has shape {values.shape}, allowed: {shape}.")
    ids = values @ np.array([1, 256, 65536])  # (H, W); COCO panoptic: R + 256 G + 65536 B
    for segment in entries_of(annotation["segments_info"], "segments_info"):
        number = whole_of(get(segment, "id", "segments_info"), "the id of a segment", 0xFFFFFF)
        yield encode(ids == number, _category(segment, categories))


def _category(value: Mapping[str, Any], categories: Mapping[Id, str]) -> str:
    """The name of a category; empty where it has none."""
    known = value.get("category_id")
    return "" if known is None else categories.get(_id(known, "category_id"), "")


def _id(value: Any, what: str) -> Id:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    raise DataError(f"{what} is {shown(value)}; a whole number or text is needed.")


def _entry(region: Region) -> dict[str, Any]:
    return {"size": [region.height, region.width], "counts": region.counts, "name": region.name}
