"""The plots of a comparison, drawn off screen and returned as PNG bytes.

Legend: N regions; T distortion types; S = 6 severities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from seagull_tune.levels import SEVERITY_NAMES
from seagull_tune.metrics.bootstrap import Difference
from seagull_tune.metrics.calibration import Reliability
from seagull_tune.plots import INK, LINES, MUTED, STYLE, png


def confusion_of(said: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Counts int64 (S, S), rows true and columns said, of severities (N, T).

    Pairs (region, type) that are none on both sides are left out: they are most, and say nothing about severities.
    """
    count = len(SEVERITY_NAMES)
    told = (said > 0) | (true > 0)
    return np.bincount(true[told] * count + said[told], minlength=count * count).reshape(count, count)


def severity_confusion(counts: np.ndarray, title: str) -> bytes:
    """The confusion of severities: of each true one, which share is said to be what.

    Args:
        counts: int (S, S), rows true and columns said.
        title: above the plot.
    """
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.3), dpi=140, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        axes.grid(visible=False)
        for row, column in np.ndindex(*counts.shape):
            if totals[row, 0] and not row == column == 0:
                colour = "white" if shares[row, column] > 0.55 else INK
                text = f"{100 * shares[row, column]:.0f}"
                axes.text(column, row, text, ha="center", va="center", fontsize=9, color=colour)
        places = range(len(SEVERITY_NAMES))
        axes.set_xticks(places, SEVERITY_NAMES, rotation=35, ha="right")
        axes.set_yticks(places, [f"{n} ({int(t)})" for n, t in zip(SEVERITY_NAMES, totals[:, 0], strict=True)])
        axes.set(xlabel="said, % of the row", ylabel="true (pairs)")
        axes.set_title(title)
        return png(figure)


def calibration_curves(found: Mapping[str, Reliability], title: str) -> bytes:
    """How often the most probable level is right against how probable it was; the diagonal can be taken at its word.

    Args:
        found: name of a run -> its bins.
        title: above the plot.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.3), dpi=140, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for at, (name, bins) in enumerate(found.items()):
            filled = bins.counts > 0
            sizes = 12 + 90 * bins.counts[filled] / bins.counts.max()
            error = "–" if bins.error is None else f"{bins.error:.3f}"
            colour = LINES[at % len(LINES)]
            axes.plot(bins.confidence[filled], bins.accuracy[filled], color=colour, label=f"{name}: error {error}")
            axes.scatter(bins.confidence[filled], bins.accuracy[filled], s=sizes, color=colour, linewidths=0, zorder=3)
        axes.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel="confidence in the said level",
            ylabel="share that is right",
        )  # fmt: skip
        axes.set_title(title)
        axes.legend(loc="upper left", fontsize=8)
        return png(figure)


def difference_plot(rows: Sequence[tuple[str, Difference]], reference: str) -> bytes:
    """Differences with their intervals, so turned that right of the line is better than the reference.

    Args:
        rows: name, and the difference; of figures of which lower is better, with its sign turned.
        reference: name of the first run.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.1 + 0.36 * len(rows)), dpi=140, layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0.0, color=MUTED, linewidth=1)
        for place, (_, found) in enumerate(rows):
            sure = found.interval.low > 0.0 or found.interval.high < 0.0
            colour = (LINES[2] if found.value > 0 else LINES[1]) if sure else MUTED
            axes.plot([found.interval.low, found.interval.high], [place, place], color=colour, linewidth=2)
            axes.plot(found.value, place, "o", color=colour, markersize=6)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"better than {reference} by (95 % interval)")
        return png(figure)
