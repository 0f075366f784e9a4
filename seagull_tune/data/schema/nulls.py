"""Which cells of the two tables may be null, and where others are: Parquet itself lets any cell be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

OPTIONAL = frozenset(
    {
        "crop_xyxy", "file_bytes", "recipe", "recipe.regions", "picture", "image_quality", "mos", "labels.importance",
        "labels.severities", "labels.quality_deviation", "pair_id",
    }
)  # fmt: skip
"""Columns, and fields of their entries, that docs/data-format.md lets be null."""


def missing_values(table: pa.Table) -> dict[int, list[str]]:
    """Rows with a null where a value is needed.

    Args:
        table: ``images`` or ``samples``.

    Returns:
        Row -> the names of what is missing there, each once, as in :data:`OPTIONAL`; an entry of a list is named as its
        list.
    """
    found: dict[int, list[str]] = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        for row, path in _nulls(column, name, np.arange(table.num_rows), name in OPTIONAL):
            if path not in found.setdefault(row, []):
                found[row].append(path)
    return found


def _nulls(array: pa.Array, path: str, rows: np.ndarray, optional: bool) -> Iterator[tuple[int, str]]:
    """Nulls of an array and of what is in it; ``rows``, int64 (n,), says which row of the table an entry belongs to."""
    if array.null_count:
        there = pc.is_valid(array).to_numpy(zero_copy_only=False)
        if not optional:
            yield from ((int(row), path) for row in rows[~there])
        array, rows = array.drop_null(), rows[there]
    if pa.types.is_list(array.type):
        counts = pc.list_value_length(array).to_numpy()
        yield from _nulls(pc.list_flatten(array), path, np.repeat(rows, counts), False)
    elif pa.types.is_struct(array.type):
        for field in array.type:
            name = f"{path}.{field.name}"
            yield from _nulls(pc.struct_field(array, field.name), name, rows, name in OPTIONAL)
