"""How long `validate` takes for a large data set, and how much memory: 100,000 rows within 60 s and 1 GB.

    python benchmarks/validate_speed.py [--rows 100000] [--folder DIR]

The data set is synthetic: small embedded pictures of random waves, a grid of regions, recipes from the real sampler,
labels that fit them. Validation runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from data_builders.sampler import draw_recipe
from data_builders.shards import write_table
from data_builders.splits import assign_splits
from seagull_tune.config.data import SplitRule
from seagull_tune.config.distortions import RecipeMix
from seagull_tune.data.schema import (
    IMAGES_DIR,
    IMAGES_FEATURES,
    MANIFEST,
    SAMPLES_DIR,
    SAMPLES_FEATURES,
    SCHEMA_VERSION,
    ImageRecord,
    image_to_row,
    sample_to_row,
    to_table,
)
from seagull_tune.distortions.recipe import severities_of
from seagull_tune.distortions.severity import severity_table
from seagull_tune.records import Recipe, Region, RegionLabel, Sample
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode_all

SIDE, GRID = 96, 3
SAMPLES_PER_IMAGE = 24
IMAGES_PER_SHARD = 200
LIMIT_SECONDS, LIMIT_BYTES = 60.0, 10**9


def regions() -> tuple[Region, ...]:
    """A grid of squares."""
    step = SIDE // GRID
    return tuple(
        box_region((x * step, y * step, (x + 1) * step, (y + 1) * step), SIDE, SIDE)
        for y in range(GRID)
        for x in range(GRID)
    )


def picture(rng: np.random.Generator) -> bytes:
    """A PNG of random waves, uint8 (SIDE, SIDE, 3): pictures differ, and their perceptual hashes do."""
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    done, png = cv2.imencode(".png", cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    assert done
    return bytes(png.tobytes())


def labels_of(recipe: Recipe, masks: np.ndarray) -> tuple[RegionLabel, ...]:
    """Labels that a measure could have given: quality falls with the worst severity."""
    targets = (1.0, *severity_table().targets)
    return tuple(
        RegionLabel(targets[max(severities)], None if recipe.pristine else 0.1, severities)
        for severities in severities_of(recipe, masks)
    )


def image_rows(count: int) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The row of every image, and those of its samples."""
    mine, mix = regions(), RecipeMix()
    masks, areas = decode_all(mine), [region.area for region in mine]
    splits = assign_splits((f"image-{i:06d}" for i in range(count)), SplitRule(test=0.1))
    for i in range(count):
        rng = np.random.Generator(np.random.PCG64(i))
        name, data = f"image-{i:06d}", picture(rng)
        digest = hashlib.sha256(data).hexdigest()
        record = ImageRecord(name, name, "file", f"{name}.png", digest, None, SIDE, SIDE, splits[name], mine, data)
        samples = []
        for k in range(SAMPLES_PER_IMAGE):
            recipe = draw_recipe(mix, len(mine), areas, rng, image_area=float(SIDE * SIDE))
            labels = labels_of(recipe, masks)
            quality = float(np.mean([label.quality for label in labels]))
            samples.append(sample_to_row(Sample(f"{name}#{k:04d}", name, recipe, labels, k), quality))
        yield image_to_row(record), samples


def make(folder: Path, n_rows: int) -> None:
    """Write a data set of about ``n_rows`` rows in all."""
    count = max(1, n_rows // (1 + SAMPLES_PER_IMAGE))
    images: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    for done, (image, some) in enumerate(image_rows(count), start=1):
        images.append(image)
        samples += some
        if done % IMAGES_PER_SHARD == 0 or done == count:
            shard = f"shard-{done:06d}.parquet"
            write_table(to_table(images, IMAGES_FEATURES, {}), folder / IMAGES_DIR / shard)
            write_table(to_table(samples, SAMPLES_FEATURES, {}), folder / SAMPLES_DIR / shard)
            images, samples = [], []
    manifest = {
        "schema_version": SCHEMA_VERSION, "complete": True, "n_images": count,
        "n_samples": count * SAMPLES_PER_IMAGE, "config_hash": "synthetic", "image_root": None,
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def check(folder: Path) -> dict[str, Any]:
    """Validate in this process; what was found, seconds and bytes."""
    from data_builders.validate import validate_dataset

    started = time.monotonic()
    report = validate_dataset(folder, show_progress=False)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    rows = report.n_images + report.n_samples
    return {"rows": rows, "problems": len(report.problems), "seconds": seconds, "bytes": peak}


def main() -> None:
    """Make the data set, validate it elsewhere, print the table; exit code 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000, help="rows of both tables together")
    parser.add_argument("--folder", type=Path, help="keep the data set here, or use the one that is there")
    parser.add_argument("--check", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.check is not None:
        print(json.dumps(check(arguments.check)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch) / "set"
        if not (folder / MANIFEST).exists():
            make(folder, arguments.rows)
        line = [sys.executable, __file__, "--check", str(folder)]
        found = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    table = Table("rows", "problems", "seconds", "peak memory, MB", title="validate")
    table.add_row(
        f"{found['rows']:,}", str(found["problems"]), f"{found['seconds']:.1f}", f"{found['bytes'] / 1e6:.0f}"
    )
    Console().print(table)
    sys.exit(int(found["seconds"] > LIMIT_SECONDS or found["bytes"] > LIMIT_BYTES))


if __name__ == "__main__":
    main()
