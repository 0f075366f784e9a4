"""Opens the Parquet files of a data set as two tables that know which file and row everything came from."""

from __future__ import annotations

import bisect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Features

from seagull_tune.data.schema.columns import (
    IMAGES_DIR,
    IMAGES_FEATURES,
    METADATA_KEY,
    SAMPLES_DIR,
    SAMPLES_FEATURES,
    check_version,
    read_manifest,
)
from seagull_tune.errors import DataError

_REMEDY = "Remove it and build again: only this shard is redone."


@dataclass(frozen=True)
class RowTable:
    """A table over several files.

    Attributes:
        table: all rows, in the order of the sorted file names.
        files: the files.
        starts: row of the table at which each file begins.
    """

    table: pa.Table
    files: tuple[Path, ...]
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def row(self, index: int) -> dict[str, Any]:
        """One row as plain values."""
        return dict(self.table.slice(index, 1).to_pylist()[0])

    def where(self, index: int) -> str:
        """File and row number (from 0) of a row, for messages."""
        at = bisect.bisect_right(self.starts, index) - 1
        file = self.files[at]
        return f"{file.parent.name}/{file.name}, row {index - self.starts[at]}"


def file_metadata(path: Path) -> dict[str, Any]:
    """Our metadata of one Parquet file.

    Raises:
        DataError: not a Parquet file, or not one of ours.
    """
    try:
        raw = (pq.read_schema(path).metadata or {}).get(METADATA_KEY)
        found = None if raw is None else json.loads(raw)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: our own part is no UTF-8, or no JSON
        raise DataError(
            f"{path} is not a whole Parquet file ({error}). Remove it and build again: only it is redone."
        ) from error
    if not isinstance(found, dict):
        raise DataError(f"{path} was not written by this program: it has no {METADATA_KEY.decode()!r} metadata.")
    return found


def count_samples(folder: str | Path) -> int:
    """Samples of a data set, all splits, by the headers of its files: no row is read.

    Raises:
        DataError: no data set, an unfinished one, another schema version, or a damaged file.
    """
    _check_finished(folder)
    files = _parquet_files(Path(folder) / SAMPLES_DIR)
    for file in files:
        check_version(file_metadata(file).get("schema_version"), str(file))
    return sum(int(pq.read_metadata(file).num_rows) for file in files)


def open_tables(folder: str | Path) -> tuple[RowTable, RowTable]:
    """The `images` and the `samples` table of a data set.

    Raises:
        DataError: no data set, an unfinished one, another schema version, a damaged file, or other columns.
    """
    _check_finished(folder)
    return (
        _open(Path(folder) / IMAGES_DIR, IMAGES_FEATURES),
        _open(Path(folder) / SAMPLES_DIR, SAMPLES_FEATURES),
    )


def _check_finished(folder: str | Path) -> None:
    if not read_manifest(folder).get("complete"):
        raise DataError(f"{folder} is not finished: its build was stopped. Run the same build again to go on.")


def _parquet_files(folder: Path) -> tuple[Path, ...]:
    files = tuple(sorted(folder.glob("*.parquet")))
    if not files:
        raise DataError(f"{folder} holds no Parquet file. Build the data set again.")
    return files


def _open(folder: Path, features: Features) -> RowTable:
    files = _parquet_files(folder)
    tables, starts, total = [], [], 0
    for file in files:
        check_version(file_metadata(file).get("schema_version"), str(file))
        try:
            table = pq.read_table(file, memory_map=True, page_checksum_verification=True)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{file} cannot be read ({error}). Remove it and build again: only it is redone."
            ) from error
        if not table.schema.equals(features.arrow_schema, check_metadata=False):
            raise DataError(
                f"{file} has the columns {table.schema.names} of other names or types than schema version "
                "says (docs/data-format.md). Build the data set again."
            )
        starts.append(total)
        total += table.num_rows
        tables.append(table)
    return RowTable(pa.concat_tables(tables).combine_chunks(), files, tuple(starts))
