"""COCO instances: one image per sample, one annotation per region, with our labels as extra keys.

    images/<sample>.png
    instances.json      images (mos, where people gave one), annotations (RLE, area, bbox; quality, and how far raters
                        disagreed about it, importance, severities), categories

The categories are the names of the regions; a region without a name is a "region".
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from data_builders.exporters.base import Item, Opened, counted, file_stem, json_chunks, rle_of, severities_by_name
from data_builders.progress import Tick
from seagull_tune.files import atomic_write
from seagull_tune.records import Region, RegionLabel, Sample

INSTANCES_FILE = "instances.json"
UNNAMED = "region"


class CocoExporter:
    """Writes the layout."""

    def pictures(self, item: Item) -> Iterator[tuple[str, Sample | None]]:
        """See :class:`data_builders.exporters.base.Exporter`."""
        for sample, _, _ in item.samples:
            yield f"images/{file_stem(sample.sample_id)}.png", sample

    def write_labels(self, data: Opened, out: Path, tick: Tick) -> tuple[int, int]:
        """See :class:`data_builders.exporters.base.Exporter`."""
        counts: Counter[str] = Counter()
        names: dict[str, int] = {}

        def images() -> Iterator[dict[str, Any]]:
            for item in data:
                for sample, quality, _ in item.samples:
                    counts["images"] += 1
                    yield _image(counts["images"], item, sample, quality)

        def annotations() -> Iterator[dict[str, Any]]:
            image_id, number = 0, 0
            for item in counted(data, len(data), tick):
                for sample, _, _ in item.samples:
                    image_id += 1
                    for region, label in zip(item.record.regions, sample.labels, strict=True):
                        number += 1
                        category = names.setdefault(region.name or UNNAMED, len(names) + 1)
                        yield _annotation(number, image_id, category, region, label)

        def categories() -> Iterator[dict[str, Any]]:
            yield from ({"id": number, "name": name} for name, number in names.items())

        info = {"description": f"exported from {data.folder.name}", "config_hash": data.manifest.get("config_hash")}
        # The annotations are written before the categories, which they collect.
        pieces = chain(
            [f'{{"info": {json.dumps(info)},\n"images": '.encode()], json_chunks(images()),
            [b',\n"annotations": '], json_chunks(annotations()),
            [b',\n"categories": '], json_chunks(categories()), [b"}\n"],
        )  # fmt: skip
        atomic_write(out / INSTANCES_FILE, pieces)
        return counts["images"], 0


def _image(number: int, item: Item, sample: Sample, quality: float | None) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": f"{file_stem(sample.sample_id)}.png",
        "height": item.record.height,
        "width": item.record.width,
        "sample_id": sample.sample_id,
        "scene_id": item.record.scene_id,
        "split": item.record.split,
        "quality": quality,
        "mos": None if sample.opinion is None else asdict(sample.opinion),
    }


def _annotation(number: int, image_id: int, category: int, region: Region, label: RegionLabel) -> dict[str, Any]:
    x0, y0, x1, y1 = region.box_xyxy
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "segmentation": rle_of(region),
        "area": region.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
        "quality": round(label.quality, 6),
        "quality_deviation": None if label.quality_deviation is None else round(label.quality_deviation, 6),
        "importance": None if label.importance is None else round(label.importance, 6),
        "severities": severities_by_name(label),
    }
