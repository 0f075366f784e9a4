"""What a calibration changed, for a person: a table of the errors before and after, and the reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seagull_tune.metrics.calibration import Reliability
from seagull_tune.model.calibration import FIGURES
from seagull_tune.plots import ACCENT, INK, MUTED, STYLE, png

_WIDTHS = (12, 22, 8, 8)


def table_of(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> str:
    """The errors before and after, a line each.

    Args:
        before, after: task -> figure -> value, as :func:`seagull_tune.evaluate.calibrate.figures_of` gives them.
    """
    lines = [_line("task", "figure", "before", "after")]
    for task, figures in before.items():
        for name, value in figures.items():
            lines.append(_line(task, FIGURES[name], _shown(value), _shown(after[task][name])))
    return "\n".join(lines)


def abstaining_in_words(figures: Mapping[str, Any]) -> str:
    """One sentence about what abstaining is worth."""
    return (
        f"It abstains where the quality deviates by more than {figures['max_deviation']:.3f}: it is relied on for "
        f"{figures['kept']:.0%} of these regions (RMSE {_shown(figures['rmse_kept'])}; the others "
        f"{_shown(figures['rmse_abstained'])})."
    )


def reliability_diagram(before: Mapping[str, Reliability], after: Mapping[str, Reliability]) -> bytes:
    """Share of right levels over confidence, before and after, with the number of regions per bin: PNG bytes.

    Args:
        before, after: task -> bins, of the same tasks.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4 * len(before), 5.6), dpi=140, layout="constrained")
        rows = figure.subplots(2, len(before), sharex=True, squeeze=False, gridspec_kw={"height_ratios": [3, 1]})
        for column, task in enumerate(before):
            _panel(rows[0][column], rows[1][column], task, before[task], after[task])
    return png(figure)


def _panel(curve: Axes, counts: Axes, task: str, before: Reliability, after: Reliability) -> None:
    curve.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    for side, bins, colour, marker in ((-1, before, MUTED, "o"), (1, after, ACCENT, "s")):
        filled = bins.counts > 0
        label = f"{'before' if side < 0 else 'after'}: error {_shown(bins.error)}"
        curve.plot(bins.confidence[filled], bins.accuracy[filled], color=colour, marker=marker, label=label)
        width = 0.4 / len(bins.counts)
        centres = (bins.edges[:-1] + bins.edges[1:]) / 2
        counts.bar(centres + side * width / 2, bins.counts, width=width, color=colour)
    curve.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", ylabel="share that is right")
    curve.set_title(task.capitalize(), color=INK)
    curve.legend(loc="upper left")
    counts.set(xlabel="confidence in the level", ylabel="regions", xticks=np.linspace(0, 1, 6))


def _line(*cells: str) -> str:
    left = f"{cells[0]:{_WIDTHS[0]}}{cells[1]:{_WIDTHS[1]}}"
    return left + "".join(f"{cell:>{width}}" for cell, width in zip(cells[2:], _WIDTHS[2:], strict=True))


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
