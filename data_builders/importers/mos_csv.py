"""Opinion scores of whole pictures: a CSV file with a file name and a score per row.

The score is kept with its declared range; [0, 1] is made from it. There are no regions, so nothing is said of any.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from data_builders.importers.base import FoundImage, Report
from data_builders.shards import seed_of
from data_builders.values import number_of
from seagull_tune.config.data import SPLITS, SplitName
from seagull_tune.config.exchange import ImportConfig, MosTable
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.images import read_image
from seagull_tune.records import OpinionScore, Sample

_SHOWN = 20


@dataclass(frozen=True)
class _Row:
    name: str
    scene: str
    split: SplitName | None
    opinion: OpinionScore


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
        self._rows = _read(config.source, config.mos)

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


def _read(path: Path, table: MosTable) -> list[_Row]:
    rows: list[_Row] = []
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, delimiter=table.delimiter)
            _require_columns(path, lines.fieldnames or (), table)
            seen: set[str] = set()
            for line in lines:
                try:
                    rows.append(_row(line, table, seen))
                except DataError as error:
                    problems.append(f"line {lines.line_num}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        listed = "\n".join(f"  {line}" for line in [*problems[:_SHOWN], *more])
        raise DataError(f"{path}: {len(problems)} of {len(problems) + len(rows)} rows are wrong:\n{listed}")
    if not rows:
        raise DataError(f"{path} holds no row.")
    return rows


def _require_columns(path: Path, found: object, table: MosTable) -> None:
    names = [str(name) for name in found] if isinstance(found, (list, tuple)) else []
    wanted = {"image": table.image, "score": table.score, "scene": table.scene, "split": table.split}
    missing = {key: name for key, name in wanted.items() if name is not None and name not in names}
    if missing:
        lines = [f"  mos.{key}: no column {name!r}.{did_you_mean(name, names)}" for key, name in missing.items()]
        raise DataError(f"{path} has the columns {', '.join(names) or 'none'}:\n" + "\n".join(lines))


def _row(line: Mapping[str, str | None], table: MosTable, seen: set[str]) -> _Row:
    name = (line[table.image] or "").strip()
    if not name:
        raise DataError("the name of the picture is missing.")
    if name in seen:
        raise DataError(f"{name} occurs twice.")
    seen.add(name)
    text = (line[table.score] or "").strip()
    if not text:
        raise DataError(f"{name}: the score is missing.")
    scale = table.scale
    try:
        opinion = OpinionScore(number_of(text, "the score"), scale.low, scale.high, scale.higher_is_better)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    split = (line[table.split] or "").strip() if table.split is not None else None
    if split is not None and split not in SPLITS:
        raise DataError(f"{name}: the split is {split!r}; allowed: {', '.join(SPLITS)}.")
    scene = (line[table.scene] or "").strip() if table.scene is not None else ""
    return _Row(name, scene or name, split, opinion)
