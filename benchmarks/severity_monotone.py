"""Severities: does measured quality fall from each severity to the next, and does a severity mean one quality?

    python benchmarks/severity_monotone.py --data DIR [--count 60] [--variants TYPE/NAME ...] [--workers 2]

DIR holds photographs, or a folder ``images/`` or ``bsds500/images/`` that does. The last ``--count`` in the order of
sha256(stem) are measured: calibration takes the first ones. Every photograph is distorted as a whole by every variant
at all of its severities with one seed, and its whole-image quality is measured.

Per variant, the table gives the share of all steps (photograph, severity k to the next one) in which quality falls, and
the median quality at each severity with the largest distance from the severity table's targets. Bars: 98 % of the
steps, 0.03 from the targets; the last line says whether all variants meet them (status 1 where one does not). Beside
the distance stands half of that median's 95 % interval, by ranks: photographs differ, and another set of as many would
have another median.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from data_builders.calibrate import named_variants, whole_from_one
from seagull_tune.distortions.base import Variant
from seagull_tune.distortions.registry import VARIANTS
from seagull_tune.distortions.severity import severity_table
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.fullref.measure import MEASURE_VERSION, Reference, measure_regions
from seagull_tune.images import IMAGE_SUFFIXES, read_image

BAR_FALLS = 0.98
BAR_DISTANCE = 0.03

Key = tuple[str, str]


def photographs(folder: Path, count: int) -> list[Path]:
    """The last ``count`` photographs in the order of sha256(stem).

    Raises:
        DataError: no photograph.
    """
    places = [place for place in (folder / "bsds500" / "images", folder / "images", folder) if place.is_dir()]
    files = [path for path in (places[0].iterdir() if places else ()) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(f"{folder} holds no photograph. Name a folder that does: --data.")
    return sorted(files, key=lambda path: hashlib.sha256(path.stem.encode()).hexdigest())[-count:]


def measure_photograph(keys: Sequence[Key], numbered: tuple[int, Path]) -> dict[Key, list[float]]:
    """Whole-image quality, [0, 1], of one photograph at every severity that each variant offers.

    Args:
        keys: the variants.
        numbered: number of the photograph, which is its seed, and its file.
    """
    cv2.setNumThreads(1)
    seed, path = numbered
    image = read_image(path)
    reference, everything = Reference(image), np.ones((1, *image.shape[:2]), dtype=np.bool_)

    def quality(variant: Variant, severity: int) -> float:
        rng = np.random.Generator(np.random.PCG64(seed))
        distorted = variant.apply(image, variant.params_for(severity), rng)
        return float(measure_regions(reference.compare(distorted), everything).quality[0])

    return {key: [quality(VARIANTS[key], severity) for severity in VARIANTS[key].levels] for key in keys}


def median_uncertainty(values: np.ndarray) -> float:
    """Half of the 95 % interval of the median of ``values`` (N,), from the ranks N / 2 -+ 0.98 sqrt(N)."""
    reach = min(0.5, 0.98 / np.sqrt(len(values)))
    low, high = np.quantile(values, [0.5 - reach, 0.5 + reach])
    return float(high - low) / 2.0


def print_table(keys: Sequence[Key], measured: Sequence[dict[Key, list[float]]]) -> bool:
    """Print one line per variant; returns whether all bars are met."""
    targets = severity_table().targets
    print(f"{'variant':28s}{'steps':>7s}{'falls':>8s}  median quality at severities 1..5" + " " * 13 + "farthest  +-")
    met = True
    for key in keys:
        qualities = np.array([photograph[key] for photograph in measured])  # (photographs, levels)
        levels = VARIANTS[key].levels
        if not levels:
            print(f"{'/'.join(key):28s}  offers no severity")
            continue
        falls = np.diff(qualities, axis=1) < 0
        share = float(falls.mean()) if falls.size else 1.0
        medians = np.median(qualities, axis=0)
        distances = np.abs(medians - np.array([targets[level - 1] for level in levels]))
        distance = float(distances.max())
        uncertain = median_uncertainty(qualities[:, int(distances.argmax())])
        good = share >= BAR_FALLS and distance <= BAR_DISTANCE
        met &= good
        shown = dict(zip(levels, medians, strict=True))
        cells = "".join(f"{shown[level]:8.3f}" if level in shown else f"{'-':>8s}" for level in range(1, 6))
        name = "/".join(key)
        print(
            f"{name:28s}{falls.size:7d}{share:8.1%}{cells}{distance:15.3f}{uncertain:7.3f}{'' if good else '   MISSED'}"
        )
    print(f"{'targets':28s}{'':15s}" + "".join(f"{target:8.3f}" for target in targets))
    return met


def main() -> None:
    """Run the benchmark; status 1 where a bar is missed, 2 with one sentence where it cannot run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--count", type=whole_from_one, default=60, help="photographs (default 60)")
    parser.add_argument("--variants", nargs="+", default=[], metavar="TYPE/NAME", help="these only (default: all)")
    parser.add_argument("--workers", type=whole_from_one, default=2, help="processes (default 2)")
    options = parser.parse_args()
    try:
        keys = [(variant.type, variant.variant) for variant in named_variants(options.variants)]
        chosen = photographs(options.data, options.count)
        measured = []
        # "spawn": a fork of a process that already runs threads may deadlock.
        with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
            for result in pool.map(partial(measure_photograph, keys), enumerate(chosen)):
                measured.append(result)
                print(f"\r{len(measured)}/{len(chosen)} photographs", end="", file=sys.stderr, flush=True)
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenProcessPool:
        print("A worker process died, most often for lack of memory: run with fewer --workers.", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"\nSeverities over {len(chosen)} photographs ({MEASURE_VERSION})")
    met = print_table(keys, measured)
    print(
        f"quality falls in >= {BAR_FALLS:.0%} of the steps, medians within {BAR_DISTANCE}: {'met' if met else 'MISSED'}"
    )
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
