"""``curves.png``: the whole log of a run at one glance, one small panel per quantity.

Legend: K logged values of one name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seagull_tune.files import atomic_write
from seagull_tune.plots import INK, LINES, STYLE, Line, logged, png

CURVES = "curves.png"
THROUGHPUT = "samples_per_second"
RATE_PREFIX = "lr_"
"""Names under which our Trainer logs its throughput and the learning rate of each part."""

_COLUMNS = 3
_PANEL_INCHES = (4.2, 2.7)
_SMOOTHED_FROM = 60
"""Values from which on a running mean is drawn over the single ones: beyond that, noise hides the course."""
_EVALUATION_COSTS = ("runtime", "samples_per_second", "steps_per_second")
_HELD_OUT_COLOUR = LINES[1]


@dataclass(frozen=True)
class Panel:
    """One small plot.

    Attributes:
        title, unit: what is drawn, and the label of its vertical axis.
        lines: label -> steps and values, trained samples.
        held_out: the same quantity on held-out samples, if it was measured.
        logarithmic: whether the vertical axis is.
    """

    title: str
    unit: str
    lines: Mapping[str, Line]
    held_out: Line | None = None
    logarithmic: bool = False


def write_curves(run: Path, log: Sequence[Mapping[str, Any]]) -> Path | None:
    """Draws ``<run>/curves.png`` anew; it appears whole or not at all.

    Args:
        run: the run's folder.
        log: the Trainer's log history; after a resumption it holds the earlier parts too.

    Returns:
        The file; None where nothing was logged yet.

    Raises:
        OSError: it cannot be written.
    """
    drawn = draw_curves(log, run.name)
    if drawn is None:
        return None
    atomic_write(run / CURVES, (drawn,))
    return run / CURVES


def draw_curves(log: Sequence[Mapping[str, Any]], title: str) -> bytes | None:
    """The log as PNG bytes; None where it holds nothing to draw."""
    panels = panels_of(log)
    if not panels:
        return None
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, height = _PANEL_INCHES
    name = title.encode(errors="replace").decode()  # fonts refuse bytes that are no Unicode, which folders may have
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows + 0.5), dpi=100, layout="constrained")
        figure.suptitle(
            f"{name}: {_last_step(panels):,} steps", fontsize=13, fontweight="bold", color=INK, parse_math=False
        )
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw(axes, panel)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        return png(figure)


def panels_of(log: Sequence[Mapping[str, Any]]) -> list[Panel]:
    """What is drawn of a log: losses, figures of evaluations, learning rates, gradient norm, throughput."""
    found = logged(log)
    losses = [name for name in found if name.startswith("loss_")]
    panels = []
    for name in ["loss", *losses]:
        if name in found or f"eval_{name}" in found:
            words = "all (weighted sum)" if name == "loss" else name.removeprefix("loss_").replace("_", " ")
            lines = {"training": found[name]} if name in found else {}
            panels.append(Panel(f"Loss: {words}", "loss", lines, found.get(f"eval_{name}")))
    for name in found:
        figure = name.removeprefix("eval_")
        if name != figure and not figure.startswith("loss") and figure not in _EVALUATION_COSTS:
            panels.append(Panel(f"Held out: {figure.replace('_', ' ')}", figure, {}, found[name]))
    rates = {name.removeprefix(RATE_PREFIX): line for name, line in found.items() if name.startswith(RATE_PREFIX)}
    if not rates and "learning_rate" in found:
        rates = {"all": found["learning_rate"]}
    if rates:
        panels.append(Panel("Learning rates", "learning rate", rates, logarithmic=True))
    if "grad_norm" in found:
        panels.append(Panel("Gradient norm", "norm before clipping", {"": found["grad_norm"]}))
    if THROUGHPUT in found:
        panels.append(Panel("Throughput", "samples / s", {"": found[THROUGHPUT]}))
    return panels


def _draw(axes: Axes, panel: Panel) -> None:
    for at, (label, line) in enumerate(panel.lines.items()):
        _draw_line(axes, line, label.replace("_", " "), at, panel.logarithmic)
    if panel.held_out is not None:
        steps, values = panel.held_out
        axes.plot(steps, values, "o--", color=_HELD_OUT_COLOUR, markersize=4, linewidth=1.2, label="held out")
    values = np.concatenate([_course(values) for _, values in _lines_of(panel)])
    largest = float(values.max())
    if panel.logarithmic and largest > 0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=largest / 1e4)  # a rate ends at zero, which a logarithm does not show
    elif values.min() > 0 and largest / values.min() > 30:
        axes.set_yscale("log")
    else:
        axes.set_ylim(min(0.0, float(values.min())), 1.1 * axes.get_ylim()[1])
    axes.set(title=panel.title, xlabel="optimiser step", ylabel=panel.unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if len(panel.lines) > 1 or panel.held_out is not None:
        axes.legend(fontsize=8)


def _draw_line(axes: Axes, line: Line, label: str, at: int, logarithmic: bool) -> None:
    """Line number ``at`` of a panel; dashes let lines that lie on each other be told apart."""
    steps, values = line
    colour, style = LINES[at % len(LINES)], ("-", "--", "-.", ":")[at % 4]
    if logarithmic:
        steps, values = steps[values > 0], values[values > 0]
    marker = "o" if len(steps) < 3 else ""
    if logarithmic or len(steps) < _SMOOTHED_FROM:
        axes.plot(steps, values, style, color=colour, linewidth=1.7, label=label, marker=marker, markersize=4)
        return
    axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
    axes.plot(steps, _course(values), color=colour, linewidth=1.8, label=f"{label} (running mean)".strip())


def _course(values: np.ndarray) -> np.ndarray:
    """Values as they are, or their running mean where there are many."""
    return values if len(values) < _SMOOTHED_FROM else running_mean(values)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over a window of about a thirtieth of the course around each value; at the ends, over what is there.

    Args:
        values: float64 (K,).

    Returns:
        float64 (K,).
    """
    half = max(1, len(values) // 60)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    means: np.ndarray = (sums[high] - sums[low]) / (high - low)
    return means


def _lines_of(panel: Panel) -> list[Line]:
    return [*panel.lines.values(), *([panel.held_out] if panel.held_out is not None else [])]


def _last_step(panels: Sequence[Panel]) -> int:
    return int(max(steps[-1] for panel in panels for steps, _ in _lines_of(panel)))
