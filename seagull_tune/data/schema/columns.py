"""The columns of the two tables, their version, and the manifest that closes a data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import Features, List, Value

from seagull_tune.errors import DataError

SCHEMA_VERSION = 3
"""Version of the two tables. Another version is refused: data sets are cheap to build again from their recipes.

Version 2 holds samples without a recipe (``picture``, authentic images), opinion scores (``mos``), steps that act
outside of their regions (``outside``), and pairs (``pair_id``). Version 3 also holds how far the raters of a region
disagreed (``labels.quality_deviation``).
"""

MANIFEST = "dataset.json"
IMAGES_DIR = "images"
SAMPLES_DIR = "samples"
METADATA_KEY = b"seagull_tune"
"""Key of the JSON object in the metadata of every Parquet file."""

SOURCE_KINDS = ("file", "builtin")

IMAGES_FEATURES = Features(
    {
        "image_id": Value("string"),
        "scene_id": Value("string"),
        "source_kind": Value("string"),
        "source": Value("string"),
        "sha256": Value("string"),
        "crop_xyxy": List(Value("int32")),
        "height": Value("int32"),
        "width": Value("int32"),
        "split": Value("string"),
        "regions": List(
            {
                "name": Value("string"),
                "counts": Value("string"),
                "area": Value("int64"),
                "box_xyxy": List(Value("int32")),
            }
        ),
        "file_bytes": Value("binary"),
    }
)
"""One row per image: a source photograph, or one tile of it."""

SAMPLES_FEATURES = Features(
    {
        "sample_id": Value("string"),
        "image_id": Value("string"),
        "recipe": List(
            {
                "type": Value("string"),
                "variant": Value("string"),
                "severity": Value("int8"),
                "params": List({"name": Value("string"), "value": Value("float64")}),
                "seed": Value("int64"),
                "regions": List(Value("int32")),
                "feather_px": Value("float64"),
                "outside": Value("bool"),
            }
        ),
        "picture": {"source": Value("string"), "sha256": Value("string")},
        "image_quality": Value("float32"),
        "mos": {
            "value": Value("float64"),
            "low": Value("float64"),
            "high": Value("float64"),
            "higher_is_better": Value("bool"),
        },
        "labels": List(
            {
                "quality": Value("float32"),
                "importance": Value("float32"),
                "severities": List(Value("int8")),
                "quality_deviation": Value("float32"),
            }
        ),
        "prompt_seed": Value("int64"),
        "pair_id": Value("string"),
    }
)
"""One row per distorted, pristine or authentic version of an image."""


_MEASURED = ("labels.list.element.quality", "labels.list.element.importance", "image_quality")
_DRAWN = ("prompt_seed", "recipe.list.element.seed")


def encodings(schema: pa.Schema) -> dict[str, Any]:
    """How columns are laid out in a Parquet file: options of ``pyarrow.parquet.write_table``.

    Measures and seeds hardly ever repeat, so a dictionary of them would be as long as the column; the bytes of measures
    are split by place instead, since signs and exponents compress. Together that saves a quarter of a ``samples`` file.
    """
    leaves = [path for field in schema for path in _leaves(field.name, field.type)]
    return {
        "use_dictionary": [path for path in leaves if path not in (*_MEASURED, *_DRAWN)],
        "column_encoding": {path: "BYTE_STREAM_SPLIT" for path in leaves if path in _MEASURED},
    }


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    """Parquet's names of the columns that an Arrow column becomes."""
    if pa.types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    return [path]


def to_table(rows: Sequence[Mapping[str, Any]], features: Features, metadata: Mapping[str, Any]) -> pa.Table:
    """A table of rows, with our metadata beside that of ``datasets``."""
    schema = features.arrow_schema
    ours = json.dumps({"schema_version": SCHEMA_VERSION, **metadata}, sort_keys=True)
    schema = schema.with_metadata({**(schema.metadata or {}), METADATA_KEY: ours.encode()})
    return pa.Table.from_pylist(list(rows), schema=schema)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The content of a data set's ``dataset.json``, after its version was checked.

    Raises:
        DataError: no data set here, a damaged file, or another schema version.
    """
    path = Path(folder) / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        version = manifest["schema_version"]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} is no data set: it has no {MANIFEST}. Make one with `seagull-tune build`.") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read ({error!r}). Build the data set again.") from error
    check_version(version, str(path))
    return dict(manifest)


def check_version(version: object, where: str) -> None:
    """Refuse another schema version.

    Raises:
        DataError: naming the file, both versions and the remedy.
    """
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{where} has schema version {version!r}, and this program reads version {SCHEMA_VERSION}. Build the data "
            "set again with this program (recipes are drawn from seeds; an imported one: import it again), or use the "
            "program version that made it."
        )
