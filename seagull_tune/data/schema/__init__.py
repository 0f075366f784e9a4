"""The stored form of an ROI data set: its two tables, their version, rows <-> records, and the way back to pixels.

A data set is a folder (docs/data-format.md): `dataset.json`, `images/*.parquet`, `samples/*.parquet`. It stores
recipes, not pixels. Either table also opens with ``datasets.load_dataset("parquet", data_dir=...)``. Nothing here knows
a model, so the data builders share it.
"""

from seagull_tune.data.schema.columns import (
    IMAGES_DIR,
    IMAGES_FEATURES,
    MANIFEST,
    METADATA_KEY,
    SAMPLES_DIR,
    SAMPLES_FEATURES,
    SCHEMA_VERSION,
    SOURCE_KINDS,
    check_version,
    encodings,
    read_manifest,
    to_table,
)
from seagull_tune.data.schema.leaks import find_leaks
from seagull_tune.data.schema.nulls import missing_values
from seagull_tune.data.schema.pixels import load_image, load_picture, masks_of, sample_pixels, source_path, view_of
from seagull_tune.data.schema.rows import (
    ImageRecord,
    image_from_row,
    image_to_row,
    recipe_from_rows,
    recipe_to_rows,
    sample_from_row,
    sample_to_row,
)
from seagull_tune.data.schema.sizes import SplitSize, split_sizes
from seagull_tune.data.schema.tables import RowTable, count_samples, file_metadata, open_tables

__all__ = [
    "IMAGES_DIR", "IMAGES_FEATURES", "MANIFEST", "METADATA_KEY", "SAMPLES_DIR", "SAMPLES_FEATURES", "SCHEMA_VERSION",
    "SOURCE_KINDS", "ImageRecord", "RowTable", "SplitSize", "check_version", "count_samples", "encodings",
    "file_metadata", "find_leaks", "image_from_row", "image_to_row", "load_image", "load_picture", "masks_of",
    "missing_values", "open_tables",
    "read_manifest", "recipe_from_rows", "recipe_to_rows", "sample_from_row", "sample_pixels", "sample_to_row",
    "source_path", "split_sizes", "to_table", "view_of",
]  # fmt: skip
