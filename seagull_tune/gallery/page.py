"""The pieces of every page that is written to disk: HTML in one file, of one style, with nothing from outside."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

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
.scale .words span { position: absolute; white-space: nowrap; }
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
li, h1 { overflow-wrap: anywhere; }
a { color: var(--accent); }
.plain { margin: 4px 0; overflow-wrap: anywhere; }
.warning { font-weight: 650; margin: 4px 0; }
.sort { margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 8px; align-items: center; color: var(--muted); }
.sort button { font: inherit; padding: 6px 14px; border: 1px solid var(--line); border-radius: 999px;
  background: #fff; color: var(--ink); cursor: pointer; }
.sort button[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: #fff; }
.cards { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr));
  margin: 14px 0 0; padding: 0; list-style: none; }
.cards a { display: block; height: 100%; background: #fff; border: 1px solid var(--line); border-radius: 12px;
  padding: 10px; color: inherit; text-decoration: none; }
.cards a:hover { border-color: var(--accent); }
.cards img { display: block; width: 100%; aspect-ratio: 4 / 3; object-fit: contain; background: var(--soft);
  border-radius: 6px; }
.cards b, .cards span { display: block; overflow-wrap: anywhere; }
.cards b { margin-top: 8px; font-size: .95rem; line-height: 1.3; }
.cards span { color: var(--muted); font-size: .88rem; line-height: 1.4; font-variant-numeric: tabular-nums; }
.region { display: grid; grid-template-columns: 2.4em 1fr; gap: 0 12px; padding: 14px 0;
  border-bottom: 1px solid var(--line); }
.region:last-child { border-bottom: 0; padding-bottom: 0; }
.region .number { width: 2.1em; height: 2.1em; border-radius: 50%; display: grid; place-items: center;
  background: #fff; border: 5px solid; font-weight: 650; font-size: .95rem; }
.region h3 { margin: 4px 0 6px; font-size: 1.05rem; }
.levels { display: grid; gap: 6px 28px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); }
.levels p { font-size: .9rem; margin: 0; }
.levels ol { display: grid; grid-template-columns: repeat(5, 1fr); gap: 4px; margin: 2px 0 0; padding: 0;
  list-style: none; font-size: .75rem; line-height: 1.3; color: var(--muted); }
.levels li { overflow-wrap: normal; }
.levels i { display: block; height: 8px; border-radius: 4px; background: var(--line); margin-bottom: 3px; }
.levels i::before { content: ""; display: block; width: var(--share); height: 100%; border-radius: 4px;
  background: var(--accent); }
@media (max-width: 520px) {
  .region { display: block; }
  .region .number { float: left; margin-right: 12px; }
  .levels { clear: both; padding-top: 4px; }
  .levels ol { font-size: .69rem; }
}
@media print { body { background: #fff; } section, .tile { break-inside: avoid; } }
"""


_SORT = """
for (const row of document.querySelectorAll(".sort")) {
  const cards = document.getElementById("cards"), buttons = [...row.querySelectorAll("button")];
  for (const button of buttons) button.onclick = () => {
    const by = button.dataset.by, value = card => Number(card.dataset[by]);
    cards.append(...[...cards.children].sort((a, b) => value(a) - value(b)));
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
  };
}
"""


@dataclass(frozen=True)
class Card:
    """A photograph among others.

    Attributes:
        href, thumbnail: addresses relative to the page, as :func:`address` makes them.
        alt: what the thumbnail shows, in words.
        name: heading.
        told: lines below it.
        keys: what the cards can be sorted by -> value, the smallest first.
    """

    href: str
    thumbnail: str
    alt: str
    name: str
    told: tuple[str, ...]
    keys: Mapping[str, float]


def encoded(text: str) -> bytes:
    """A page as bytes, UTF-8; what no text has (bytes of a file's name) is written out."""
    return readable(text).encode()


def readable(text: str) -> str:
    """A name as it can be shown: bytes that are not UTF-8 as ``\\udcXX``."""
    return text.encode("utf-8", "backslashreplace").decode()


def address(name: str) -> str:
    """The relative address of a file by its name below the page's folder, whatever bytes the name has."""
    return quote(os.fsencode(name))


def link(href: str, words: str) -> str:
    """A link; ``href`` as :func:`address` makes it."""
    return f'<a href="{escape(href)}">{escape(words)}</a>'


def heading(text: str) -> str:
    """The page's heading."""
    return f"<h1>{escape(text)}</h1>"


def cards(items: Sequence[Card], keys: Mapping[str, str]) -> str:
    """Cards in the given order, with buttons that sort them (without scripts they stay as they are).

    Args:
        items: sorted by the first key.
        keys: key of ``Card.keys`` -> words of its button.
    """
    buttons = "".join(
        f'<button type="button" data-by="{escape(key)}" aria-pressed="{"false" if at else "true"}">'
        f"{escape(words)}</button>"
        for at, (key, words) in enumerate(keys.items())
    )
    lines = []
    for item in items:
        data = " ".join(f'data-{escape(key)}="{value:.6f}"' for key, value in item.keys.items())
        told = "".join(f"<span>{escape(line)}</span>" for line in item.told)
        lines.append(
            f'<li {data}><a href="{escape(item.href)}"><img src="{escape(item.thumbnail)}" alt="{escape(item.alt)}" '
            f'loading="lazy"><b>{escape(item.name)}</b>{told}</a></li>'
        )
    sort = f'<div class="sort" role="group" aria-label="Sort by">Sort by {buttons}</div>'
    return f'{sort}\n<ul class="cards" id="cards">\n' + "\n".join(lines) + f"\n</ul>\n<script>{_SORT}</script>"


def numbered(number: int, colour: str, title: str, *content: str) -> str:
    """An entry of a numbered list, with a ring in a colour."""
    return (
        f'<div class="region"><div class="number" style="border-color: {escape(colour)}">{number}</div><div>'
        f"<h3>{escape(title)}</h3>\n" + "\n".join(content) + "\n</div></div>"
    )


def level_bars(scores: Sequence[tuple[str, Mapping[str, float]]]) -> str:
    """Scores with the probability of each of their levels: (name and value, level -> probability)."""
    blocks = []
    for title, levels in scores:
        bars = "".join(
            f'<li><i style="--share: {share:.1%}" role="img" aria-label="{share:.0%}"></i>{escape(word)}</li>'
            for word, share in levels.items()
        )
        blocks.append(f"<div><p>{escape(title)}</p><ol>{bars}</ol></div>")
    return '<div class="levels">' + "".join(blocks) + "</div>"


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


def picture(data: bytes, description: str, caption: str = "", kind: str = "png") -> str:
    """An image inside the page: the bytes of a PNG or JPEG file, and what it shows in words."""
    inside = base64.b64encode(data).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/{kind};base64,{inside}" alt="{escape(description)}">{below}</figure>'


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
