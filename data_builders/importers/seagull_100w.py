"""SEAGULL-100w (arXiv 2411.10161): reference pictures, distorted pictures, regions and scores in two JSON files.

The folders are publicly documented, the keys inside the JSON files are not: ``SeagullKeys`` says where they are, with
our own export's layout as default. Both files are streamed; the scores of the release take 5.8 GB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_builders.exporters.seagull_100w import DISTORTED, REFERENCES
from data_builders.importers.base import FoundImage, Report, entries_of, file_hash, scaled, severities_from, severity_of
from data_builders.importers.json_stream import stream_json
from data_builders.importers.paths import get, outline, put_together
from data_builders.shards import seed_of
from seagull_tune.config.data import SplitName
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.errors import DataError, RegionError
from seagull_tune.records import PictureFile, RegionLabel, Sample
from seagull_tune.regions.masks import from_rle, same_size
from seagull_tune.values import number_of

_PICTURE = re.compile(r"(?:.*/)?(?P<type>[A-Za-z]+)_(?P<k>\d+)/(?P<id>[^/]+?)(?:\.png)?")


class SeagullImporter:
    """See :class:`data_builders.importers.base.Importer`.

    Raises:
        DataError: the folder is not laid out like SEAGULL-100w.
    """

    label_source = "full-reference metric on regions, as released with SEAGULL-100w (TOPIQ-FR)"

    def __init__(self, config: ImportConfig) -> None:
        self.root, self._keys, self._seed = config.source, config.seagull, config.seed
        needed = (REFERENCES, DISTORTED, self._keys.rois.file, self._keys.scores.file)
        missing = [name for name in needed if not (self.root / name).exists()]
        if missing:
            raise DataError(
                f"{self.root} is not laid out like SEAGULL-100w: {', '.join(missing)} are missing (seagull.rois.file "
                "and seagull.scores.file name other files)."
            )
        if self._keys.scores.distortions is None:
            self.label_source += "; severities estimated from quality"

    def scenes(self) -> Mapping[str, SplitName | None]:
        """One scene per reference picture."""
        return dict.fromkeys(sorted(path.stem for path in (self.root / REFERENCES).glob("*.png")))

    def images(self, report: Report) -> Iterator[FoundImage]:
        """The reference pictures that regions are given for."""
        keys = self._keys.rois
        for place, value in stream_json(self.root / keys.file, keys.depth):
            where = f"{keys.file}, {'/'.join(map(str, place))}"
            image_id = Path(put_together(keys.image, place, value, where)).stem
            rles = get(value, keys.rles, where)
            try:
                regions = tuple(from_rle(rle, name=str(rle.get("name", ""))) for rle in _objects(rles, where))
                height, width = same_size(regions)
            except RegionError as error:
                report(image_id, f"{where}: {error}")
                continue
            source = f"{REFERENCES}/{image_id}.png"
            if (self.root / source).is_file():
                yield FoundImage(image_id, image_id, source, height, width, regions)
            else:
                report(image_id, f"{where}: there is no picture {source}.")

    def samples(self, report: Report) -> Iterator[tuple[Sample, float | None]]:
        """The distorted pictures that scores are given for."""
        keys = self._keys.scores
        for place, value in stream_json(self.root / keys.file, keys.depth):
            where = f"{keys.file}, {'/'.join(map(str, place))}"
            name = put_together(keys.picture, place, value, where)
            match = _PICTURE.fullmatch(name)
            if match is None:
                raise DataError(
                    f"{where}: {name!r} names no picture <Type>_<k>/<id>; the entry is {outline(value)}. Name the keys "
                    "of this file with --config or --set, seagull.scores (docs/data-format.md, Importing)."
                )
            labels = self._labels(value, match["type"].lower(), where, report)
            source = f"{DISTORTED}/{match['type']}/{match['type']}_{match['k']}/{match['id']}.png"
            if labels is None:
                continue
            try:
                picture = PictureFile(source, file_hash(self.root / source))
            except DataError as error:
                report(name, str(error))
                continue
            sample_id = f"{match['id']}#{match['type']}_{match['k']}"
            seed = seed_of(self._seed, sample_id, "prompt")
            yield Sample(sample_id, match["id"], None, labels, seed, picture), None

    def _labels(self, value: Any, kind: str, where: str, report: Report) -> tuple[RegionLabel, ...] | None:
        """The labels of an entry; None, and a report, where a value is wrong. Other keys than expected are an error."""
        keys = self._keys.scores
        paths = {"qualities": keys.quality, "importances": keys.importance, "distortions": keys.distortions}
        stated = {name: get(value, path, where) for name, path in paths.items() if path is not None}
        try:
            lists = {name: entries_of(values, f"the {name}") for name, values in stated.items()}
            found = lists["qualities"]
            importances, distortions = (lists.get(name, [None] * len(found)) for name in ("importances", "distortions"))
            if not len(found) == len(importances) == len(distortions):
                raise DataError(
                    f"{len(found)} qualities, {len(importances)} importances, {len(distortions)} distortions; one of "
                    "each for every region."
                )
            return tuple(
                self._label(*entry, kind, f"region {index}")
                for index, entry in enumerate(zip(found, importances, distortions, strict=True))
            )
        except DataError as error:
            report(where, str(error))
            return None

    def _label(self, score: Any, importance: Any, distortions: Any, kind: str, what: str) -> RegionLabel:
        quality = scaled(score, self._keys.scores.scale, f"{what}, quality")
        if distortions is None:
            distortions = {kind: severity_of(quality)}
        known = None if importance is None else number_of(importance, f"{what}, importance")
        return RegionLabel(quality, known, severities_from(distortions, what))


def _objects(rles: Any, where: str) -> list[dict[str, Any]]:
    if not isinstance(rles, list) or not all(isinstance(rle, dict) for rle in rles):
        raise DataError(
            f"{where}: the regions must be a list of RLE objects (size, counts), and are {outline(rles)}. Name their "
            "place with --config or --set, seagull.rois.rles (docs/data-format.md, Importing)."
        )
    return rles
