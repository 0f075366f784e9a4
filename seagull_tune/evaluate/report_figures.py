"""The pictures of the report, drawn off screen and returned as PNG bytes.

Legend: H, W image size; R regions of an image; N regions in all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from seagull_tune.metrics.correlation import LogisticFit
from seagull_tune.plots import ACCENT, INK, LINES, MUTED, STYLE, Line, logged, png

COLOUR_MAP = "viridis"
"""Perceptually even, also for colour-blind readers and in grey: dark is 0, bright yellow is 1."""

_LONGEST_SIDE = 690
_OVERLAY = 0.7
_MOST_POINTS = 4000


def colour_stops(count: int = 9) -> list[str]:
    """Evenly spaced colours of the map, from 0 to 1, as ``#rrggbb``."""
    table = matplotlib.colormaps[COLOUR_MAP]
    return [matplotlib.colors.to_hex(table(position)) for position in np.linspace(0.0, 1.0, count)]


def fit_for_screen(image: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shrinks a photograph uint8 (H, W, 3) and its masks bool (R, H, W) to a size for the screen."""
    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    if scale == 1.0:
        return image, masks
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = [cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0 for mask in masks]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.stack(small)


def photograph_panel(image: np.ndarray, masks: np.ndarray) -> bytes:
    """A photograph with the outlines and the numbers (from 1) of its regions."""
    canvas = image.copy()
    _outline(canvas, masks)
    return _panel(canvas, masks, [str(i + 1) for i in range(len(masks))])


def score_panel(image: np.ndarray, masks: np.ndarray, scores: np.ndarray) -> bytes:
    """A photograph in grey with its regions coloured by their scores.

    Args:
        image: uint8 (H, W, 3).
        masks: bool (R, H, W).
        scores: float (R,), [0, 1]; they are also written into the regions.
    """
    # Shadows are lifted, so that a colour means the same in the dark and in the light parts.
    grey = 80 + 0.65 * cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    canvas = np.repeat(grey[:, :, None], 3, axis=2)
    tinted = canvas.copy()
    colours = matplotlib.colormaps[COLOUR_MAP](np.clip(scores, 0, 1))[:, :3] * 255
    for index in np.argsort([-int(mask.sum()) for mask in masks], kind="stable"):  # small ones on top
        tinted[masks[index]] = colours[index]
    covered = np.asarray(masks.any(axis=0))[:, :, None]
    canvas = np.where(covered, (1 - _OVERLAY) * canvas + _OVERLAY * tinted, 0.5 * canvas + 120)
    out = np.ascontiguousarray(canvas.clip(0, 255).astype(np.uint8))
    _outline(out, masks)
    return _panel(out, masks, [f"{score:.2f}" for score in scores])


def _outline(canvas: np.ndarray, masks: np.ndarray) -> None:
    """Draws the borders of the masks into the canvas, in place."""
    thickness = max(1, round(max(canvas.shape[:2]) / 420))
    for mask in masks:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, contours, -1, (255, 255, 255), thickness)


def _panel(canvas: np.ndarray, masks: np.ndarray, labels: Sequence[str]) -> bytes:
    height, width = canvas.shape[:2]
    longest = max(height, width)
    figure = Figure(figsize=(6.0 * width / longest, 6.0 * height / longest), dpi=115)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, interpolation="antialiased")
    axes.set_axis_off()
    for mask, label in zip(masks, labels, strict=True):
        x, y = _label_place(mask)
        text = axes.text(x, y, label, ha="center", va="center", color="white", fontsize=17, fontweight="bold")
        text.set_path_effects([withStroke(linewidth=3.5, foreground=INK)])
    return png(figure)


def _label_place(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) deepest inside a mask, kept off the image's border."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    height, width = mask.shape
    return int(np.clip(x, 0.05 * width, 0.95 * width)), int(np.clip(y, 0.04 * height, 0.96 * height))


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
