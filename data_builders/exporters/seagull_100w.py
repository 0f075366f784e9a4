"""The layout of SEAGULL-100w: reference and distorted pictures in folders, regions and scores in two JSON files.

    Ref.Images/<id>.png
    Dist.Images/<Type>/<Type>_<k>/<id>.png          k counts the image's pictures of that type, from 0
    Labels/SEAGULL-100w_mask-based-rois.json        {id: [{"size": [h, w], "counts": RLE, "name": text}, ...]}
    Labels/SEAGULL-100w_scores.json                 {"<Type>/<Type>_<k>/<id>": {"quality": [...], "importance": [...],
                                                     "distortions": [{type: severity}, ...], "sample_id": text}}

The folders are those of the release (arXiv 2411.10161). The keys inside its JSON files are not publicly documented:
these are ours, and what `seagull-tune import seagull` reads unless it is told other ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_builders.exporters.base import Item, Opened, counted, file_stem, json_chunks, rle_of, severities_by_name
from data_builders.progress import Tick
from seagull_tune.files import atomic_write
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import Sample

REFERENCES = "Ref.Images"
DISTORTED = "Dist.Images"
ROIS_FILE = "Labels/SEAGULL-100w_mask-based-rois.json"
SCORES_FILE = "Labels/SEAGULL-100w_scores.json"
MIXED = "Mixed"
"""Folder of pictures with more than one type of distortion; the release has none."""

_NONE = (0,) * len(DISTORTION_TYPES)


class SeagullExporter:
    """Writes the layout. A pristine sample is the reference picture; it has no distorted picture and no scores."""

    def pictures(self, item: Item) -> Iterator[tuple[str, Sample | None]]:
        """See :class:`data_builders.exporters.base.Exporter`."""
        stem = file_stem(item.record.image_id)
        yield f"{REFERENCES}/{stem}.png", None
        for place, sample in places(item):
            yield f"{DISTORTED}/{place}.png", sample

    def write_labels(self, data: Opened, out: Path, tick: Tick) -> tuple[int, int]:
        """See :class:`data_builders.exporters.base.Exporter`."""
        rois = ((file_stem(item.record.image_id), _rois(item)) for item in data)
        atomic_write(out / ROIS_FILE, json_chunks(rois, "{}"))
        counts: Counter[str] = Counter()

        def scores() -> Iterator[tuple[str, dict[str, Any]]]:
            for item in counted(data, len(data), tick):
                entries = [(place, _scores(sample)) for place, sample in places(item)]
                counts["entries"] += len(entries)
                counts["skipped"] += len(item.samples) - len(entries)
                yield from entries

        atomic_write(out / SCORES_FILE, json_chunks(scores(), "{}"))
        return counts["entries"], counts["skipped"]


def places(item: Item) -> Iterator[tuple[str, Sample]]:
    """``<Type>/<Type>_<k>/<id>`` of every distorted sample of an image."""
    stem = file_stem(item.record.image_id)
    seen: Counter[str] = Counter()
    for sample, _, _ in item.samples:
        types = _types(sample)
        if types:
            folder = types[0].capitalize() if len(types) == 1 else MIXED
            yield f"{folder}/{folder}_{seen[folder]}/{stem}", sample
            seen[folder] += 1


def _types(sample: Sample) -> list[str]:
    """The distortion types of a sample: what its recipe does, or what its labels say where it has none."""
    if sample.recipe is not None:
        return sorted({step.type for step in sample.recipe.steps}, key=DISTORTION_TYPES.index)
    known = [label.severities or _NONE for label in sample.labels]
    there = [any(severities) for severities in zip(*known, strict=True)]
    return [name for name, found in zip(DISTORTION_TYPES, there, strict=False) if found]


def _rois(item: Item) -> list[dict[str, Any]]:
    return [{**rle_of(region), "name": region.name} for region in item.record.regions]


def _scores(sample: Sample) -> dict[str, Any]:
    return {
        "quality": [round(label.quality, 6) for label in sample.labels],
        "importance": [None if label.importance is None else round(label.importance, 6) for label in sample.labels],
        "distortions": [severities_by_name(label) for label in sample.labels],
        "sample_id": sample.sample_id,
    }
