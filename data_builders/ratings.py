"""Ratings from people: a file of single ratings -> screened raters -> mean and standard deviation per region.

    CSV or JSON lines (image, region, rater, score) -> Ratings -> rater_screening.screen -> RatedRegion

Nothing is repaired: a rating that cannot be used stops the reading, and all such lines are named at once.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_builders.rater_screening import RaterFigures, Ratings, Screening, screen
from seagull_tune.config.exchange import RatingTable, Scale
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.files import atomic_write_text, is_unicode, why_not_written
from seagull_tune.records import OpinionScore
from seagull_tune.values import number_of

JSON_LINES = (".jsonl", ".ndjson")
"""Suffixes of files with a JSON object per line; others are CSV."""

_SHOWN = 20


@dataclass(frozen=True)
class RatedRegion:
    """What people said of one region.

    Attributes:
        image, region: as the file names them.
        opinion: mean score, with the declared range.
        deviation: standard deviation of the scores (of the sample, n - 1), in the unit of the scores.
        n_raters: how many rated it, after screening; at least two.
    """

    image: str
    region: str
    opinion: OpinionScore
    deviation: float
    n_raters: int

    @property
    def quality_deviation(self) -> float:
        """The standard deviation on our scale, [0, 1]."""
        return self.deviation / (self.opinion.high - self.opinion.low)


@dataclass(frozen=True, eq=False)
class RatingSummary:
    """What a file of ratings amounts to.

    Attributes:
        regions: sorted by image and region.
        too_few: regions (image, region) that too few raters rated, after screening.
        screening: who was left out, and how well the others agree.
    """

    regions: tuple[RatedRegion, ...]
    too_few: tuple[tuple[str, str], ...]
    screening: Screening

    @property
    def left_out(self) -> tuple[RaterFigures, ...]:
        """The raters who were left out."""
        return tuple(rater for rater in self.screening.raters if rater.left_out)

    @property
    def headlines(self) -> list[str]:
        """Counts and agreement, a line each."""
        found = self.screening
        n_images, n_out = len({region.image for region in self.regions}), len(self.left_out)
        who = f"{len(found.raters) - n_out} raters; {n_out} raters left out"
        return [
            f"{len(self.regions)} regions of {n_images} images, {len(found.kept.score)} ratings by {who}",
            f"Krippendorff's alpha (interval): {_said(found.alpha)} (all raters: {_said(found.alpha_before)})",
            f"Raters with the mean of all others, mean SRCC: {_said(found.mean_srcc)}",
        ]

    def describe(self, limit: int = _SHOWN) -> str:
        """The summary as a person reads it; at most ``limit`` entries of each list."""
        found, lines = self.screening, self.headlines
        lines += _listed([f"left out: {r.name} ({r.n_ratings} ratings): {r.left_out}" for r in self.left_out], limit)
        lines += _listed([f"{r.name}: {r.note}" for r in found.raters if r.note], limit)
        return "\n".join(lines + _listed([f"too few ratings: {i}, region {r}" for i, r in self.too_few], limit))

    def write_table(self, path: Path) -> None:
        """Write a CSV file: mean, standard deviation and number of ratings per region.

        Raises:
            DataError: it cannot be written.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("image", "region", "mean", "deviation", "raters", "quality", "quality_deviation"))
        for r in self.regions:
            values = (r.opinion.value, r.deviation, r.n_raters, r.opinion.quality, r.quality_deviation)
            table.writerow((r.image, r.region, *(f"{value:.6g}" for value in values)))
        try:
            atomic_write_text(path, text.getvalue())
        except OSError as error:
            raise DataError(f"{path} cannot be written: {why_not_written(error)}.") from error


def summarise_ratings(path: str | Path, table: RatingTable) -> RatingSummary:
    """Read, screen and average a file of ratings.

    Args:
        path: the file.
        table: its columns, the declared range and the rule.

    Returns:
        At least one region.

    Raises:
        DataError: see :func:`read_ratings`; fewer than two raters, all scores equal, or no region with enough ratings.
    """
    ratings = read_ratings(path, table)
    if len(ratings.raters) < table.rule.min_raters:
        raise DataError(
            f"{path}: {len(ratings.raters)} rater(s) ({', '.join(ratings.raters)}); at least {table.rule.min_raters} "
            "are needed to tell what people agree on. Is rater the right column?"
        )
    if np.ptp(ratings.score) == 0.0:
        raise DataError(f"{path}: all {len(ratings.score)} scores are {ratings.score[0]:g}; nothing can be learnt.")
    screening = screen(ratings, table.rule)
    regions, too_few = _averages(screening.kept, table.scale, table.rule.min_raters)
    if not regions:
        raise DataError(
            f"{path}: none of {len(ratings.items)} regions was rated by {table.rule.min_raters} raters, after "
            f"{sum(bool(rater.left_out) for rater in screening.raters)} were left out."
        )
    return RatingSummary(regions, too_few, screening)


def read_ratings(path: str | Path, table: RatingTable) -> Ratings:
    """Read single ratings.

    Raises:
        DataError: the file or a column is missing, it holds no rating, or lines are wrong: a value missing, a score
            that is no finite number or outside the declared range, a region rated twice by one rater. All are named.
    """
    file = Path(path)
    found: dict[tuple[str, str, str], tuple[float, int]] = {}
    problems: list[str] = []
    try:
        for number, line in _lines(file, table):
            try:
                rater, image, region, score = _rating(line, table)
                first = found.setdefault((rater, image, region), (score, number))[1]
                if first != number:
                    raise DataError(f"{rater} rated {image}, region {region}, before (line {first}).")
            except DataError as error:
                problems.append(f"line {number}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error
    if problems:
        listed = "\n".join(_listed(problems, _SHOWN))
        raise DataError(f"{file}: {len(problems)} ratings are wrong:\n{listed}")
    if not found:
        raise DataError(f"{file} holds no rating.")
    raters = {name: p for p, name in enumerate(sorted({rater for rater, _, _ in found}))}
    items = {key: u for u, key in enumerate(sorted({(image, region) for _, image, region in found}))}
    keys = sorted(found)
    return Ratings(
        tuple(raters),
        tuple(items),
        np.array([raters[rater] for rater, _, _ in keys], np.int64),
        np.array([items[image, region] for _, image, region in keys], np.int64),
        np.array([found[key][0] for key in keys], np.float64),
    )


def _lines(path: Path, table: RatingTable) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The ratings of a file as they stand there, with the numbers of their lines, from 1."""
    wanted = {"image": table.image, "region": table.region, "rater": table.rater, "score": table.score}
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() not in JSON_LINES:
            rows = csv.DictReader(file, delimiter=table.delimiter)
            _require(wanted, list(rows.fieldnames or ()), f"{path} has the columns")
            for row in rows:
                yield rows.line_num, row
            return
        for number, text in enumerate(file, start=1):
            if text.strip():
                try:
                    value = json.loads(text)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"{path}, line {number}: not JSON ({error}).") from error
                if not isinstance(value, dict):
                    raise DataError(f"{path}, line {number}: {text.strip()[:60]!r}; an object is needed.")
                _require(wanted, list(value), f"{path}, line {number}, has the keys")
                yield number, value


def _require(wanted: Mapping[str, str], names: list[str], where: str) -> None:
    missing = {key: name for key, name in wanted.items() if name not in names}
    if missing:
        lines = [f"  {key}: none is called {name!r}.{did_you_mean(name, names)}" for key, name in missing.items()]
        raise DataError(f"{where} {', '.join(names) or 'none'}:\n" + "\n".join(lines))


def _rating(line: Mapping[str, Any], table: RatingTable) -> tuple[str, str, str, float]:
    """(rater, image, region, score) of a line."""
    texts = []
    for what, name in (("rater", table.rater), ("image", table.image), ("region", table.region)):
        value = line[name]
        text = "" if value is None else str(value).strip()
        if not text:
            raise DataError(f"the {what} is missing.")
        if not is_unicode(text):
            raise DataError(f"the {what} is {text!a}, which is no Unicode text.")
        texts.append(text)
    score = number_of(line[table.score], "the score")
    scale = table.scale
    if not scale.low <= score <= scale.high:
        raise DataError(f"the score is {score:g}; the declared range is {scale.low:g}..{scale.high:g}.")
    return texts[0], texts[1], texts[2], score


def _averages(
    ratings: Ratings, scale: Scale, min_raters: int
) -> tuple[tuple[RatedRegion, ...], tuple[tuple[str, str], ...]]:
    """Mean and standard deviation of every region with enough ratings, and the other regions."""
    size = len(ratings.items)
    counts = np.bincount(ratings.item, minlength=size)
    means = np.bincount(ratings.item, ratings.score, minlength=size) / np.maximum(counts, 1)
    squares = np.bincount(ratings.item, (ratings.score - means[ratings.item]) ** 2, minlength=size)
    deviations = np.sqrt(squares / np.maximum(counts - 1, 1))
    regions, too_few = [], []
    for u, (image, region) in enumerate(ratings.items):
        if counts[u] < min_raters:
            too_few.append((image, region))
            continue
        # A mean of equal scores at an end of the range may leave it by the last bit.
        mean = min(max(float(means[u]), scale.low), scale.high)
        opinion = OpinionScore(mean, scale.low, scale.high, scale.higher_is_better)
        regions.append(RatedRegion(image, region, opinion, float(deviations[u]), int(counts[u])))
    return tuple(regions), tuple(too_few)


def _listed(lines: list[str], limit: int) -> list[str]:
    more = [f"... and {len(lines) - limit} more"] if len(lines) > limit else []
    return [f"  {line}" for line in [*lines[:limit], *more]]


def _said(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
