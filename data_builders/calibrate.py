"""Fit the severity table: for every variant, the parameters whose median whole-image quality meets the targets.

    python -m data_builders.calibrate [--images DIR] [--count N] [--variants TYPE/NAME ...] [--workers N] [--out FILE]
                                      [--report FILE]

Each variant has one strength in [0, 1]. Its median quality over the photographs is measured on a grid of strengths;
every target is then bracketed by its first crossing and refined by bisection. A target that is not met closely is left
out, and the variant does not offer that severity. Run it again, with all variants, when the measure changes.

Benchmarks are rendered with the fitted parameters: after a new variant, fit that one alone (``--variants``), and the
others stay as they are. More photographs make a steadier fit: colours and haze vary much between scenes.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import yaml

from data_builders.calibration_report import VariantFit, check_report, write_report
from seagull_tune.config.base import resolve_asset
from seagull_tune.config.distortions import SeverityLevel, SeverityTable
from seagull_tune.distortions.base import Image, Variant
from seagull_tune.distortions.registry import VARIANTS, get_variant
from seagull_tune.distortions.severity import SEVERITY_ASSET, severity_table
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.files import atomic_write_text, why_not_written
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


def check_comparable(kept: SeverityTable) -> None:
    """Check that a table's severities compare with what is fitted now.

    Raises:
        DataError: it was measured by another measure or aims at other qualities.
    """
    if not kept.measured_on.endswith(MEASURE_VERSION) or kept.targets != TARGETS:
        raise DataError(
            f"The variants that stay were fitted to {kept.targets} on {kept.measured_on!r}, these ones to "
            f"{TARGETS} with the measure {MEASURE_VERSION}: their severities would not compare. Fit all variants."
        )


def table_of(fits: Sequence[VariantFit], measured_on: str, kept: SeverityTable | None = None) -> SeverityTable:
    """The severity table of fitted variants, in the order of the registry.

    Args:
        fits: what was fitted now.
        measured_on: on which photographs, in words.
        kept: a table whose other variants stay as they are.

    Raises:
        DataError: ``kept`` was measured by another measure or aims at other qualities, so that its severities would
            not compare.
    """
    fitted: dict[tuple[str, str], tuple[SeverityLevel, ...]] = {}
    if kept is not None:
        check_comparable(kept)
        fitted = {(name, variant): levels for name, of in kept.variants.items() for variant, levels in of.items()}
    fitted |= {(fit.type, fit.variant): fit.levels for fit in fits}
    base = measured_on if kept is None else kept.measured_on
    otherwise = {} if kept is None else dict(kept.measured_otherwise)
    otherwise |= {f"{fit.type}/{fit.variant}": measured_on for fit in fits}
    variants: dict[str, dict[str, tuple[SeverityLevel, ...]]] = {}
    for type_name, name in VARIANTS:
        if (type_name, name) in fitted:
            variants.setdefault(type_name, {})[name] = fitted[type_name, name]
    return SeverityTable(
        targets=TARGETS,
        measured_on=base,
        measured_otherwise={name: on for name, on in sorted(otherwise.items()) if on != base},
        variants=variants,
    )


def write_table(table: SeverityTable, path: Path) -> None:
    """Write the table as YAML, atomically.

    Raises:
        DataError: the file cannot be written.
    """
    header = (
        "# Fitted by data_builders.calibrate, do not edit by hand. quality: the median that was measured with params.\n"
    )
    text = header + yaml.safe_dump(table.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=110)
    try:
        atomic_write_text(path, text)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {why_not_written(error)}. Name another file with --out.") from error


def named_variants(names: Sequence[str]) -> tuple[Variant, ...]:
    """The variants that ``TYPE/NAME`` texts name, in the order of the registry; all of them where none is named.

    Raises:
        DataError: a text of another form, an unknown type or variant.
    """
    for name in names:
        if name.count("/") != 1:
            raise DataError(f"--variants {name!r}: write TYPE/NAME, for example blur/shake.")
    chosen = {get_variant(*name.split("/")) for name in names}
    return tuple(variant for variant in VARIANTS.values() if not names or variant in chosen)


def whole_from_one(text: str) -> int:
    """A number of things on a command line.

    Raises:
        argparse.ArgumentTypeError: not a whole number from 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: a whole number from 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line entry; see the module's first lines. Status 2 with one sentence where it cannot run."""
    try:
        _run(_parser().parse_args(arguments))
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Fit the severity table of the distortions.",
        epilog="Example: python -m data_builders.calibrate --images photos --count 28 --variants blur/shake",
    )
    parser.add_argument("--images", type=Path, help="folder of photographs; default: bsds500 of SEAGULL_TUNE_TEST_DATA")
    parser.add_argument(
        "--count", type=whole_from_one, default=36, help="how many photographs of the folder (default 36)"
    )
    parser.add_argument(
        "--variants", nargs="+", default=[], metavar="TYPE/NAME", help="fit these only; the others stay as they are"
    )
    parser.add_argument(
        "--workers", type=whole_from_one, default=os.cpu_count() or 1,
        help="processes, one variant each (default: all processors)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help=f"file to write (default: {SEVERITY_ASSET} of this checkout)")
    parser.add_argument("--report", type=Path, metavar="FILE.png", help="also draw the fitted curves")
    return parser


def check_writable(path: Path) -> None:
    """Check, before a long fit, that a file can be written where it is to be.

    Raises:
        DataError: it is a folder itself, or nothing can be made in its place.
    """
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise DataError(f"{path} cannot be written: name a file in a folder that may be written to.")


def _run(options: argparse.Namespace) -> None:
    variants = named_variants(options.variants)
    out = options.out or resolve_asset(SEVERITY_ASSET)
    check_writable(out)
    if options.report is not None:
        check_report(options.report)
        check_writable(options.report)
    kept = severity_table() if options.variants else None
    if kept is not None:
        check_comparable(kept)
    folder = options.images
    if folder is None and "SEAGULL_TUNE_TEST_DATA" in os.environ:
        folder = Path(os.environ["SEAGULL_TUNE_TEST_DATA"]) / "bsds500" / "images"
    images = built_in_photographs()
    measured_on = f"{len(images)} scikit-image photographs"
    if folder is not None:
        more = folder_photographs(folder, options.count)
        images += more
        place = folder.resolve()
        measured_on += f" and {len(more)} of {place.parent.name if place.name == 'images' else place.name}"
    fits = fit_all(variants, [Photograph.of(image) for image in images], options.workers)
    table = table_of(fits, f"{measured_on}; measure {MEASURE_VERSION}", kept)
    write_table(table, out)
    if options.report is not None:
        write_report(fits, TARGETS, options.report)
        print(f"Curves: {options.report}")


if __name__ == "__main__":
    main()
