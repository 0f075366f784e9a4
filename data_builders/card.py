"""The data card: a README.md beside the shards, with the YAML header that the Hub and ``datasets`` read.

The header says which files are which table, so that ``datasets.load_dataset(FOLDER, "samples")`` works anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from seagull_tune.builtin_scenes import builtin_scenes
from seagull_tune.data.schema import IMAGES_DIR, SAMPLES_DIR, open_tables, read_manifest, split_sizes
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write_text, why_not_written
from seagull_tune.hub_card import CARD, data_set_name, front_matter, hub_licence

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_TEMPLATE = """{header}
# {name}

An image quality data set of regions of interest, made with Seagull-Tune. It stores how every picture is made from its
photograph (recipes), or where it lies, not the pictures. docs/data-format.md of the project describes the columns.

```python
import datasets

samples = datasets.load_dataset(FOLDER, "samples", split="rows")
images = datasets.load_dataset(FOLDER, "images", split="rows")
```

## Sizes

{sizes}

## Distortions

{families}

## Labels

- Source: {source}
- Messages are derived when a row is read. Prompts when it was made: {prompts}
- Made with: {versions}
- Schema version: {schema}

## Licences

{licences}
"""


def write_card(folder: str | Path) -> Path:
    """Write the card of a finished data set; the same data set always gives the same card.

    Returns:
        The file.

    Raises:
        DataError: the data set cannot be opened, or the card cannot be written.
    """
    images, samples = open_tables(folder)
    path = Path(folder) / CARD
    text = card_text(read_manifest(folder), images.table, samples.table)
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            atomic_write_text(path, text)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {why_not_written(error)}.") from error
    return path


def card_text(manifest: Mapping[str, Any], images: pa.Table, samples: pa.Table) -> str:
    """The card.

    Args:
        manifest: the data set's ``dataset.json``.
        images, samples: its tables.
    """
    name = data_set_name(manifest["config_hash"])  # the same data set has the same card anywhere
    licences = _licences(manifest, images)
    header = _header(name, licences, len(samples))
    return _TEMPLATE.format(
        header=front_matter(header),
        name=name,
        sizes=_sizes(images, samples),
        families=_families(samples),
        source=manifest.get("label_source", "not stated"),
        prompts=_pairs(manifest.get("prompts", {})),
        versions=_pairs(manifest.get("versions", {})),
        schema=manifest["schema_version"],
        licences="\n".join(f"- {licence}: {what}" for licence, what in licences.items()),
    )


def _header(name: str, licences: Mapping[str, str], n_samples: int) -> dict[str, Any]:
    size = next((text for limit, text in _SIZES if n_samples < limit), "n>1M")
    tables = [
        {"config_name": table, "data_files": [{"split": "rows", "path": f"{table}/*.parquet"}], **more}
        for table, more in ((SAMPLES_DIR, {"default": True}), (IMAGES_DIR, {}))
    ]
    return {
        "pretty_name": name,
        "license": hub_licence(licences),
        "language": ["en"],
        "task_categories": ["visual-question-answering", "image-classification"],
        "tags": ["image-quality-assessment", "region-of-interest", "seagull-tune"],
        "size_categories": [size],
        "configs": tables,
    }


def _licences(manifest: Mapping[str, Any], images: pa.Table) -> dict[str, str]:
    """Licence -> the photographs that have it."""
    builtin = set(images.filter(pc.equal(images["source_kind"], "builtin"))["source"].unique().to_pylist())
    found: dict[str, list[str]] = {}
    for scene in builtin_scenes():
        if scene.name in builtin:
            found.setdefault(scene.licence, []).append(scene.name)
    licences = {licence: ", ".join(sorted(names)) for licence, names in sorted(found.items())}
    if len(images) > pc.sum(pc.equal(images["source_kind"], "builtin")).as_py():
        licences[str(manifest.get("licence", "unknown"))] = "the photographs, as whoever made this data set stated it"
    return licences


def _sizes(images: pa.Table, samples: pa.Table) -> str:
    lines = ["| Split | Scenes | Images | Regions | Samples |", "|---|---|---|---|---|"]
    for split, size in split_sizes(images, samples).items():
        lines.append(f"| {split} | {size.scenes} | {size.images} | {size.regions} | {size.samples} |")
    return "\n".join(lines)


def _families(samples: pa.Table) -> str:
    """How often each variant is applied; samples without a step, or without a recipe, are counted apart."""
    unknown = samples["recipe"].null_count
    steps = pc.list_flatten(samples["recipe"])
    names = pc.binary_join_element_wise(pc.struct_field(steps, "type"), pc.struct_field(steps, "variant"), "/")
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(names).to_pylist()}
    lines = [f"- {name}: {counts[name]}" for name in sorted(counts)]
    pristine = pc.sum(pc.equal(pc.list_value_length(samples["recipe"]), 0)).as_py() or 0
    lines += [f"- pristine: {pristine} samples"] * bool(pristine)
    lines += [f"- pictures that came as they are: {unknown}"] * bool(unknown)
    return "\n".join(lines)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {values[key]}" for key in sorted(values)) or "not recorded"
