"""Opinion scores of whole pictures: a CSV file with a file name and a score (MOS) per row.

A score is kept with its declared range and direction; nothing is guessed from the values. Whatever is wrong with the
rows is reported at once.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seagull_tune.config.data import SPLITS, SplitName
from seagull_tune.config.exchange import MosTable
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.records import OpinionScore
from seagull_tune.values import number_of

_SHOWN = 20


@dataclass(frozen=True)
class OpinionRow:
    """One row of a file of opinion scores.

    Attributes:
        line: in the file, from 1.
        name: file name below the folder of pictures.
        scene: what may not be divided between splits; the picture itself where the file names none.
        split: the one that the file states, or None.
        opinion: the score with its range.
        deviation: standard deviation of the raters, on the scale of the score; None where the file does not say it.
    """

    line: int
    name: str
    scene: str
    split: SplitName | None
    opinion: OpinionScore
    deviation: float | None = None


def read_opinions(path: Path, table: MosTable, deviation: str | None = None) -> list[OpinionRow]:
    """Reads a file of opinion scores.

    Args:
        path: the CSV file.
        table: its columns, and range and direction of the scores.
        deviation: column of the raters' standard deviation; None reads none.

    Raises:
        DataError: it cannot be read, a column is missing, or rows are wrong: all of them are named.
    """
    rows: list[OpinionRow] = []
    problems: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, delimiter=table.delimiter)
            _require_columns(path, lines.fieldnames or (), table, deviation)
            seen: set[str] = set()
            for line in lines:
                try:
                    rows.append(_row(line, lines.line_num, table, deviation, seen))
                except DataError as error:
                    problems.append(f"line {lines.line_num}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error
    if problems:
        raise DataError(f"{path}: {len(problems)} of {len(problems) + len(rows)} rows are wrong:\n{listed(problems)}")
    if not rows:
        raise DataError(f"{path} holds no row.")
    return rows


def listed(problems: list[str]) -> str:
    """Problems of rows for a message, a line each; of many, the first ones."""
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return "\n".join(f"  {line}" for line in [*problems[:_SHOWN], *more])


def _require_columns(path: Path, found: object, table: MosTable, deviation: str | None) -> None:
    names = [str(name) for name in found] if isinstance(found, (list, tuple)) else []
    wanted = {
        "image": table.image, "score": table.score, "scene": table.scene, "split": table.split, "std": deviation,
    }  # fmt: skip
    missing = {key: name for key, name in wanted.items() if name is not None and name not in names}
    if missing:
        lines = [f"  mos.{key}: no column {name!r}.{did_you_mean(name, names)}" for key, name in missing.items()]
        raise DataError(f"{path} has the columns {', '.join(names) or 'none'}:\n" + "\n".join(lines))


def _row(
    line: Mapping[str, str | None], number: int, table: MosTable, deviation: str | None, seen: set[str]
) -> OpinionRow:
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
        spread = number_of((line[deviation] or "").strip(), "the deviation") if deviation is not None else None
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    if spread is not None and spread < 0:
        raise DataError(f"{name}: the deviation is {spread:g}; allowed: 0 or more.")
    split = (line[table.split] or "").strip() if table.split is not None else None
    if split is not None and split not in SPLITS:
        raise DataError(f"{name}: the split is {split!r}; allowed: {', '.join(SPLITS)}.")
    scene = (line[table.scene] or "").strip() if table.scene is not None else ""
    return OpinionRow(number, name, scene or name, split, opinion, spread)
