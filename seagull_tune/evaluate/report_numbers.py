"""The report's figures as tiles and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seagull_tune.evaluate.baselines import AREA_LOSS, CLASSICAL, TRIVIAL
from seagull_tune.evaluate.breakdown import SIZES
from seagull_tune.evaluate.judging import BOX_DRAWN, CROP
from seagull_tune.evaluate.outcomes import DIRECT
from seagull_tune.gallery import page

_MISSING = "–"
_READERS = (
    ("Language model", ""),
    ("Direct head", DIRECT),
    ("Classical baseline", f"baselines.{CLASSICAL}"),
    ("Classical, on the box", f"baselines.{CROP}"),
    ("Model, box drawn", f"baselines.{BOX_DRAWN}"),
    ("Area × (1 − quality)", f"baselines.{AREA_LOSS}"),
    ("Trivial baseline", f"baselines.{TRIVIAL}"),
)
"""Readers as the table names them; baselines that are not here stand below, by their keys."""
_COLUMNS = (
    ("Quality SRCC", "quality.srcc", "quality.ci95"),
    ("SRCC within a photograph", "quality.within_image_srcc", ""),
    ("Quality PLCC", "quality.plcc", ""),
    ("Quality RMSE", "quality.rmse", ""),
    ("Importance SRCC", "importance.srcc", "importance.ci95"),
    ("Types macro F1", "types.macro_f1", ""),
    ("Types sample F1", "types.sample_f1", ""),
    ("Severity macro F1", "severity.f1", ""),
    ("Severity sample F1", "severity.sample_f1", ""),
)


def value_of(metrics: Mapping[str, Any], dotted: str) -> Any:
    """The figure behind a dotted name ("" is everything); None where it is missing or null."""
    found: Any = metrics
    for key in dotted.split(".") if dotted else ():
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return _MISSING if value is None else f"{value:.3f}"


def interval_text(value: Sequence[float] | None) -> str:
    """Both ends, or "" without."""
    return "" if value is None else f"{value[0]:.3f} – {value[1]:.3f}"


def headline_tiles(metrics: Mapping[str, Any]) -> str:
    """The numbers at the top."""

    def shown(dotted: str) -> str:
        return number(value_of(metrics, dotted))

    interval = interval_text(value_of(metrics, "quality.ci95"))
    unparsable, n_texts = metrics["unparsable"], metrics["n_texts"]
    return page.tiles(
        [
            (shown("quality.srcc"), "quality SRCC", f"95 %: {interval}" if interval else ""),
            (shown("quality.within_image_srcc"), "quality SRCC within a photograph", "median over photographs"),
            (shown("importance.srcc"), "importance SRCC", ""),
            (shown("types.macro_f1"), "distortion types, macro F1", ""),
            (shown(f"baselines.{CLASSICAL}.quality.srcc"), "quality SRCC of the classical baseline", ""),
            (
                _MISSING if unparsable is None else f"{100 * unparsable:.0f} %",
                "texts that cannot be read back",
                f"of {n_texts} generated",
            ),
        ]
    )


def numbers_section(metrics: Mapping[str, Any]) -> str:
    """The table of all readers."""
    rows = []
    known = {path for _, path in _READERS}
    others = [(key, f"baselines.{key}") for key in metrics.get("baselines", {}) if f"baselines.{key}" not in known]
    for name, path in (*_READERS, *others):
        found = value_of(metrics, path)
        if found:
            cells = [
                (number(value_of(found, figure)), interval_text(value_of(found, interval)) if interval else "")
                for _, figure, interval in _COLUMNS
            ]
            rows.append((name, cells, not path))
    return page.section(
        "The numbers",
        page.paragraph(
            "SRCC: rank correlation with the truth, 1 is best; small print: 95 % interval, photographs resampled. "
            "RMSE: 0 is best. The direct head is the region tokens' own reading; the baselines come from the same "
            "training data."
        ),
        page.number_table(["", *(name for name, _, _ in _COLUMNS)], rows),
    )


AXES = {"type": "by distortion type", "severity": "by worst severity", "size": "by size of the region"}
"""Axes of the breakdown -> how headings call them."""
_GROUP_COLUMNS = (
    ("Quality SRCC", "quality.srcc"),
    ("Quality RMSE", "quality.rmse"),
    ("Quality bias", "quality.bias"),
    ("Importance SRCC", "importance.srcc"),
    ("Types sample F1", "types.sample_f1"),
    ("Severity sample F1", "severity.sample_f1"),
)


def group_title(axis: str, name: str, n_regions: int) -> str:
    """A group of the breakdown in words, with how many regions it has."""
    low, high = SIZES.get(name, (0.0, 0.0)) if axis == "size" else (0.0, 0.0)
    share = f", {100 * low:.0f} to {100 * min(high, 1.0):.0f} % of the picture" if high else ""
    return f"{name}{share} ({n_regions:,})"


def breakdown_section(metrics: Mapping[str, Any]) -> str:
    """The model's figures by type, severity and size; "" where there is no breakdown."""
    tables = []
    for axis, groups in metrics.get("breakdown", {}).items():
        rows = [
            (
                group_title(axis, name, found["n_regions"]),
                [(number(value_of(found, figure)), "") for _, figure in _GROUP_COLUMNS],
                False,
            )
            for name, found in groups.items()
        ]
        tables.append(page.number_table([AXES[axis], *(name for name, _ in _GROUP_COLUMNS)], rows))
    if not tables:
        return ""
    remark = (
        "The language model's figures of some of the regions; in brackets how many there are. Bias: how much higher "
        "the prediction is than the truth, on average. Sample F1: mean over regions."
    )
    return page.section("Where it is good, and where not", page.paragraph(remark), *tables)


def facts_section(metrics: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """What was measured, with what, and what could not be."""
    seconds, n_regions = metrics["seconds"], metrics["n_regions"]
    places = f"{metrics['n_samples']:,} renderings of {metrics['n_images']:,} images"
    table = {
        "Model": metrics["model_id"],
        "Regions": f"{n_regions:,} in {places}, {metrics['n_photographs']:,} photographs",
        "Recipes": metrics["recipe_hash"],
        "Seed": str(metrics["seed"]),
        "Judged in": f"{seconds:,.0f} s ({seconds / max(1, n_regions):.3f} s per region, {metrics['precision']})",
        **facts,
        "Versions": ", ".join(f"{name} {found}" for name, found in metrics["versions"].items()),
    }
    notes = [page.bullet_list(metrics["notes"])] if metrics["notes"] else []
    return page.section("The run", page.fact_table(table), *notes)
