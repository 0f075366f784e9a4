"""Fit the maps from raw values to quality: the five levels evenly used on the default mixture of recipes.

    python -m data_builders.labelers.calibrate [--images DIR] [--count N] [--samples N] [--version N] [--check]

Recipes are drawn from configs/data/default.yaml over regions of the graph segmenter. The inner knots of a map are the
borders between the levels, put where each level gets the same share of the labels; what is (nearly) untouched is
excellent, whatever its share. ``--check`` fits nothing and prints the levels' shares with the shipped maps, and with
our measure's own; a level under 10 % is pointed out, and the exit code is 1. Which variants were never drawn is said.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from data_builders.calibrate import built_in_photographs, folder_photographs
from data_builders.labelers.base import CALIBRATION_ASSET, Labeler, shipped_calibration
from data_builders.labelers.maps import METRICS
from data_builders.labelers.pooled import MapLabeler, SeagullLabeler
from data_builders.progress import progress_bar
from data_builders.sampler import draw_recipe
from seagull_tune.config.base import load_config, resolve_asset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.labels import Calibration, CalibrationTable
from seagull_tune.distortions.recipe import render
from seagull_tune.distortions.registry import VARIANTS
from seagull_tune.files import atomic_write_text
from seagull_tune.levels import QUALITY_LEVELS, nearest_level
from seagull_tune.regions.masks import decode_all
from seagull_tune.segment import build_segmenter

UNTOUCHED = 0.9999
"""Raw values above it are of regions that hardly anything was done to."""

LEAST_SHARE = 0.10
_BORDERS = (0.125, 0.375, 0.625, 0.875)


def fit_knots(raw: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The knots of a map for raw values (N,), higher is better, 1 where untouched: (raw, quality).

    The best level gets a fifth of the labels, or the untouched ones and a tenth of the others if those are more; the
    other four levels share the rest evenly.
    """
    untouched = float(np.mean(raw > UNTOUCHED))
    best = max(0.2, untouched + 0.1 * (1.0 - untouched))
    borders = np.quantile(raw, [(1.0 - best) * k / 4.0 for k in range(1, 5)])
    worst = min(0.0, float(borders[0]) - 1e-3)
    return (worst, *(round(float(b), 5) for b in borders), 1.0), (0.0, *_BORDERS, 1.0)


@dataclass(frozen=True)
class Measured:
    """What labelers say of the default mixture.

    Attributes:
        values: name of the labeler -> values (N,), float64.
        variants: the variants that were drawn, (type, variant).
    """

    values: dict[str, np.ndarray]
    variants: frozenset[tuple[str, str]]

    def missing(self) -> list[str]:
        """The variants that were never drawn, as ``TYPE/NAME``."""
        return [f"{kind}/{name}" for kind, name in VARIANTS if (kind, name) not in self.variants]


def measure(images: Sequence[np.ndarray], labelers: Mapping[str, Labeler], samples: int) -> Measured:
    """Ask labelers about the default mixture.

    Args:
        images: photographs, uint8 RGB (H, W, 3).
        labelers: name -> labeler.
        samples: recipes per photograph.
    """
    config = load_config(BuildConfig, "configs/data/default.yaml", [])
    segmenter = build_segmenter("graph")
    found: dict[str, list[np.ndarray]] = {name: [] for name in labelers}
    drawn: set[tuple[str, str]] = set()
    with progress_bar("Measuring", "photographs", True) as tick:
        for number, image in enumerate(images):
            regions = segmenter.segment(image)
            masks, areas = decode_all(regions), [region.area for region in regions]
            judges = {name: labeler.open(image, masks) for name, labeler in labelers.items()}
            for k in range(samples):
                rng = np.random.Generator(np.random.PCG64([number, k]))
                area = float(image.shape[0] * image.shape[1])
                recipe = draw_recipe(config.mix, len(areas), areas, rng, image_area=area)
                drawn.update((step.type, step.variant) for step in recipe.steps)
                distorted = render(image, recipe, masks)
                for name, judge in judges.items():
                    found[name].append(judge.measure(distorted).quality)
            tick(number + 1, len(images))
    return Measured({name: np.concatenate(values) for name, values in found.items()}, frozenset(drawn))


def level_shares(quality: np.ndarray) -> dict[str, float]:
    """Share of each level word among qualities (N,)."""
    words = [nearest_level(value) for value in quality.tolist()]
    return {word: words.count(word) / len(words) for word in QUALITY_LEVELS}


def print_shares(values: Mapping[str, np.ndarray]) -> bool:
    """Print the levels' shares per labeler; True if no level is under :data:`LEAST_SHARE`."""
    fine = True
    for name, quality in values.items():
        shares = level_shares(quality)
        low = [word for word, share in shares.items() if share < LEAST_SHARE]
        fine &= not low
        text = "  ".join(f"{word} {share:.1%}" for word, share in shares.items())
        print(f"{name:8} {text}  ({len(quality)} labels){'  TOO FEW: ' + ', '.join(low) if low else ''}")
    return fine


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line entry; see the module's first lines."""
    parser = argparse.ArgumentParser(description="Fit the maps of the labelers to quality.")
    parser.add_argument("--images", type=Path, help="folder of more photographs")
    parser.add_argument("--count", type=int, default=36, help="how many photographs of the folder (default 36)")
    parser.add_argument("--samples", type=int, default=8, help="recipes per photograph (default 8)")
    parser.add_argument("--version", type=int, default=1, help="number of this calibration; raise it with every change")
    parser.add_argument("--check", action="store_true", help="only print the levels' shares")
    options = parser.parse_args(arguments)
    images = built_in_photographs()
    measured_on = f"{len(images)} scikit-image photographs"
    if options.images is not None:
        more = folder_photographs(options.images, options.count)
        images += more
        measured_on += f" and {len(more)} of {options.images.parent.name}"
    shipped = {name: None if not options.check else shipped_calibration(name) for name in METRICS}
    labelers: dict[str, Labeler] = {name: MapLabeler(METRICS[name], shipped[name]) for name in METRICS}
    measured = measure(images, {"seagull": SeagullLabeler(), **labelers}, options.samples)
    values, missing = measured.values, measured.missing()
    never = f"; never drawn, take more --samples: {', '.join(missing)}" if missing else ""
    print(f"{len(measured.variants)} of {len(VARIANTS)} variants{never}")
    if not options.check:
        fitted = {}
        for name in METRICS:
            raw, quality = fit_knots(values[name])
            version = f"{name}-{options.version}"
            fitted[name] = Calibration(version=version, raw=raw, quality=quality, measured_on=measured_on)
            values[name] = np.interp(values[name], raw, quality)
        _write(CalibrationTable(methods=fitted))
    return 0 if print_shares(values) else 1


def _write(table: CalibrationTable) -> None:
    head = "# Fitted by data_builders.labelers.calibrate, do not edit by hand: raw value -> quality.\n"
    text = yaml.safe_dump(table.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)
    atomic_write_text(resolve_asset(CALIBRATION_ASSET), head + text)


if __name__ == "__main__":
    raise SystemExit(main())
