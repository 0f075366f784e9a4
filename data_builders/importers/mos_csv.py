"""Opinion scores of whole pictures: a CSV file with a file name and a score per row.

The score is kept with its declared range; [0, 1] is made from it. There are no regions, so nothing is said of any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from data_builders.importers.base import FoundImage, Report
from data_builders.shards import seed_of
from seagull_tune.config.data import SplitName
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.errors import DataError
from seagull_tune.images import read_image
from seagull_tune.opinions import read_opinions
from seagull_tune.records import Sample


class MosImporter:
    """See :class:`data_builders.importers.base.Importer`.

    Raises:
        DataError: the file or a column is missing, or rows are wrong: all of them are named.
    """

    label_source = "mean opinion scores of people, of whole pictures"

    def __init__(self, config: ImportConfig) -> None:
        assert config.mos is not None, "the configuration checks it"
        self.root = config.images or config.source.parent
        self._seed, self._max_pixels = config.seed, config.max_pixels
        self._rows = read_opinions(config.source, config.mos)

    def scenes(self) -> Mapping[str, SplitName | None]:
        """The scenes that the file names, or one per picture."""
        splits: dict[str, SplitName | None] = {}
        for row in self._rows:
            if splits.setdefault(row.scene, row.split) != row.split:
                raise DataError(f"Scene {row.scene!r} is in the splits {splits[row.scene]} and {row.split}; one only.")
        return splits

    def images(self, report: Report) -> Iterator[FoundImage]:
        """The pictures; those that cannot be decoded are reported."""
        for row in self._rows:
            try:
                height, width = read_image(self.root / row.name, self._max_pixels).shape[:2]
            except DataError as error:
                report(row.name, str(error))
                continue
            yield FoundImage(row.name, row.scene, row.name, height, width, ())

    def samples(self, report: Report) -> Iterator[tuple[Sample, float | None]]:
        """One authentic sample per picture."""
        for row in self._rows:
            seed = seed_of(self._seed, row.name, "prompt")
            yield Sample(f"{row.name}#mos", row.name, None, (), seed, opinion=row.opinion), row.opinion.quality
