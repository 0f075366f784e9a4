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

_IMAGE_KEYS = ("file_name", "height", "width")


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
    images, categories, total = _look_through(config.source)
    stems = _stems(images)
    failed: list[Failure] = []
    found: dict[Any, list[dict[str, Any]]] = {}
    with progress_bar("Reading annotations", "annotations", show_progress) as tick:
        annotations = (value for keys, value in stream_json(config.source, 2) if keys[0] == "annotations")
        for done, annotation in enumerate(annotations, start=1):
            image = images.get(annotation.get("image_id"))
            try:
                if image is None:
                    raise RegionError(f"image_id {annotation.get('image_id')!r} is in no entry of images.")
                for region in _regions(annotation, image, categories, config.images):
                    found.setdefault(image["id"], []).append(_entry(region))
            except (RegionError, DataError) as error:
                failed.append(Failure(f"annotation {annotation.get('id', done - 1)}", str(error)))
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


def _look_through(path: Path) -> tuple[dict[Any, dict[str, Any]], dict[Any, str], int]:
    """The images and categories of a COCO file by id, and how many annotations it has; those are not held."""
    sections: Counter[str] = Counter()
    images: dict[Any, dict[str, Any]] = {}
    categories: dict[Any, str] = {}
    for keys, value in stream_json(path, 2):
        name, where = str(keys[0]) if keys else "", f"{path.name}, {'/'.join(map(str, keys))}"
        sections[name] += 1
        if name == "images":
            images[get(value, "id", where)] = {key: get(value, key, where) for key in ("id", *_IMAGE_KEYS)}
        elif name == "categories":
            categories[get(value, "id", where)] = str(get(value, "name", where))
    if not images or not sections["annotations"]:
        found = ", ".join(sections) or "nothing"
        raise DataError(f"{path} is not COCO: it needs the lists images and annotations, with entries; found {found}.")
    return images, categories, sections["annotations"]


def _stems(images: Mapping[Any, Any]) -> dict[Any, str]:
    stems = {key: Path(get(image, "file_name", f"images, {key}")).stem for key, image in images.items()}
    seen: dict[str, Any] = {}
    for key, stem in stems.items():
        if stem in seen:
            raise DataError(f"The pictures {seen[stem]} and {key} are both called {stem}; regions are found by name.")
        seen[stem] = key
    return stems


def _regions(
    annotation: Mapping[str, Any], image: Mapping[str, Any], categories: Mapping[Any, str], panoptic: Path | None
) -> Iterator[Region]:
    """The regions of one annotation: one instance, or all segments of a panoptic picture."""
    height, width = int(image["height"]), int(image["width"])
    if "segments_info" in annotation:
        yield from _segments(annotation, height, width, categories, panoptic)
        return
    shape = annotation.get("segmentation")
    name = categories.get(annotation.get("category_id"), "")
    if isinstance(shape, Mapping):
        yield from_rle(shape, height, width, name)
    elif isinstance(shape, list) and shape:
        yield from_polygon(shape, height, width, name)
    else:
        raise RegionError(f"segmentation is {str(shape)[:40]!r}; allowed: an RLE object or polygons.")


def _segments(
    annotation: Mapping[str, Any], height: int, width: int, categories: Mapping[Any, str], panoptic: Path | None
) -> Iterator[Region]:
    if panoptic is None:
        raise DataError("panoptic annotations need the folder of their PNG files: give --images.")
    values = read_values(panoptic / str(annotation["file_name"])).astype(np.int64)
    if values.shape != (height, width, 3):
        raise RegionError(f"{annotation['file_name']} has shape {values.shape}, allowed: {(height, width, 3)}.")
    ids = values @ np.array([1, 256, 65536])  # (H, W); COCO panoptic: R + 256 G + 65536 B
    for segment in annotation["segments_info"]:
        yield encode(ids == segment["id"], categories.get(segment.get("category_id"), ""))


def _entry(region: Region) -> dict[str, Any]:
    return {"size": [region.height, region.width], "counts": region.counts, "name": region.name}
