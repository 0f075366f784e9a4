"""Lines of answers -> a table, CSV or Parquet, one row per region.

A column is named by the way to its value in the JSON, with dots: ``region.name``, ``quality_levels.bad``,
``severities.blur.probabilities``. Lists (boxes, probabilities) are lists in Parquet and JSON text in CSV. What is null
in the first line has no column. Bytes of file names that are not UTF-8 are written as ``\\udcXX``.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seagull_tune.errors import DataError
from seagull_tune.files import STAGING_SUFFIX, atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

CSV, PARQUET = ".csv", ".parquet"
_ROWS_AT_ONCE = 1000


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its suffix."""
    return path.suffix.lower() in (CSV, PARQUET)


def flatten(answer: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values -> columns: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``; lists stay whole, nulls are left out."""
    flat: dict[str, Any] = {}
    for key, value in answer.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat


def write_table(lines: Path, out: Path) -> None:
    """Writes the table of a file of JSON lines; it appears whole or not at all, and is made in bounded memory.

    Args:
        lines: what ``seagull-tune assess`` wrote.
        out: ``.csv`` or ``.parquet``.

    Raises:
        DataError: a line has other columns than the first.
        OSError: the table cannot be written.
    """
    if out.suffix.lower() == CSV:
        atomic_write(out, _csv_chunks(lines))
    else:
        _write_parquet(lines, out)


def _rows(lines: Path) -> Iterator[dict[str, Any]]:
    columns: set[str] = set()
    with lines.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            row = flatten(json.loads(line))
            columns = columns or set(row)
            if set(row) - columns:
                raise DataError(
                    f"{lines}, row {number}: {', '.join(sorted(set(row) - columns))} is new; a table needs the columns "
                    "of its first row in every row."
                )
            yield row


def _csv_chunks(lines: Path) -> Iterator[bytes]:
    columns: list[str] = []
    for rows in _batches(lines):
        text = io.StringIO()
        if not columns:
            columns = list(rows[0])
            csv.writer(text).writerow(columns)
        writer = csv.writer(text)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
        yield text.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | bool) else value


def _write_parquet(lines: Path, out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    staging = out.with_name(out.name + STAGING_SUFFIX)
    try:
        batches = _batches(lines)
        first = next(batches, [])
        schema = pa.schema([(name, _type_of(value)) for name, value in first[0].items()] if first else [])
        with pq.ParquetWriter(staging, schema, compression="zstd") as writer:
            for rows in itertools.chain([first] if first else [], batches):
                columns = [pa.array([_text(row.get(field.name)) for row in rows], field.type) for field in schema]
                writer.write_table(pa.table(columns, schema=schema))
        os.replace(staging, out)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def _batches(lines: Path) -> Iterator[Sequence[dict[str, Any]]]:
    rows = _rows(lines)
    while batch := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        yield batch


def _type_of(value: Any) -> pa.DataType:
    import pyarrow as pa

    if isinstance(value, list):
        return pa.list_(_type_of(value[0]) if value else pa.float64())
    kinds = ((bool, pa.bool_()), (int, pa.int64()), (float, pa.float64()), (str, pa.string()))
    return next(kind for python, kind in kinds if isinstance(value, python))


def _text(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
