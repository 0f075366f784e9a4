"""PandaBench (arXiv 2604.11004), after the loader that its authors published.

    gt/<split>/<name>                          the reference pictures; splits are train, val, test
    <degradation>/<split>/<name>               the distorted ones: blur, noise, ..., mixed, mixed2
    stats/<split>_stats_<degradation>.json     {name: {"score_fr", "regions": [{"name", "segmentation_mask" (RLE),
                                                "severity" (0..3), "degradation", "score_fr"}, ...]}}

Scores are in [0, 1], higher is better. Importance is not labelled. Rain, snow and haze have no counterpart among our
types: pictures with a region of those are left out. Regions without a mask are left out too, as its loader does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_builders.importers.base import FoundImage, Report, file_hash, scaled, severities_from, whole_of
from data_builders.importers.json_stream import stream_json
from data_builders.importers.paths import get, outline
from data_builders.shards import seed_of
from seagull_tune.config.data import SPLITS, SplitName
from seagull_tune.config.exchange import ImportConfig, Scale
from seagull_tune.errors import DataError, RegionError
from seagull_tune.records import PictureFile, RegionLabel, Sample
from seagull_tune.regions.masks import from_rle, same_size

CLEAN = "clean"
TYPES: Mapping[str, str] = {
    "contrast_inc": "contrast", "contrast_dec": "contrast", "compression": "compression", "brightness": "exposure",
    "darken": "exposure", "oversharpen": "sharpness", "noise": "noise", "blur": "blur",
    "saturate_inc": "colorfulness", "saturate_dec": "colorfulness", "pixelate": "resolution",
}  # fmt: skip
"""Its degradations that have a counterpart among our types."""

_SCALE = Scale(low=0.0, high=1.0, higher_is_better=True)


class PandaImporter:
    """See :class:`data_builders.importers.base.Importer`.

    Raises:
        DataError: the folder is not laid out like PandaBench.
    """

    label_source = "full-reference metric on regions, as released with PandaBench"

    def __init__(self, config: ImportConfig) -> None:
        self.root, self._keys, self._seed = config.source, config.pandabench, config.seed
        self._kept: dict[str, tuple[int, ...]] = {}  # image_id -> which of its regions have a mask
        self._stats = [
            (split, theirs, file, file.stem.removeprefix(f"{theirs}_stats_"))
            for split, theirs in zip(SPLITS, self._keys.splits, strict=True)
            for file in sorted((self.root / "stats").glob(f"{theirs}_stats_*.json"))
        ]
        if not self._stats or not (self.root / "gt").is_dir():
            raise DataError(
                f"{self.root} is not laid out like PandaBench: it needs gt/<split>/ and "
                f"stats/<split>_stats_<degradation>.json, with the splits {', '.join(self._keys.splits)} "
                "(pandabench.splits)."
            )

    def scenes(self) -> Mapping[str, SplitName | None]:
        """One scene per reference picture, in the split of its folder."""
        return {
            _id(theirs, path.name): split
            for split, theirs in zip(SPLITS, self._keys.splits, strict=True)
            for path in sorted((self.root / "gt" / theirs).glob("*"))
        }

    def images(self, report: Report) -> Iterator[FoundImage]:
        """The reference pictures, with the regions that their first statistics file gives."""
        known = self.scenes()
        for _, theirs, file, _ in self._stats:
            for name, value in _entries(file):
                image_id = _id(theirs, name)
                if image_id in self._kept:
                    continue
                where = f"{file.name}, {name}"
                masks = get(value, "regions.*.segmentation_mask", where)
                names = get(value, "regions.*.name", where)
                kept = tuple(index for index, mask in enumerate(masks) if mask is not None)
                try:
                    regions = tuple(from_rle(masks[index], name=str(names[index])) for index in kept)
                    height, width = same_size(regions)
                except RegionError as error:
                    report(image_id, f"{where}: {error}")
                    continue
                if image_id not in known:
                    report(image_id, f"{where}: there is no picture gt/{theirs}/{name}.")
                    continue
                self._kept[image_id] = kept
                yield FoundImage(image_id, image_id, f"gt/{theirs}/{name}", height, width, regions)

    def samples(self, report: Report) -> Iterator[tuple[Sample, float | None]]:
        """The distorted pictures; those of types that we do not have are counted and reported once per file."""
        for _, theirs, file, degradation in self._stats:
            foreign: Counter[str] = Counter()
            for name, value in _entries(file):
                image_id, where = _id(theirs, name), f"{file.name}, {name}"
                regions = [entry for i, entry in enumerate(get(value, "regions", where)) if i in self._where(image_id)]
                unknown = {str(get(entry, "degradation", where)) for entry in regions} - {CLEAN, *TYPES}
                if unknown:
                    foreign.update(unknown)
                    continue
                source = f"{degradation}/{theirs}/{name}"
                try:
                    labels = tuple(self._label(entry, f"region {i}") for i, entry in enumerate(regions))
                    quality = scaled(get(value, "score_fr", where), _SCALE, "score_fr")
                    picture = PictureFile(source, file_hash(self.root / source))
                except DataError as error:
                    report(source, f"{where}: {error}")
                    continue
                sample_id = f"{image_id}#{degradation}"
                seed = seed_of(self._seed, sample_id, "prompt")
                yield Sample(sample_id, image_id, None, labels, seed, picture), quality
            for kind, count in sorted(foreign.items()):
                report(file.name, f"{count} pictures with {kind!r} are left out: no type of ours is that.")

    def _where(self, image_id: str) -> tuple[int, ...]:
        return self._kept.get(image_id, ())

    def _label(self, entry: Mapping[str, Any], what: str) -> RegionLabel:
        kind = entry["degradation"]
        level = whole_of(get(entry, "severity", what), f"{what}, severity", len(self._keys.severities) - 1)
        distortions = {} if kind == CLEAN else {TYPES[kind]: self._keys.severities[level]}
        quality = scaled(get(entry, "score_fr", what), _SCALE, f"{what}, score_fr")
        return RegionLabel(quality, None, severities_from(distortions, what))


def _entries(file: Path) -> Iterator[tuple[str, Any]]:
    """Name and value of every picture of a statistics file."""
    for keys, value in stream_json(file):
        if not keys or not isinstance(keys[0], str):
            raise DataError(f"{file} must be an object {{picture: statistics}}; found {outline(value)}.")
        yield keys[0], value


def _id(split: str, name: str) -> str:
    """The same file name may occur in two splits."""
    return f"{split}/{Path(name).stem}"
