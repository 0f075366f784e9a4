"""How every plot looks, and a training log as lines to be drawn. Nothing here needs a screen.

Legend: K logged values of one name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, MUTED, ACCENT = "#1d2733", "#66717d", "#2a6f97"
LINES = ("#2a6f97", "#d1603d", "#6a994e", "#8d6a9f", "#c9a227", "#4f5d75", "#9c6644")
STYLE: Any = {
    "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
    "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 11, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.grid": True, "grid.color": "#e6eaee", "axes.axisbelow": True, "legend.frameon": False,
}  # fmt: skip
"""Settings of matplotlib, for ``matplotlib.rc_context``."""

Line = tuple[np.ndarray, np.ndarray]
"""Steps and values, float64 (K,) each."""


def logged(log: Sequence[Mapping[str, Any]]) -> dict[str, Line]:
    """The numbers of a trainer's log history, by name.

    Args:
        log: its entries, in their order; entries without a step and values that are no finite numbers are left out.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in log:
        for name, value in entry.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
            if "step" in entry and name != "step" and is_number:
                found.setdefault(name, []).append((float(entry["step"]), float(value)))
    arrays = {name: np.array(points) for name, points in found.items()}
    return {name: (points[:, 0], points[:, 1]) for name, points in arrays.items()}


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return buffer.getvalue()
