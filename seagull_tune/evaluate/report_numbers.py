"""The report's figures as tiles and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seagull_tune.evaluate.baselines import AREA_LOSS, CLASSICAL, TRIVIAL
from seagull_tune.evaluate.outcomes import DIRECT
from seagull_tune.gallery import page

_MISSING = "–"
_READERS = (
    ("Language model", ""),
    ("Direct head", DIRECT),
    ("Classical baseline", f"baselines.{CLASSICAL}"),
    ("Area × (1 − quality)", f"baselines.{AREA_LOSS}"),
    ("Trivial baseline", f"baselines.{TRIVIAL}"),
)
_COLUMNS = (
    ("Quality SRCC", "quality.srcc", "quality.ci95"),
    ("SRCC within a photograph", "quality.within_image_srcc", ""),
    ("Quality PLCC", "quality.plcc", ""),
    ("Quality RMSE", "quality.rmse", ""),
    ("Importance SRCC", "importance.srcc", "importance.ci95"),
    ("Types macro F1", "types.macro_f1", ""),
    ("Types sample F1", "types.sample_f1", ""),
    ("Severity F1", "severity.f1", ""),
    ("Severity accuracy", "severity.accuracy", ""),
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


def _interval(value: Sequence[float] | None) -> str:
    return "" if value is None else f"{value[0]:.3f} – {value[1]:.3f}"


def headline_tiles(metrics: Mapping[str, Any]) -> str:
    """The numbers at the top."""

    def shown(dotted: str) -> str:
        return number(value_of(metrics, dotted))

    interval = _interval(value_of(metrics, "quality.ci95"))
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
    for name, path in _READERS:
        found = value_of(metrics, path)
        if found:
            cells = [
                (number(value_of(found, figure)), _interval(value_of(found, interval)) if interval else "")
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
