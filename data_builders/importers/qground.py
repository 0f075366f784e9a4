"""QGround-100K (arXiv 2407.17035): pictures whose distorted areas people or a model outlined and judged.

Its card documents ``images/``, ``masks/`` and JSON files whose entries have ``id``, ``image`` and ``ann_list``. What an
entry of ``ann_list`` looks like is not documented where we could read it: ``QGroundKeys`` has to say where mask, type
and quality are; without it, the error shows what the file holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_builders.importers.base import FoundImage, Report, entries_of, scaled, severities_from, severity_of
from data_builders.importers.json_stream import stream_json
from data_builders.importers.paths import get, outline
from data_builders.shards import seed_of
from seagull_tune.config.data import SplitName
from seagull_tune.config.exchange import ImportConfig, QGroundKeys
from seagull_tune.errors import DataError, RegionError, did_you_mean
from seagull_tune.images import read_image
from seagull_tune.levels import QUALITY_LEVELS, level_centres
from seagull_tune.records import Region, RegionLabel, Sample
from seagull_tune.regions.masks import from_rle
from seagull_tune.regions.parse import regions_from_mask_file


class QGroundImporter:
    """See :class:`data_builders.importers.base.Importer`. Every entry is an image; those of one picture are one scene.

    Raises:
        DataError: the folder is not laid out like QGround-100K, or the keys of its annotations are not named.
    """

    label_source = "annotations of distorted areas, as released with QGround-100K; severities estimated from quality"

    def __init__(self, config: ImportConfig) -> None:
        assert config.qground is not None, "the configuration checks it"
        self.root, self._keys, self._seed = config.source, config.qground, config.seed
        self._max_pixels = config.max_pixels
        self._file = self.root / self._keys.file
        if not self._file.is_file() or not (self.root / "images").is_dir():
            raise DataError(f"{self.root} is not laid out like QGround-100K: it needs images/ and {self._keys.file}.")
        self._entries = [entry for _, entry in stream_json(self._file)]
        _require_keys(self._keys, self._entries, self._file)

    def scenes(self) -> Mapping[str, SplitName | None]:
        """One scene per picture."""
        return dict.fromkeys(sorted({self._image(entry) for entry in self._entries}))

    def images(self, report: Report) -> Iterator[FoundImage]:
        """The pictures, with one region per annotation."""
        for entry in self._entries:
            name, image_id = self._image(entry), self._id(entry)
            try:
                height, width = read_image(self.root / "images" / name, self._max_pixels).shape[:2]
                regions = tuple(self._region(a, height, width) for a in self._annotations(entry))
                if not regions:
                    raise DataError("it has no annotation: nothing is said of it.")
            except (DataError, RegionError) as error:
                report(image_id, str(error))
                continue
            yield FoundImage(image_id, name, f"images/{name}", height, width, regions)

    def samples(self, report: Report) -> Iterator[tuple[Sample, float | None]]:
        """One authentic sample per entry."""
        for entry in self._entries:
            image_id = self._id(entry)
            try:
                labels = tuple(self._label(a, f"annotation {i}") for i, a in enumerate(self._annotations(entry)))
            except DataError as error:
                report(image_id, str(error))
                continue
            yield Sample(f"{image_id}#0", image_id, None, labels, seed_of(self._seed, image_id, "prompt")), None

    def _id(self, entry: Any) -> str:
        return str(get(entry, self._keys.id, str(self._file)))

    def _image(self, entry: Any) -> str:
        return str(get(entry, self._keys.image, str(self._file)))

    def _annotations(self, entry: Any) -> list[Any]:
        return entries_of(get(entry, self._keys.annotations, str(self._file)), "its annotations")

    def _region(self, annotation: Any, height: int, width: int) -> Region:
        mask = get(annotation, self._keys.mask or "", self._file.name)
        name = str(get(annotation, self._keys.type or "", self._file.name))
        if isinstance(mask, Mapping):
            return from_rle(mask, height, width, name)
        found = regions_from_mask_file(self.root / "masks" / str(mask), height, width)[0]
        return Region(found.height, found.width, found.counts, found.area, found.box_xyxy, name)

    def _label(self, annotation: Any, what: str) -> RegionLabel:
        said = get(annotation, self._keys.quality or "", self._file.name)
        if isinstance(said, str) and said.lower() in QUALITY_LEVELS:
            quality = level_centres(len(QUALITY_LEVELS))[QUALITY_LEVELS.index(said.lower())]
        else:
            quality = scaled(said, self._keys.scale, f"{what}, quality")
        kind = str(get(annotation, self._keys.type or "", self._file.name))
        if kind not in self._keys.types:
            hint = did_you_mean(kind, self._keys.types)
            raise DataError(f"{what}: the type {kind!r} is not in qground.types, which maps its names to ours.{hint}")
        return RegionLabel(quality, None, severities_from({self._keys.types[kind]: severity_of(quality)}, what))


def _require_keys(keys: QGroundKeys, entries: list[Any], file: Path) -> None:
    missing = [f"qground.{name}" for name in ("mask", "type", "quality") if getattr(keys, name) is None]
    if not keys.types:
        missing.append("qground.types")
    if not entries or missing:
        found = outline(entries[0], 5) if entries else "nothing"
        raise DataError(
            f"{file}: an entry is {found}. What else QGround-100K writes was not documented where we read: name "
            f"{', '.join(missing) or 'another file'} with --config or --set (docs/data-format.md, Importing)."
        )
