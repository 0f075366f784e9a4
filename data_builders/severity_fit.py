"""Fits distortions to target qualities: per variant, the parameters whose median whole-image quality meets them.

Each variant has one strength in [0, 1]. Its median quality over the photographs is measured on a grid of strengths;
every target is then bracketed by its first crossing and refined by bisection. A target that is not met closely is left
out, and the variant does not offer that severity.

Legend: H, W image size.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from data_builders.calibration_report import VariantFit
from seagull_tune.config.distortions import SeverityLevel
from seagull_tune.distortions.base import Image, Variant
from seagull_tune.distortions.registry import get_variant
from seagull_tune.errors import DataError
from seagull_tune.fullref.measure import Reference, measure_regions

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
        DataError: there is no such folder, or it has no readable ``*.jpg`` or ``*.png``.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder} of photographs. Name one with --images.")
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
) -> VariantFit:
    """The curve of a variant, and the severities that it reaches with their parameters.

    Args:
        variant: what to fit.
        photographs: what to measure on.
        targets: falling qualities of severities 1, 2, ...
        grid: strengths that are measured before the bisection.

    Returns:
        The measured curve, and one level per target within :data:`TOLERANCE`, in the order of severity, with falling
        measured quality.
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
            levels.append(
                SeverityLevel(severity=severity, strength=round(strength, 6), params=params, quality=round(quality, 3))
            )
    points = tuple(zip(strengths[: len(curve)].tolist(), curve, strict=True))
    return VariantFit(variant.type, variant.variant, points, tuple(levels))


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


def fit_all(variants: Sequence[Variant], photographs: Sequence[Photograph], workers: int = 1) -> list[VariantFit]:
    """Fit variants, printing one line each; the result does not depend on the number of processes."""
    fits: list[VariantFit] = []
    for number, (variant, fit) in enumerate(zip(variants, _fits(variants, photographs, workers), strict=True), start=1):
        fits.append(fit)
        shown = "  ".join(f"{level.severity}: {level.params} {level.quality:.2f}" for level in fits[-1].levels)
        print(f"{number}/{len(variants)} {variant.type}/{variant.variant}  {shown}", flush=True)
    return fits


def _fits(variants: Sequence[Variant], photographs: Sequence[Photograph], workers: int) -> Iterator[VariantFit]:
    if workers == 1:
        yield from (fit_variant(variant, photographs) for variant in variants)
        return
    # "spawn": a fork of a process that already runs threads (OpenCV, progress) may deadlock. Every process gets its
    # copy of the photographs once, when it starts.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, initializer=partial(_start_worker, photographs)) as pool:
            yield from pool.map(_fit_shared, [(variant.type, variant.variant) for variant in variants])
    except BrokenProcessPool as error:
        raise DataError(
            f"A worker process died (most often for lack of memory; {workers} ran), and nothing was written. Run again "
            "with fewer --workers, or a smaller --count."
        ) from error


_shared: Sequence[Photograph] = ()
"""The photographs of a worker process; set once when it starts, since sending them with every task would copy them."""


def _start_worker(photographs: Sequence[Photograph]) -> None:
    global _shared
    _shared = photographs
    # The variants fill the processors.
    cv2.setNumThreads(1)


def _fit_shared(name: tuple[str, str]) -> VariantFit:
    return fit_variant(get_variant(*name), _shared)
