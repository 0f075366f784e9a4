"""Where a model is good and where it is not: its figures by type, by severity and by size of the region.

Legend: N regions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from seagull_tune.config.evaluate import FIGURES
from seagull_tune.evaluate.figures import Metrics, Notes, rounded, sample_figures, undefined
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.levels import DISTORTION_TYPES, PRESENT, SEVERITY_NAMES
from seagull_tune.metrics.classification import sample_scores, severity_sample_scores
from seagull_tune.metrics.correlation import rmse, srcc

SIZES: Mapping[str, tuple[float, float]] = {"small": (0.0, 0.05), "medium": (0.05, 0.2), "large": (0.2, 1.0 + 1e-9)}
"""Area shares of the image, [from, below)."""


def groups_of(truth: Truth) -> dict[str, dict[str, np.ndarray]]:
    """Flags (N,) of the regions of every group, by axis and name of the group.

    ``type``: the regions that have the type, alone or with others; ``severity``: by the worst severity of the region;
    ``size``: by area share (:data:`SIZES`). Regions that nobody diagnosed are in no group of the first two.
    """
    known = truth.diagnosed
    worst = np.where(known, truth.severities.max(axis=1, initial=-1), -1)
    return {
        "type": {name: known & (truth.severities[:, at] > 0) for at, name in enumerate(DISTORTION_TYPES)},
        "severity": {name: worst == level for level, name in enumerate(SEVERITY_NAMES)},
        "size": {name: (truth.area >= low) & (truth.area < high) for name, (low, high) in SIZES.items()},
    }


def breakdown_of(reading: Reading, truth: Truth, notes: Notes, wanted: Collection[str] = FIGURES) -> Metrics:
    """Figures of every group, without intervals: groups are small, and there are many.

    Args:
        reading, truth: of the same N regions.
        notes: takes one line per axis with groups whose correlation is not defined.
        wanted: which of ``config.evaluate.FIGURES``.

    Returns:
        Axis -> group -> figures; see docs/evaluation.md.
    """
    out: Metrics = {}
    for axis, groups in groups_of(truth).items():
        if axis != "size" and not truth.diagnosed.any():
            notes.add(f"breakdown.{axis}: left out, of no region it is known which distortions it has")
            continue
        missing: list[str] = []
        out[axis] = {}
        for name, rows in groups.items():
            out[axis][name] = _group_figures(reading.rows(rows), truth.rows(rows), wanted)
            if reading.quality is not None and "quality" in wanted:
                problem = undefined(reading.quality[rows], truth.quality[rows])
                missing += [f"{name} ({problem})"] if problem else []
        if missing:
            notes.add(f"breakdown.{axis}: no quality.srcc of {', '.join(missing)}")
    return out


def _group_figures(reading: Reading, truth: Truth, wanted: Collection[str]) -> Metrics:
    found: Metrics = {"n_regions": len(truth), "n_photographs": len(set(truth.photographs.tolist()))}
    for name, predicted, true in (
        ("quality", reading.quality, truth.quality),
        ("importance", reading.importance, truth.importance),
    ):
        if predicted is None or name not in wanted:
            continue
        scored = np.isfinite(true)
        left, right = predicted[scored], true[scored]
        found[name] = {
            "srcc": rounded(srcc(left, right)),
            "rmse": rounded(rmse(left, right)),
            "bias": rounded(float((left - right).mean())) if len(left) else None,
        }
    known = truth.diagnosed
    true = truth.severities[known]
    if reading.types is not None and "types" in wanted:
        found["types"] = sample_figures(sample_scores(reading.types[known] >= PRESENT, true > 0))
    if reading.severities is not None and "severity" in wanted:
        found["severity"] = sample_figures(severity_sample_scores(reading.severities[known], true))
    return found
