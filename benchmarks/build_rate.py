"""How fast data sets are built, and how small they are, beside the bars.

    python benchmarks/build_rate.py [--data DIR] [--photographs 8] [--samples 120] [--workers 2]

Photographs (those of --data, else the built-in ones that need no network) are cropped and brought to 512 x 512 pixels,
and divided into 30 regions. The recipes are those of `configs/data/seagull-100w.yaml`. Shares are of processor time,
so that they hold on a busy machine too; the rate of the executor is time on the clock, start of the processes included.

The floor is what no builder of such a set can leave out: decoding the photograph once, the distortions themselves, and
one similarity map per distorted image.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from rich.console import Console
from rich.table import Table

from data_builders.executors import single_threaded
from data_builders.pipeline import build_dataset
from data_builders.shards import draw_recipes
from data_builders.sources import few_sources, list_sources, load_source
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.distortions.recipe import render, severities_of
from seagull_tune.distortions.scene import developed
from seagull_tune.fullref.measure import Reference, measure_regions
from seagull_tune.images import read_image
from seagull_tune.records import Recipe
from seagull_tune.regions.windows import MaskWindows

SIDE, REGIONS = 512, 30
SETTING = "configs/data/seagull-100w.yaml"
RELEASED = 978_720
"""Distorted images of SEAGULL-100w."""
MOST_TIMES, LEAST_RATE, LEAST_SHARE, MOST_BYTES = 1.25, 30.0, 0.6, 24.0


@dataclass(frozen=True)
class Line:
    """A row of the table; ``holds`` is None where there is no bar."""

    what: str
    value: str
    bar: str = "–"
    holds: bool | None = None


def label_map(seed: int) -> np.ndarray:
    """A division of the picture into 30 cells, each of the pixels nearest to a random point: uint8 (SIDE, SIDE), 1.."""
    points = np.random.default_rng(seed).uniform(0, SIDE, (REGIONS, 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    distances = (x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2
    return (np.argmin(distances, axis=-1) + 1).astype(np.uint8)


def prepare(data: str, count: int, folder: Path) -> None:
    """Write ``count`` photographs of 512 x 512 pixels and their label maps."""
    (folder / "images").mkdir()
    (folder / "regions").mkdir()
    sources = few_sources(BuildConfig(source=data), count)
    for number in range(count):
        image = developed(load_source(sources[number % len(sources)]))
        side = min(image.shape[:2])
        # Where there are too few photographs, other corners of them.
        top = (image.shape[0] - side) * (number // len(sources) % 2)
        left = (image.shape[1] - side) * (number // len(sources) % 2)
        square = cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        Image.fromarray(square).save(folder / "images" / f"{number:03d}.png")
        Image.fromarray(label_map(number)).save(folder / "regions" / f"{number:03d}.png")


def configuration(folder: Path, samples: int, workers: int) -> BuildConfig:
    """The build: the setting, the photographs as they are, all of their regions."""
    values = {
        "source": folder / "images", "regions.method": "label_maps", "regions.dir": folder / "regions",
        "regions.min_area_share": 0.0, "regions.max_regions": REGIONS, "max_side": "null", "shard_images": 1,
        "samples_per_image": samples, "workers": workers,
    }  # fmt: skip
    return load_config(BuildConfig, SETTING, [f"{key}={value}" for key, value in values.items()])


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor seconds of this process."""
    with single_threaded():
        started = time.process_time()
        work()
        return time.process_time() - started


def children_seconds() -> float:
    """Processor seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def label(image: np.ndarray, masks: np.ndarray, recipes: Sequence[Recipe]) -> None:
    """Render and label, as the builder does."""
    reference, windows = Reference(image), MaskWindows(masks)
    for recipe in recipes:
        measure_regions(reference.compare(render(image, recipe, windows.masks)), windows)
        severities_of(recipe, windows)


def least(path: Path, recipes: Sequence[Recipe]) -> None:
    """The floor: decode once, distort, and make one map per distorted image."""
    image = read_image(path)
    reference, nothing = Reference(image), np.zeros((0, SIDE, SIDE), np.bool_)
    for recipe in recipes:
        reference.compare(render(image, recipe, nothing))


def per_sample(config: BuildConfig) -> tuple[float, float, float]:
    """Processor seconds per sample of rendering and labelling 30 regions, of one, and of the floor."""
    totals, count = np.zeros(3), 0
    for number, source in enumerate(list_sources(config)):
        recipes = [recipe for recipe, _ in draw_recipes(source.image_id, [1.0] * REGIONS, float(SIDE * SIDE), config)]
        labels = label_map(number)
        masks = np.stack([labels == value for value in range(1, REGIONS + 1)])
        image = read_image(source.path)
        label(image, masks, recipes[:1])  # tables that are made once
        work = (partial(label, image, masks), partial(label, image, masks[:1]), partial(least, source.path))
        totals += [processor_seconds(partial(part, recipes)) for part in work]
        count += len(recipes)
    thirty, one, floor = (totals / count).tolist()
    return thirty, one, floor


def stored(folder: Path) -> tuple[int, int]:
    """Bytes of the tables of a data set, and bytes of pixels among them."""
    files = sorted(folder.glob("*/*.parquet"))
    embedded = [pq.read_table(file, columns=["file_bytes"]) for file in sorted((folder / "images").glob("*.parquet"))]
    pixels = sum(len(value) for table in embedded for value in table["file_bytes"].to_pylist() if value is not None)
    return sum(file.stat().st_size for file in files), pixels


def measure(data: str, count: int, samples: int, workers: int) -> list[Line]:
    """All rows of the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(data, count, folder)
        alone, together = configuration(folder, samples, 1), configuration(folder, samples, workers)
        thirty, one, floor = per_sample(alone)
        ours = processor_seconds(partial(build_dataset, alone, folder / "one", show_progress=False)) / (count * samples)
        started, used = time.monotonic(), children_seconds()
        summary = build_dataset(together, folder / "many", show_progress=False)
        rate = summary.n_samples / (time.monotonic() - started)
        undisturbed = summary.n_samples * workers / (children_seconds() - used)
        size, pixels = stored(folder / "many")
    per_region = size / (summary.n_samples * REGIONS)
    busy = os.getloadavg()[0]
    return [
        Line(f"{REGIONS} regions against 1", f"{thirty / one:.2f} x", f"<= {MOST_TIMES} x", thirty / one <= MOST_TIMES),
        Line(f"executor, {workers} processes (load of the machine {busy:.1f})", f"{rate:.1f} images/s",
             f">= {LEAST_RATE:.0f}", rate >= LEAST_RATE),
        Line("– if no other process ran (by processor time)", f"{undisturbed:.1f} images/s"),
        Line("builder, per processor", f"{1 / ours:.1f} images/s"),
        Line("floor, per processor", f"{1 / floor:.1f} images/s"),
        Line("builder as a share of the floor", f"{floor / ours:.0%}", f">= {LEAST_SHARE:.0%}",
             floor / ours >= LEAST_SHARE),
        Line("bytes per labelled region, both tables", f"{per_region:.1f}", f"<= {MOST_BYTES:.0f}",
             per_region <= MOST_BYTES),
        Line(f"tables of {RELEASED:,} images", f"{per_region * RELEASED * REGIONS / 1e9:.2f} GB"),
        Line("pixels stored", f"{pixels} bytes", "0", pixels == 0),
    ]  # fmt: skip


def main() -> None:
    """Print the table; exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="builtin", help="folder of photographs; default: the built-in ones")
    parser.add_argument("--photographs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=120, help="distorted versions of each")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    lines = measure(arguments.data, arguments.photographs, arguments.samples, arguments.workers)
    table = Table("what", "measured", "bar", "holds", title=f"build, {SIDE} x {SIDE} pixels, {REGIONS} regions")
    for line in lines:
        table.add_row(line.what, line.value, line.bar, {None: "", True: "yes", False: "NO"}[line.holds])
    Console(width=100).print(table)
    sys.exit(int(any(line.holds is False for line in lines)))


if __name__ == "__main__":
    main()
