"""Fit the severity table: for every variant, the parameters whose median whole-image quality meets the targets.

    python -m data_builders.calibrate [--images DIR] [--count N] [--variants TYPE/NAME ...] [--workers N] [--out FILE]
                                      [--report FILE]

How a variant is fitted: :mod:`data_builders.severity_fit`. Run it again, with all variants, when the measure changes.

Benchmarks are rendered with the fitted parameters: after a new variant, fit that one alone (``--variants``), and the
others stay as they are. More photographs make a steadier fit: colours and haze vary much between scenes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from data_builders.calibration_report import VariantFit, check_report, write_report
from data_builders.severity_fit import TARGETS, Photograph, built_in_photographs, fit_all, folder_photographs
from seagull_tune.config.base import resolve_asset
from seagull_tune.config.distortions import SeverityLevel, SeverityTable
from seagull_tune.distortions.base import Variant
from seagull_tune.distortions.registry import VARIANTS, get_variant
from seagull_tune.distortions.severity import SEVERITY_ASSET, severity_table
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.files import atomic_write_text, why_not_written
from seagull_tune.fullref.measure import MEASURE_VERSION


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
