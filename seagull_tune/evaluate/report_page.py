"""The pieces of the report's page: one HTML file without scripts or outside files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
:root { --ink: #1d2733; --muted: #5d6874; --line: #dfe4e9; --soft: #f4f6f8; --accent: #2a6f97;
  color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--soft); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 28px 20px 56px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 6px; }
h2 { font-size: 1.15rem; margin: 0 0 4px; }
p { margin: 6px 0; }
.lead, .note { color: var(--muted); }
.note { font-size: .9rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 20px;
  margin-top: 18px; }
.grid { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 270px), 1fr));
  margin-top: 12px; align-items: start; }
.tiles { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr));
  margin-top: 18px; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.7rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--muted); font-size: .85rem; line-height: 1.35; }
figure { margin: 0; max-width: 640px; }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: .9rem; color: var(--muted); margin-top: 4px; }
.scale { max-width: 520px; margin: 14px auto 0; }
.scale .bar { height: 14px; border-radius: 7px; }
.scale .words { position: relative; height: 2.8em; font-size: .82rem; line-height: 1.3; color: var(--muted);
  text-align: center; }
.scale .words span { position: absolute; }
.table { overflow-x: auto; margin-top: 10px; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 0 7px 14px; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; vertical-align: top; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; padding: 7px 10px 7px 0;
  background: #fff; }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; white-space: normal;
  min-width: 4.6em; line-height: 1.3; }
tr.own td { font-weight: 650; }
td small { display: block; color: var(--muted); font-weight: 400; font-size: .8rem; }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.facts td:first-child { color: var(--muted); min-width: 9em; white-space: nowrap; }
.talk { display: grid; gap: 8px; margin-top: 10px; max-width: 640px; }
.said { padding: 9px 14px; border-radius: 14px; white-space: pre-wrap; overflow-wrap: anywhere; }
.asked { background: #e3edf4; justify-self: end; border-bottom-right-radius: 4px; }
.answered { background: var(--soft); justify-self: start; border-bottom-left-radius: 4px; }
ul { margin: 8px 0 0; padding-left: 1.2em; }
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""


def page(title: str, body: Sequence[str]) -> str:
    """A whole page from its sections."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def section(heading: str, *content: str) -> str:
    """A titled card."""
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(content) + "\n</section>"


def paragraph(text: str, kind: str = "note") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>'


def picture(png: bytes, description: str, caption: str = "") -> str:
    """An image inside the page."""
    data = base64.b64encode(png).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/png;base64,{data}" alt="{escape(description)}">{below}</figure>'


def grid(items: Sequence[str]) -> str:
    """Pictures side by side, below each other where the screen is narrow."""
    return '<div class="grid">\n' + "\n".join(items) + "\n</div>"


def tiles(values: Sequence[tuple[str, str, str]]) -> str:
    """Headline numbers: (value, what it is, its range or origin)."""
    cells = []
    for value, name, remark in values:
        below = f"<span>{escape(remark)}</span>" if remark else ""
        cells.append(f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span>{below}</div>')
    return '<div class="tiles">\n' + "\n".join(cells) + "\n</div>"


def colour_scale(colours: Sequence[str], words: Sequence[str]) -> str:
    """A colour bar from 0 (left) to 1 (right), with evenly spaced numbers and words under it."""
    last = max(1, len(words) - 1)
    marks = "".join(
        f'<span style="left: {at / last:.0%}; transform: translateX(-{at / last:.0%})">'
        f"{at / last:g}<br>{escape(word)}</span>"
        for at, word in enumerate(words)
    )
    gradient = f"linear-gradient(to right, {', '.join(colours)})"
    bar = f'<div class="bar" style="background: {gradient}"></div>'
    return f'<div class="scale">{bar}<div class="words">{marks}</div></div>'


def number_table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[tuple[str, str]], bool]]) -> str:
    """A table of numbers.

    Args:
        head: column names, the first one of the row names.
        rows: name, cells (number, smaller print below it), whether the row is printed bold.
    """
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = []
    for name, cells, own in rows:
        body = "".join(
            f"<td>{escape(value)}" + (f"<small>{escape(below)}</small>" if below else "") + "</td>"
            for value, below in cells
        )
        lines.append(f'<tr class="{"own" if own else "other"}"><td>{escape(name)}</td>{body}</tr>')
    return (
        f'<div class="table"><table><thead><tr>{top}</tr></thead><tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def fact_table(facts: Mapping[str, str]) -> str:
    """Names and values below each other."""
    lines = [f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts.items()]
    return '<div class="table"><table class="facts"><tbody>\n' + "\n".join(lines) + "\n</tbody></table></div>"


def conversation(turns: Sequence[tuple[str, str]]) -> str:
    """Questions and answers."""
    lines = [
        f'<div class="said asked">{escape(q)}</div>\n<div class="said answered">{escape(a)}</div>' for q, a in turns
    ]
    return '<div class="talk">\n' + "\n".join(lines) + "\n</div>"


def bullet_list(lines: Sequence[str]) -> str:
    """A list of plain sentences."""
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
