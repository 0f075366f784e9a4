"""The pictures of the report, drawn off screen and returned as PNG bytes.

Legend: N regions in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seagull_tune.metrics.correlation import LogisticFit
from seagull_tune.plots import ACCENT, INK, LINES, MUTED, STYLE, Line, logged, png

_MOST_POINTS = 4000


def scatter(
    true: np.ndarray, predicted: np.ndarray, name: str, remark: str, title: str = "", fit: LogisticFit | None = None
) -> bytes:
    """Predicted against true scores in [0, 1]; at most a few thousand points are drawn.

    Args:
        true, predicted: (N,).
        name: what is scored, for the axes.
        remark: written into the corner.
        title: above the plot; "" is the name.
        fit: of true values by predictions, drawn as a curve.
    """
    chosen = np.arange(len(true))
    if len(true) > _MOST_POINTS:
        chosen = np.random.Generator(np.random.PCG64(0)).permutation(len(true))[:_MOST_POINTS]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 4.3), dpi=140, layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        alpha = float(np.clip(40 / max(1, len(chosen)) ** 0.7, 0.1, 0.8))
        axes.scatter(true[chosen], predicted[chosen], s=12, color=ACCENT, alpha=alpha, linewidths=0, zorder=2)
        if fit is not None:
            said = np.linspace(float(predicted.min()), float(predicted.max()), 200)
            axes.plot(fit(said), said, color=LINES[1], linewidth=2, zorder=3, label="logistic fit")
            axes.legend(loc="lower right", fontsize=8)
        axes.set(
            xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=f"true {name}", ylabel=f"predicted {name}", aspect="equal"
        )
        axes.set_title(title or name.capitalize())
        axes.text(
            0.03,
            0.97,
            remark,
            transform=axes.transAxes,
            va="top",
            color=INK,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2},
        )
        return png(figure)


def training_curves(stage: str, log: Sequence[Mapping[str, Any]]) -> bytes | None:
    """Loss over the steps of one stage: the total, its named parts, and the held-out loss.

    Args:
        stage: title.
        log: entries of the trainer's log history; those without a step or a loss are left out.

    Returns:
        None where nothing can be drawn.
    """
    lines = _loss_lines(log)
    if not lines:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.3), dpi=140, layout="constrained")
        axes = figure.add_subplot()
        for at, (name, (steps, losses)) in enumerate(lines.items()):
            held_out, total = name.startswith("eval_"), name in ("loss", "eval_loss")
            label = "total" if total else name.removeprefix("loss_").replace("_", " ")
            axes.plot(
                steps,
                losses,
                label=f"{label}, held out" if held_out else label,
                color=INK if total else LINES[at % len(LINES)],
                linewidth=2 if total else 1.2,
                linestyle="--" if held_out else "-",
                marker="o" if held_out or len(steps) < 3 else "",
                markersize=3.5,
            )
        _finish_curves(axes, stage, [losses for _, losses in lines.values()])
        return png(figure)


def _finish_curves(axes: Axes, stage: str, losses: Sequence[np.ndarray]) -> None:
    values = np.concatenate(losses)
    if values.min() > 0 and values.max() / values.min() > 30:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0.0, float(values.min())))
    axes.set(xlabel="step", ylabel="loss", title=stage)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.legend(fontsize=8, ncols=2 if len(losses) > 4 else 1)


def _loss_lines(log: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """Name of a loss -> its steps and values: the total, its named parts, and the held-out total."""
    names = [name for name in logged(log) if name in ("loss", "eval_loss") or name.startswith("loss_")]
    parts = [name for name in names if name.startswith("loss_")]
    if len(parts) == 1 and "loss" in names:
        names.remove(parts[0])  # it is the total up to its weight
    return {name: logged(log)[name] for name in names}
