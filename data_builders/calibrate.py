"""Fit the severity table: for every variant, the parameters whose median whole-image quality meets the targets.

    python -m data_builders.calibrate [--images DIR] [--count N] [--out configs/data/severity.yaml]

Each variant has one strength in [0, 1]. Its median quality over the photographs is measured on a grid of strengths;
every target is then bracketed by its first crossing and refined by bisection. A target that is not met closely is left
out, and the variant does not offer that severity. Run it again when the measure changes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import yaml

from seagull_tune.config.base import resolve_asset
from seagull_tune.config.distortions import SeverityLevel, SeverityTable
from seagull_tune.distortions.base import Image, Variant
from seagull_tune.distortions.registry import VARIANTS
from seagull_tune.distortions.severity import SEVERITY_ASSET
from seagull_tune.errors import DataError
from seagull_tune.fullref.measure import MEASURE_VERSION, Reference, measure_regions

TARGETS = (0.75, 0.56, 0.38, 0.22, 0.10)
"""Whole-image quality of severities 1..5, set by what the words mean at a normal viewing distance: at 0.75 damage is
visible to an attentive eye (JPEG quality 66), at 0.10 the picture is hardly of use (JPEG quality 4, defocus of almost
5 pixels)."""

BUILT_IN = ("astronaut", "chelsea", "coffee", "rocket")
"""Photographs that come with scikit-image."""

TOLERANCE = 0.025
"""Largest distance from a target at which a severity is still offered."""

_GRID = 17
_BISECTIONS = 6


@dataclass(frozen=True)
class Photograph:
    """One photograph of the calibration: pixels (H, W, 3) uint8, its side of the measure, and a full mask (1, H, W)."""

    image: Image
    reference: Reference
    everything: np.ndarray

    @classmethod
    def of(cls, image: Image) -> Photograph:
        """Prepare a photograph, (H, W, 3) uint8."""
        return cls(image, Reference(image), np.ones((1, *image.shape[:2]), dtype=np.bool_))


def built_in_photographs() -> list[Image]:
    """The scikit-image photographs, (H, W, 3) uint8 each."""
    return [np.ascontiguousarray(getattr(skimage.data, name)()[:, :, :3]) for name in BUILT_IN]


def folder_photographs(folder: Path, count: int) -> list[Image]:
    """The first ``count`` photographs of a folder in the order of sha256(stem), (H, W, 3) uint8 each.

    That order leaves the end of the list, which benchmarks test on, alone.

    Raises:
        DataError: the folder has no readable ``*.jpg`` or ``*.png``.
    """
    files = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"}),
        key=lambda path: hashlib.sha256(path.stem.encode()).hexdigest(),
    )
    images = []
    for path in files[:count]:
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise DataError(f"{path} is not a readable image; remove it from the calibration folder.")
        images.append(np.asarray(pixels, dtype=np.uint8))
    if not images:
        raise DataError(f"{folder} holds no *.jpg or *.png photograph to calibrate on.")
    return images


def median_quality(variant: Variant, params: dict[str, float], photographs: Sequence[Photograph]) -> float:
    """Median whole-image quality, in [0, 1], of a variant at given params; photograph i uses seed i."""
    qualities = []
    for seed, photograph in enumerate(photographs):
        rng = np.random.Generator(np.random.PCG64(seed))
        distorted = variant.apply(photograph.image, params, rng)
        similarity = photograph.reference.compare(distorted)
        qualities.append(float(measure_regions(similarity, photograph.everything).quality[0]))
    return float(np.median(qualities))


def fit_variant(
    variant: Variant, photographs: Sequence[Photograph], targets: Sequence[float] = TARGETS, grid: int = _GRID
) -> tuple[SeverityLevel, ...]:
    """The severities that a variant reaches, with their parameters.

    Args:
        variant: what to fit.
        photographs: what to measure on.
        targets: falling qualities of severities 1, 2, ...
        grid: strengths that are measured before the bisection.

    Returns:
        One level per target within :data:`TOLERANCE`, in the order of severity, with falling measured quality.
    """
    strengths = np.linspace(0.0, 1.0, grid)
    curve: list[float] = []
    for strength in strengths:
        curve.append(median_quality(variant, variant.from_strength(float(strength)), photographs))
        if curve[-1] < min(targets) - TOLERANCE:
            break
    levels: list[SeverityLevel] = []
    for severity, target in enumerate(targets, start=1):
        below = next((i for i, quality in enumerate(curve) if quality <= target), None)
        if below is None:
            candidates = [(curve[-1], float(strengths[len(curve) - 1]))]
        elif below == 0:
            candidates = [(curve[0], 0.0)]
        else:
            candidates = _bisect(variant, photographs, target, float(strengths[below - 1]), float(strengths[below]))
        quality, strength = min(candidates, key=lambda pair: abs(pair[0] - target))
        params = variant.from_strength(strength)
        repeated = bool(levels) and levels[-1].params == params
        if abs(quality - target) <= TOLERANCE and not repeated:
            levels.append(SeverityLevel(severity=severity, params=params, quality=round(quality, 3)))
    return tuple(levels)


def _bisect(
    variant: Variant, photographs: Sequence[Photograph], target: float, low: float, high: float
) -> list[tuple[float, float]]:
    """Measured (quality, strength) pairs that close in on ``target``, which lies between ``low`` and ``high``."""
    seen = []
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        quality = median_quality(variant, variant.from_strength(middle), photographs)
        seen.append((quality, middle))
        if abs(quality - target) < 0.002:
            break
        low, high = (middle, high) if quality > target else (low, middle)
    return seen


def fit_table(photographs: Sequence[Photograph], measured_on: str) -> SeverityTable:
    """Fit every variant, printing one line each."""
    fitted: dict[str, dict[str, tuple[SeverityLevel, ...]]] = {}
    for (type_name, name), variant in VARIANTS.items():
        levels = fit_variant(variant, photographs)
        fitted.setdefault(type_name, {})[name] = levels
        shown = "  ".join(f"{level.severity}: {level.params} {level.quality:.2f}" for level in levels)
        print(f"{type_name}/{name}  {shown}", flush=True)
    return SeverityTable(targets=TARGETS, measured_on=measured_on, variants=fitted)


def write_table(table: SeverityTable, path: Path) -> None:
    """Write the table as YAML, atomically."""
    header = (
        "# Fitted by data_builders.calibrate, do not edit by hand. quality: the median that was measured with params.\n"
    )
    text = header + yaml.safe_dump(table.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line entry; see the module's first lines."""
    parser = argparse.ArgumentParser(description="Fit the severity table of the distortions.")
    parser.add_argument("--images", type=Path, help="folder of photographs; default: bsds500 of SEAGULL_TUNE_TEST_DATA")
    parser.add_argument("--count", type=int, default=36, help="how many photographs of the folder (default 36)")
    parser.add_argument("--out", type=Path, help=f"file to write (default: {SEVERITY_ASSET} of this checkout)")
    options = parser.parse_args(arguments)
    folder = options.images
    if folder is None and "SEAGULL_TUNE_TEST_DATA" in os.environ:
        folder = Path(os.environ["SEAGULL_TUNE_TEST_DATA"]) / "bsds500" / "images"
    images = built_in_photographs()
    measured_on = f"{len(images)} scikit-image photographs"
    if folder is not None:
        more = folder_photographs(folder, options.count)
        images += more
        measured_on += f" and {len(more)} of {folder.parent.name}"
    table = fit_table([Photograph.of(image) for image in images], f"{measured_on}; measure {MEASURE_VERSION}")
    write_table(table, options.out or resolve_asset(SEVERITY_ASSET))


if __name__ == "__main__":
    main()
