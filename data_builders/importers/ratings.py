"""Ratings of regions by people -> authentic samples: mean quality per region and how far people disagreed.

Nothing is said about distortions or importance: nobody was asked.

Which regions were rated is said by a folder of regions, as in `build`; a rating names a region by its name there
("label 3", or the name of an RLE), or by its number from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from data_builders.importers.base import FoundImage, Report
from data_builders.ratings import RatedRegion, summarise_ratings
from data_builders.shards import seed_of
from seagull_tune.config.data import SplitName
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.errors import DataError, RegionError
from seagull_tune.images import read_image
from seagull_tune.records import Region, RegionLabel, Sample
from seagull_tune.regions.parse import load_region_dir


class RatingImporter:
    """See :class:`data_builders.importers.base.Importer`. Only regions that were rated are kept.

    Raises:
        DataError: ratings are wrong (all are named), or nobody agrees with anybody.
    """

    def __init__(self, config: ImportConfig) -> None:
        assert config.ratings is not None and config.regions is not None, "the configuration checks it"
        self.root, self._regions_dir = config.images or config.source.parent, config.regions
        self._seed, self._max_pixels = config.seed, config.max_pixels
        summary = summarise_ratings(config.source, config.ratings)
        self.label_source = "ratings of regions by people: " + "; ".join(summary.headlines)
        self._too_few = summary.too_few
        self._rated: dict[str, list[RatedRegion]] = {}
        for region in summary.regions:
            self._rated.setdefault(region.image, []).append(region)
        self._used: dict[str, list[RatedRegion]] = {}

    def scenes(self) -> Mapping[str, SplitName | None]:
        """One scene per picture."""
        return dict.fromkeys(self._rated)

    def images(self, report: Report) -> Iterator[FoundImage]:
        """The pictures, with the regions that were rated, in the order of their file."""
        for image, region in self._too_few:
            report(f"{image}, region {region}", "too few ratings, after screening.")
        for name, rated in self._rated.items():
            try:
                height, width = read_image(self.root / name, self._max_pixels).shape[:2]
                regions = load_region_dir(self._regions_dir, PurePosixPath(name).stem, height, width)
            except (DataError, RegionError) as error:
                report(name, str(error))
                continue
            chosen: dict[int, RatedRegion] = {}
            for entry in rated:
                try:
                    place = _place(entry.region, regions)
                    if place in chosen:
                        raise DataError(f"it is region {chosen[place].region!r} too; ratings call it one way only.")
                    chosen[place] = entry
                except DataError as error:
                    report(f"{name}, region {entry.region}", str(error))
            if chosen:
                places = sorted(chosen)
                self._used[name] = [chosen[place] for place in places]
                yield FoundImage(name, name, name, height, width, tuple(regions[place] for place in places))

    def samples(self, report: Report) -> Iterator[tuple[Sample, float | None]]:
        """One authentic sample per picture."""
        for name, rated in self._used.items():
            labels = tuple(RegionLabel(entry.opinion.quality, None, None, entry.quality_deviation) for entry in rated)
            yield Sample(f"{name}#ratings", name, None, labels, seed_of(self._seed, name, "prompt")), None


def _place(said: str, regions: list[Region]) -> int:
    """The index of a region that is called by its name, or by its number from 0.

    Raises:
        DataError: there is none, or several have the name.
    """
    named = [index for index, region in enumerate(regions) if region.name == said]
    if len(named) > 1:
        raise DataError(f"{len(named)} regions have this name; use their numbers, from 0.")
    if named:
        return named[0]
    if said.isascii() and said.isdigit() and int(said) < len(regions):
        return int(said)
    names = ", ".join(repr(region.name) for region in regions[:8])
    raise DataError(f"there is no such region; the image has {len(regions)}, numbered from 0: {names}.")
