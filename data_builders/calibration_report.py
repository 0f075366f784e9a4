"""Draws what calibration found: the measured quality over strength of every variant, one panel per type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seagull_tune.config.distortions import SeverityLevel
from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES

_COLUMNS = 4


@dataclass(frozen=True)
class VariantFit:
    """What calibration found of one variant.

    Attributes:
        type, variant: which.
        curve: measured (strength, median quality), both in [0, 1], on the grid, up to the last target.
        levels: the severities that it reaches.
    """

    type: str
    variant: str
    curve: tuple[tuple[float, float], ...]
    levels: tuple[SeverityLevel, ...]


def check_report(path: Path) -> None:
    """Check the name of a report, before a long fit.

    Raises:
        DataError: it does not end in ``.png``.
    """
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: the report is a PNG picture; name a file that ends in .png.")


def write_report(fits: Sequence[VariantFit], targets: Sequence[float], path: Path) -> None:
    """Draw the curves into a PNG file: lines are measured on the grid, dots are the fitted severities.

    Args:
        fits: the fitted variants.
        targets: quality of severities 1, 2, ..., drawn as dotted lines.
        path: file to write; appears whole or not at all.

    Raises:
        DataError: the path does not end in ``.png``.
    """
    check_report(path)
    types = [name for name in DISTORTION_TYPES if any(fit.type == name for fit in fits)]
    columns = min(_COLUMNS, len(types))
    rows = -(-len(types) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.6 * rows), dpi=110, layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for panel, name in zip(panels, types, strict=False):
        _draw_type(panel, name, [fit for fit in fits if fit.type == name], targets)
    for panel in panels[len(types) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel("median quality of the photographs")
    for panel in panels[min(columns, len(types)) - 1 : len(types) : columns]:
        _name_targets(panel, targets)
    figure.suptitle("Calibration: quality over strength; dots are the severities of the table")
    data = BytesIO()
    figure.savefig(data, format="png")
    atomic_write(path, (data.getvalue(),))


def _name_targets(panel: Axes, targets: Sequence[float]) -> None:
    """The severities' names, right of a panel: inside they would cover curves."""
    for severity, target in enumerate(targets, start=1):
        panel.annotate(
            SEVERITY_NAMES[severity], (1.02, target), xycoords=("axes fraction", "data"), color="0.4", fontsize=8,
            va="center", annotation_clip=False,
        )  # fmt: skip


def _draw_type(panel: Axes, name: str, fits: Sequence[VariantFit], targets: Sequence[float]) -> None:
    for target in targets:
        panel.axhline(target, color="0.7", linewidth=0.8, linestyle=":")
    for number, fit in enumerate(fits):
        colour = f"C{number}"
        strengths, qualities = zip(*fit.curve, strict=True)
        panel.plot(strengths, qualities, color=colour, linewidth=1.2, label=fit.variant.replace("_", " "))
        panel.plot(
            [level.strength for level in fit.levels], [level.quality for level in fit.levels], "o", color=colour,
            markersize=4,
        )  # fmt: skip
    panel.set(title=name, xlabel="strength", xlim=(0.0, 1.0), ylim=(0.0, 1.02))
    panel.legend(fontsize=8, loc="upper right")
