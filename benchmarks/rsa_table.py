"""The table of benchmarks/rsa_quality.py: medians over seeds, and every cell against global pooling seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Row = dict[str, Any]
"""A finished cell: ``cell``, ``seed``, ``n``, ``srcc``, ``plcc`` (None where undefined), ``seconds``."""

BASE, FULL, FREE = "global", "rsa-text", "free-head"
"""What the others are compared with; the whole method; the same with a head that is not bound to add up."""

SAYS = {
    "describer": "mean region quality of the describer, untuned",
    "svr": "support vector regression on frozen statistics",
    BASE: "backbone, global pooling",
    "uniform": "all regions count the same",
    "rsa": "RSA without describer",
    "rsa-numbers": "RSA, describer's numbers",
    "rsa-tokens": "RSA, numbers and tokens",
    FULL: "RSA, numbers, tokens and text",
    "rsa-regions": "the same, the whole image not read beside the regions",
    FREE: "RSA, numbers, tokens and text, unconstrained head",
}


def summary(rows: Mapping[str, Sequence[Row]]) -> list[Row]:
    """A line per cell: medians and spread over seeds, and differences to global pooling seed by seed."""
    base = {row["seed"]: row["srcc"] for row in rows.get(BASE, ())}
    return [_line(cell, found, base) for cell, found in rows.items()]


def _line(cell: str, rows: Sequence[Row], base: Mapping[int, float | None]) -> Row:
    known = [row for row in rows if row["srcc"] is not None and row["plcc"] is not None]
    gains = {row["seed"]: row["srcc"] - reference for row in known if (reference := base.get(row["seed"])) is not None}
    line: Row = {"cell": cell, "seeds": len(rows), "undefined": len(rows) - len(known)}
    for name in ("srcc", "plcc"):
        values = [row[name] for row in known]
        line[name] = median(values) if values else None
        line[f"{name}_spread"] = [min(values), max(values)] if values else None
    return line | {
        "gains": {} if cell == BASE else gains,
        "gain": median(gains.values()) if gains and cell != BASE else None,
        "seconds": round(median(row["seconds"] for row in rows), 1) if rows else None,
    }  # fmt: skip


def table_of(lines: Sequence[Row], facts: Mapping[str, Any]) -> str:
    """The table as markdown, with a sentence on what the additive head costs."""
    head = [
        "scorer",
        "seeds",
        "SRCC, median (least to most)",
        "PLCC",
        "gain over global pooling",
        "per seed",
        "s a cell",
    ]
    rows = [head, ["---"] * len(head), *(_cells_of(line) for line in lines)]
    text = [f"| {' | '.join(row)} |" for row in rows]
    by_cell = {line["cell"]: line for line in lines}
    bound, free = (by_cell.get(cell, {}).get("srcc") for cell in (FULL, FREE))
    if bound is not None and free is not None:
        text += ["", f"Accuracy lost to contributions that add up: {free - bound:+.4f} SRCC (median against median)."]
    text += ["", f"{facts['pictures']} pictures of {facts['groups']} groups; describer {facts['describer']}."]
    return "\n".join(text) + "\n"


def _cells_of(line: Row) -> list[str]:
    name = f"{SAYS[line['cell']]} (`{line['cell']}`)"
    if line["srcc"] is None:
        return [name, str(line["seeds"]), *["-"] * 5]
    low, high = line["srcc_spread"]
    gains = [line["gains"][seed] for seed in sorted(line["gains"])]
    positive = f", {sum(gain > 0 for gain in gains)} of {len(gains)} above"
    return [
        name, str(line["seeds"]), f"{line['srcc']:.4f} ({low:.4f} to {high:.4f})", f"{line['plcc']:.4f}",
        f"{line['gain']:+.4f}{positive}" if gains else "-", " ".join(f"{gain:+.3f}" for gain in gains) or "-",
        f"{line['seconds']:.0f}",
    ]  # fmt: skip
