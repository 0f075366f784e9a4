"""A comparison as two pages: Markdown for people and tickets, and one HTML file with the plots.

Legend: N judged regions (or pictures).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np

from seagull_tune.errors import DataError
from seagull_tune.evaluate.compare import Comparison, FigureKind, Measurement
from seagull_tune.evaluate.compare_figures import (
    calibration_curves,
    confusion_of,
    difference_plot,
    severity_confusion,
)
from seagull_tune.evaluate.report_figures import scatter
from seagull_tune.evaluate.report_numbers import AXES, group_title, interval_text, number, value_of
from seagull_tune.files import atomic_write_text, why_not_written
from seagull_tune.gallery import page
from seagull_tune.metrics.bootstrap import Difference, Interval
from seagull_tune.metrics.calibration import level_reliability
from seagull_tune.metrics.correlation import logistic_fit

MARKDOWN, HTML = "compare.md", "compare.html"
_EXPLAINED = (
    "A difference is the run's figure minus that of the first run, on the same photographs: the interval holds 95 % of "
    "{draws:,} resamplings of the photographs, drawn for both alike; p is two-sided, and not corrected for the number "
    "of comparisons. RMSE: lower is better."
)


def write_comparison(comparison: Comparison, out: Path) -> str:
    """Writes both pages, each whole or not at all; earlier ones are replaced.

    Returns:
        The Markdown.

    Raises:
        DataError: the folder cannot be written.
    """
    text = markdown_of(comparison)
    try:
        atomic_write_text(out / MARKDOWN, text)
        atomic_write_text(out / HTML, html_of(comparison))
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {why_not_written(error)}. Name another folder: --out DIR."
        ) from error
    return text


def markdown_of(comparison: Comparison) -> str:
    """The comparison as Markdown: what was measured, figures with intervals, differences, figures by group."""
    runs = comparison.runs
    lines = [f"# {_title(comparison)}", "", _lead(comparison), ""]
    lines += [f"- **{_cell(run.name)}**: {_cell(run.metrics['model_id'])}" for run in runs]
    lines += ["", *_table(["figure", *(run.name for run in runs)], _figure_rows(comparison))]
    lines += ["", "## Differences", "", _EXPLAINED.format(draws=comparison.draws), ""]
    lines += _table(["figure", *(f"{run.name} − {runs[0].name}" for run in runs[1:])], _difference_rows(comparison))
    for axis, rows in _breakdown_rows(comparison):
        lines += ["", f"## Quality SRCC {axis}", "", *_table(["regions", *(run.name for run in runs)], rows)]
    if comparison.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in comparison.notes)]
    return "\n".join(lines) + "\n"


def html_of(comparison: Comparison) -> str:
    """The comparison as one HTML file, in the style of the report."""
    runs = comparison.runs
    names = [run.name for run in runs]
    models = {run.name: f"{run.metrics['model_id']}, {run.metrics['precision']}" for run in runs}
    body = [
        f"<h1>{escape(_title(comparison))}</h1>",
        page.paragraph(_lead(comparison), "lead"),
        page.section("The models", page.fact_table(models)),
        page.section(
            "Figures",
            page.paragraph("Small print: 95 % interval, photographs resampled. RMSE: lower is better."),
            page.number_table(["", *names], [(name, cells, False) for name, cells in _figure_rows(comparison)]),
        ),
        page.section(
            "Differences",
            page.paragraph(_EXPLAINED.format(draws=comparison.draws)),
            page.number_table(
                ["", *(f"{name} − {names[0]}" for name in names[1:])],
                [(name, cells, False) for name, cells in _difference_rows(comparison)],
            ),
            *_difference_plots(comparison),
        ),
        *_plot_sections(comparison),
    ]
    for axis, rows in _breakdown_rows(comparison):
        table = page.number_table(["", *names], [(name, cells, False) for name, cells in rows])
        body.append(page.section(f"Quality SRCC {axis}", table))
    if comparison.notes:
        body.append(page.section("Notes", page.bullet_list(comparison.notes)))
    return page.page("Seagull-Tune comparison", body)


def _title(comparison: Comparison) -> str:
    return " against ".join([comparison.runs[0].name, ", ".join(run.name for run in comparison.runs[1:])])


def _lead(comparison: Comparison) -> str:
    metrics = comparison.runs[0].metrics
    judged = comparison.runs[0].judged
    protocol = metrics["protocol"]
    return (
        f"{len(judged.truth):,} {protocol['judged']} of {len(set(judged.truth.photographs.tolist())):,} scenes, "
        f"protocol {protocol['name']}, split {metrics['split']}, data {str(metrics['data_config_hash'])[:12]}."
    )


Rows = list[tuple[str, list[tuple[str, str]]]]
"""Name of a row, and its cells: number, smaller print below it."""


def _figure_rows(comparison: Comparison) -> Rows:
    def cell(run: Measurement, kind: FigureKind) -> tuple[str, str]:
        interval = value_of(run.metrics, kind.interval) if kind.interval else None
        return number(value_of(run.metrics, kind.key)), interval_text(interval)

    rows: Rows = [(kind.title, [cell(run, kind) for run in comparison.runs]) for kind in comparison.kinds]
    shares = [run.metrics.get("unparsable") for run in comparison.runs]
    if any(share is not None for share in shares):
        rows.append(
            ("Texts that cannot be read back", [("–" if s is None else f"{100 * s:.1f} %", "") for s in shares])
        )
    return rows


def _difference_rows(comparison: Comparison) -> Rows:
    def cell(found: Difference | None) -> tuple[str, str]:
        if found is None:
            return number(None), ""
        low, high = found.interval.low, found.interval.high
        return f"{found.value:+.3f}", f"{low:+.3f} – {high:+.3f}, p {_p(found.p_value, found.interval.resamples)}"

    return [(kind.title, [cell(found) for found in comparison.differences[kind.key]]) for kind in comparison.kinds]


def _p(value: float, resamples: int) -> str:
    """A p-value with the digits that the resamples allow."""
    least = 2.0 / (resamples + 1)
    return f"≤ {least:.2g}" if value <= least else f"{value:.2g}"


def _breakdown_rows(comparison: Comparison) -> Iterator[tuple[str, Rows]]:
    first = comparison.runs[0].metrics.get("breakdown", {})
    for axis, groups in first.items():
        rows: Rows = []
        for name, found in groups.items():
            key = f"breakdown.{axis}.{name}.quality.srcc"
            values = [value_of(run.metrics, key) for run in comparison.runs]
            if any(value is not None for value in values):
                rows.append((group_title(axis, name, found["n_regions"]), [(number(value), "") for value in values]))
        if rows:
            yield AXES.get(axis, axis), rows


def _difference_plots(comparison: Comparison) -> Iterator[str]:
    """One plot per run after the first, in which right is better."""
    for at, run in enumerate(comparison.runs[1:]):
        rows = [
            (kind.title, found if kind.better > 0 else _turned(found))
            for kind in comparison.kinds
            if (found := comparison.differences[kind.key][at]) is not None
        ]
        if rows:
            reference = comparison.runs[0].name
            drawn = difference_plot(rows, reference)
            yield page.grid([page.picture(drawn, f"differences of {run.name} to {reference}", run.name)])


def _turned(found: Difference) -> Difference:
    interval = Interval(-found.interval.high, -found.interval.low, found.interval.resamples)
    return replace(found, value=-found.value, interval=interval)


def _plot_sections(comparison: Comparison) -> Iterator[str]:
    for name in ("quality", "importance"):
        pictures = [drawn for run in comparison.runs if (drawn := _scatter(run, name))]
        if pictures:
            remark = "Each point is one of those judged; the curve is the fitted four-parameter logistic."
            yield page.section(f"Predicted and true {name}", page.paragraph(remark), page.grid(pictures))
    pictures = [drawn for run in comparison.runs if (drawn := _confusion(run))]
    if pictures:
        remark = (
            "Pairs of a region and a type that is there or is said to be there. Numbers in the rows: how many of 100 "
            "with this true severity are said to be what."
        )
        yield page.section("Severities", page.paragraph(remark), page.grid(pictures))
    curves = {
        run.name: level_reliability(run.reading.quality_levels, run.judged.truth.quality)
        for run in comparison.runs
        if run.reading.quality_levels is not None
    }
    if curves:
        remark = (
            "Confidence is the probability of the most probable quality word; it is right where the truth is nearest "
            "to that word. Large points: many regions. Error: expected calibration error over ten bins."
        )
        plot = page.picture(calibration_curves(curves, "Confidence in quality levels"), "calibration curves")
        yield page.section("Calibration", page.paragraph(remark), page.grid([plot]))


def _scatter(run: Measurement, name: str) -> str:
    predicted, true = getattr(run.reading, name), getattr(run.judged.truth, name)
    scored = np.isfinite(true)
    if predicted is None or not scored.any():
        return ""
    remark = f"SRCC {number(value_of(run.metrics, f'{name}.srcc'))}, n = {int(scored.sum()):,}"
    fit = logistic_fit(predicted[scored], true[scored])
    drawn = scatter(true[scored], predicted[scored], name, remark, run.name, fit)
    return page.picture(drawn, f"predicted against true {name}, {run.name}")


def _confusion(run: Measurement) -> str:
    known = run.judged.truth.diagnosed
    if run.reading.severities is None or not known.any():
        return ""
    counts = confusion_of(run.reading.severities[known], run.judged.truth.severities[known])
    return page.picture(severity_confusion(counts, run.name), f"confusion of severities, {run.name}")


def _table(head: list[str], rows: Rows) -> list[str]:
    """A Markdown table."""
    lines = ["| " + " | ".join(_cell(name) for name in head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, cells in rows:
        shown = [f"{value} [{below}]" if below else value for value, below in cells]
        lines.append("| " + " | ".join([_cell(name), *shown]) + " |")
    return lines


def _cell(text: str) -> str:
    """Text that no name of a folder can break a table with."""
    return " ".join(text.replace("|", "\\|").split())
