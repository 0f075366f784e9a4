"""Importance validity: is a region's share of the map's loss what truly restoring its pixels would bring?

    python benchmarks/importance_validity.py [--images DIR] [--count 30] [--samples 6] [--method seagull]

Importance is read off one map: the share of the picture's loss that lies in the region. What it stands for is
counterfactual: put the reference's pixels into the region, measure the whole picture again, and see which share of the
loss is gone. The two differ near the region's border, where windows look across it, and where pixels that were put back
leave a seam: an edge that neither picture had (exposure, contrast). Photographs:
those of scikit-image and, with ``--images``, the last ``--count`` of a folder in the order of sha256(stem). Recipes:
the default mixture. Regions: of the graph segmenter, from 2 % of the area on.

Prints mean, 99th percentile and maximum of the difference by the region's size, and by the types of the recipe. Bar:
0.02 for the maximum; the last line says whether it is met, and the exit code is 1 where it is not.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_builders.calibrate import built_in_photographs, folder_photographs
from data_builders.labelers import make_labeler
from data_builders.labelers.base import Labeler
from data_builders.progress import progress_bar
from data_builders.sampler import draw_recipe
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.labels import LabelSource
from seagull_tune.distortions.recipe import render
from seagull_tune.errors import SeagullError
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.regions.masks import decode_all
from seagull_tune.segment import build_segmenter

BAR = 0.02
MIN_AREA_SHARE = 0.02
SIZES = (0.02, 0.05, 0.10, 0.25, 1.001)


@dataclass(frozen=True)
class Restored:
    """A region: its share of the image, the recipe's types, and importance minus what restoring brings."""

    area: float
    types: tuple[str, ...]
    difference: float


def differences(image: np.ndarray, labeler: Labeler, config: BuildConfig, samples: int, seed: int) -> list[Restored]:
    """All scored regions of a photograph, uint8 RGB (H, W, 3)."""
    regions = [r for r in build_segmenter("graph").segment(image) if r.area >= MIN_AREA_SHARE * image[:, :, 0].size]
    masks, areas = decode_all(regions), [region.area for region in regions]
    judge = labeler.open(image, masks)
    rows = []
    for k in range(samples):
        rng = np.random.Generator(np.random.PCG64([seed, k]))
        recipe = draw_recipe(config.mix, len(areas), areas, rng, image_area=float(image[:, :, 0].size))
        types = tuple(sorted({step.type for step in recipe.steps}))
        distorted = render(image, recipe, masks)
        found = judge.measure(distorted)
        for mask, importance in zip(masks, found.importance.tolist(), strict=True):
            if np.isnan(importance):
                continue
            restored = np.where(mask[:, :, None], image, distorted)
            after = judge.measure(restored).image_quality
            true = (after - found.image_quality) / (1.0 - found.image_quality)
            rows.append(Restored(float(mask.mean()), types, importance - true))
    return rows


def print_table(rows: Sequence[Restored]) -> bool:
    """Print the differences by size and by type; True if the bar is met."""
    print("| Regions of | Count | Mean of abs | Mean | 99 % | Max |\n|---|---|---|---|---|---|")
    for low, high in itertools.pairwise(SIZES):
        _print_row(f"{low:.0%} to {high:.0%} of the area", [row for row in rows if low <= row.area < high])
    for name in DISTORTION_TYPES:
        _print_row(f"{name} alone", [row for row in rows if row.types == (name,)])
    _print_row("two types", [row for row in rows if len(row.types) > 1])
    _print_row("all", rows)
    sizes = np.abs([row.difference for row in rows])
    met = bool(sizes.max() <= BAR)
    print(f"Bar {BAR}: {'met' if met else 'NOT met'}; {np.mean(sizes > BAR):.2%} of the regions are beyond it")
    return met


def _print_row(name: str, rows: Sequence[Restored]) -> None:
    if rows:
        values = np.array([row.difference for row in rows])
        figures = (np.abs(values).mean(), values.mean(), np.quantile(np.abs(values), 0.99), np.abs(values).max())
        print(f"| {name} | {len(rows)} | " + " | ".join(f"{figure:.4f}" for figure in figures) + " |")


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of more photographs")
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--samples", type=int, default=6, help="recipes per photograph")
    parser.add_argument("--method", default="seagull", help="seagull, ssim, ms_ssim, gmsd or vsi")
    options = parser.parse_args()
    images = built_in_photographs()
    if options.images is not None:
        every = sum(1 for _ in options.images.iterdir())
        images += folder_photographs(options.images, every)[-options.count :]
    labeler = make_labeler(LabelSource.model_validate({"method": options.method}))
    config = load_config(BuildConfig, "configs/data/default.yaml", [])
    rows: list[Restored] = []
    with progress_bar("Restoring", "photographs", True) as tick:
        for number, image in enumerate(images):
            rows += differences(image, labeler, config, options.samples, number)
            tick(number + 1, len(images))
    print(f"Importance of {labeler.version}, read off the map, minus truly restored; {len(images)} photographs")
    return 0 if print_table(rows) else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except SeagullError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
