"""A small data set whose rows are written down: what a change does to recipes and labels shows in the difference.

After a change that is meant (another measure, another mixture), write the rows again, and read what changed:

    python -m tests.expected_tables && git diff tests/assets/expected_tables.json
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

from data_builders.pipeline import build_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.data.schema import open_tables
from seagull_tune.files import atomic_write_text

EXPECTED = Path(__file__).parent / "assets" / "expected_tables.json"
DECIMALS = 3
"""Of labels; more of them depend on the processor and on the versions of codecs."""
DIGITS = 6
"""Significant ones of the parameters of steps."""
HEIGHT, WIDTH = 144, 192

Rows = dict[str, list[dict[str, Any]]]


def build_rows(scratch: Path) -> Rows:
    """Build two photographs with four quarters as regions, under the default mixture, and read the rows.

    Args:
        scratch: an empty folder.

    Returns:
        The rows of both tables, ``images`` and ``samples``, rounded.
    """
    photographs, maps = scratch / "photographs", scratch / "maps"
    photographs.mkdir()
    maps.mkdir()
    quarters = np.kron(np.array([[1, 2], [3, 4]], np.uint8), np.ones((HEIGHT // 2, WIDTH // 2), np.uint8))
    for name in ("chelsea", "coffee"):
        pixels = np.ascontiguousarray(getattr(skimage.data, name)()[60 : 60 + HEIGHT, 100 : 100 + WIDTH])
        Image.fromarray(pixels).save(photographs / f"{name}.bmp")  # the same bytes with every version of every library
        Image.fromarray(quarters).save(maps / f"{name}.png")
    overrides = (
        f"source={photographs}", "regions.method=label_maps", f"regions.dir={maps}", "samples_per_image=16", "seed=11",
        "split.test=0.5",
    )  # fmt: skip
    build_dataset(load_config(BuildConfig, "configs/data/default.yaml", overrides), scratch / "set", False)
    images, samples = open_tables(scratch / "set")
    return {
        "images": [images.row(index) for index in range(len(images))],
        "samples": [_rounded(samples.row(index)) for index in range(len(samples))],
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the samples table, with as many digits as other machines agree on."""
    steps = [
        {
            **step,
            "params": {param["name"]: float(f"{param['value']:.{DIGITS}g}") for param in step["params"]},
            "feather_px": float(f"{step['feather_px']:.{DIGITS}g}"),
        }
        for step in row["recipe"]
    ]
    labels = [{**label, **{name: _label(label[name]) for name in ("quality", "importance")}} for label in row["labels"]]
    return {**row, "recipe": steps, "labels": labels, "image_quality": _label(row["image_quality"])}


def _label(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def write_rows(rows: Rows, path: Path) -> None:
    """Write rows as JSON, one on each line."""
    tables = (
        f'"{name}": [\n' + ",\n".join(json.dumps(row, sort_keys=True) for row in part) + "\n]"
        for name, part in sorted(rows.items())
    )
    atomic_write_text(path, "{\n" + ",\n".join(tables) + "\n}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_rows(build_rows(Path(folder)), EXPECTED)
    print(f"{EXPECTED}: written")
