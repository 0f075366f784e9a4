"""Importance validity: is a region's share of the map's loss what truly restoring its pixels would bring?

    python benchmarks/importance_validity.py [--images DIR] [--count 30] [--samples 6] [--method seagull]

Importance is read off one map: the share of the picture's loss that lies in the region. What it stands for is
counterfactual: put the reference's pixels into the region, measure the whole picture again, and see which share of the
loss is gone. The two differ near the region's border, where windows look across it, and where pixels that were put back
leave a seam: an edge that neither picture had (exposure, haze). Whoever restores a region does not leave that edge, and
a recipe never draws it. So there are three ways to put the pixels back:

- hard: up to the border of the mask;
- soft: blended in over the soft border that a local step on the region would have; the seam is softer, but there;
- seamless: hard, but what the seam costs is not counted: pixels of the map that got worse keep what they had.

Photographs: those of scikit-image and, with ``--images``, the last ``--count`` of a folder in the order of
sha256(stem). Recipes: the default mixture, all of its variants. Regions: of the graph segmenter, from 2 % of the area
on.

Prints mean and maximum of the difference, and the share of regions beyond the bar, by the region's size, and by the
types and variants of the recipe. Bar: 0.02 for the maximum of the hard way; the last lines say whether each way meets
it, and the exit code is 1 where the hard one does not.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_builders.labelers import make_labeler
from data_builders.labelers.maps import METRICS
from data_builders.progress import progress_bar
from data_builders.sampler import draw_recipe
from data_builders.severity_fit import built_in_photographs, folder_photographs
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.labels import LabelSource
from seagull_tune.distortions.recipe import render, step_weight
from seagull_tune.distortions.registry import VARIANTS
from seagull_tune.errors import SeagullError
from seagull_tune.fullref.measure import Reference, SimilarityMap
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import DistortionStep
from seagull_tune.regions.masks import decode_all
from seagull_tune.segment import build_segmenter

BAR = 0.02
MIN_AREA_SHARE = 0.02
WAYS = ("hard", "soft", "seamless")
SIZES = (0.02, 0.05, 0.10, 0.25, 1.001)


@dataclass(frozen=True)
class Restored:
    """A region: its share of the image, the recipe's variants, and importance minus what restoring brings.

    Attributes:
        area: share of the image, (0, 1].
        variants: of the recipe's steps, ``TYPE/NAME``, sorted.
        differences: one per way of :data:`WAYS`.
    """

    area: float
    variants: tuple[str, ...]
    differences: tuple[float, ...]

    @property
    def types(self) -> tuple[str, ...]:
        """The recipe's types."""
        return tuple(name.split("/")[0] for name in self.variants)


def soft_mask(mask: np.ndarray, feather_px: float) -> np.ndarray:
    """The weight (H, W, 1), float32 in [0, 1], that a local step on a mask, bool (H, W), has with this border."""
    anything = DistortionStep(type="blur", variant="gaussian", severity=1, regions=(0,), feather_px=feather_px)
    return step_weight(anything, mask[None], *mask.shape)[:, :, None]


def mapper(method: str, image: np.ndarray) -> Callable[[np.ndarray], SimilarityMap]:
    """What makes a method's map of a distorted version of a photograph, uint8 RGB (H, W, 3) both."""
    if method == "seagull":
        return Reference(image).compare

    def compare(distorted: np.ndarray) -> SimilarityMap:
        maps = METRICS[method].maps(image, distorted)
        return SimilarityMap(maps.similarity, maps.weights)

    return compare


def brought_back(before: SimilarityMap, after: SimilarityMap, seamless: bool = False) -> float:
    """The share of the loss of ``before`` that is gone ``after``; ``seamless`` lets no pixel get worse."""
    if seamless:
        after = SimilarityMap(np.maximum(before.similarity, after.similarity), before.weights)
    quality, restored = (float(np.average(found.similarity, weights=found.weights)) for found in (before, after))
    return (restored - quality) / (1.0 - quality)


def differences(image: np.ndarray, method: str, config: BuildConfig, samples: int, seed: int) -> list[Restored]:
    """All scored regions of a photograph, uint8 RGB (H, W, 3)."""
    pixels = image[:, :, 0].size
    regions = [r for r in build_segmenter("graph").segment(image) if r.area >= MIN_AREA_SHARE * pixels]
    masks, areas = decode_all(regions), [region.area for region in regions]
    borders = [soft_mask(mask, config.mix.feather * pixels**0.5) for mask in masks]
    judge = make_labeler(LabelSource.model_validate({"method": method})).open(image, masks)
    compare = mapper(method, image)
    rows = []
    for k in range(samples):
        rng = np.random.Generator(np.random.PCG64([seed, k]))
        recipe = draw_recipe(config.mix, len(areas), areas, rng, image_area=float(pixels))
        variants = tuple(sorted(f"{step.type}/{step.variant}" for step in recipe.steps))
        distorted = render(image, recipe, masks)
        found, before = judge.measure(distorted), compare(distorted)
        for mask, border, importance in zip(masks, borders, found.importance.tolist(), strict=True):
            if np.isnan(importance):
                continue
            hard, soft = (
                compare(np.rint(distorted + weight * (image.astype(np.float32) - distorted)).astype(np.uint8))
                for weight in (mask[:, :, None], border)
            )
            gains = (brought_back(before, hard), brought_back(before, soft), brought_back(before, hard, seamless=True))
            rows.append(Restored(float(mask.mean()), variants, tuple(importance - gain for gain in gains)))
    return rows


def print_table(rows: Sequence[Restored]) -> bool:
    """Print the differences by size, type and variant; True if the hard way meets the bar."""
    heads = " | ".join(f"{way}: mean of abs | Max | Beyond" for way in WAYS)
    print(f"| Regions of | Count | {heads} |\n|---|---|" + "---|" * (3 * len(WAYS)))
    for low, high in itertools.pairwise(SIZES):
        _print_row(f"{low:.0%} to {high:.0%} of the area", [row for row in rows if low <= row.area < high])
    for name in DISTORTION_TYPES:
        _print_row(f"{name} alone", [row for row in rows if row.types == (name,)])
    for kind, variant in VARIANTS:
        _print_row(f"{kind}/{variant} alone", [row for row in rows if row.variants == (f"{kind}/{variant}",)])
    _print_row("two types", [row for row in rows if len(row.types) > 1])
    _print_row("all", rows)
    print(f"{len({name for row in rows for name in row.variants})} of {len(VARIANTS)} variants")
    beyond = (sizes_of(rows) > BAR).mean(axis=0)
    for way, share in zip(WAYS, beyond.tolist(), strict=True):
        print(f"Bar {BAR}, {way}: {'NOT met' if share else 'met'}; {share:.2%} of the regions are beyond it")
    return not beyond[WAYS.index("hard")]


def sizes_of(rows: Sequence[Restored]) -> np.ndarray:
    """Absolute differences, float64 (number of rows, number of ways)."""
    return np.abs([row.differences for row in rows])


def _print_row(name: str, rows: Sequence[Restored]) -> None:
    if rows:
        sizes = sizes_of(rows)
        cells = [
            f"{mean:.4f} | {most:.4f} | {share:.1%}"
            for mean, most, share in zip(sizes.mean(0), sizes.max(0), (sizes > BAR).mean(0), strict=True)
        ]
        print(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")


def main() -> int:
    """Command line entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of more photographs")
    parser.add_argument("--count", type=int, default=30, help="how many of them (default 30)")
    parser.add_argument("--samples", type=int, default=6, help="recipes per photograph (default 6)")
    parser.add_argument("--method", default="seagull", choices=["seagull", *METRICS], help="the labeler")
    options = parser.parse_args()
    images = built_in_photographs()
    if options.images is not None:
        every = sum(1 for _ in options.images.iterdir())
        images += folder_photographs(options.images, every)[-options.count :]
    config = load_config(BuildConfig, "configs/data/default.yaml", [])
    rows: list[Restored] = []
    with progress_bar("Restoring", "photographs", True) as tick:
        for number, image in enumerate(images):
            rows += differences(image, options.method, config, options.samples, number)
            tick(number + 1, len(images))
    print(f"Importance of {options.method}, read off the map, minus truly restored; {len(images)} photographs")
    return 0 if print_table(rows) else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except SeagullError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
