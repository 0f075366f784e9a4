"""A visitor's state as HTML, as choices of a list, and as JSON. Whatever comes from outside is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import replace

from seagull_tune.gallery.overlay import Kind, colour_of, colour_stops
from seagull_tune.infer.serialise import assessment_to_dict, region_to_dict
from seagull_tune.levels import (
    IMPORTANCE_LEVELS,
    PRESENT,
    QUALITY_LEVELS,
    SEVERITY_NAMES,
    nearest_level,
    said_severity,
)
from seagull_tune.records import Scores
from seagull_tune.web.desk import Talk
from seagull_tune.web.picture import KINDS
from seagull_tune.web.state import JudgedRegion, Visit

NOTHING_CHOSEN = "Judge a region, or choose one, and its numbers appear here."
ABSTAINS = "The model abstains here: do not rely on these numbers."

_BRACES = str.maketrans({"{": "&#123;", "}": "&#125;", "$": "&#36;"})


def escaped(text: str) -> str:
    """Text as HTML that shows it; also what page templates would read (``{{ }}``, ``${ }``) is shown, never read."""
    return html.escape(text, quote=True).translate(_BRACES)


def note_html(visit: Visit) -> str:
    """The sentence for the visitor; screen readers say it when it changes."""
    kind, role = ("problem", "alert") if visit.problem else ("hint", "status")
    return f'<p class="note {kind}" role="{role}">{escaped(visit.note)}</p>'


def legend_html(by: str) -> str:
    """The colour map with the words at its ends; ``by`` as in :data:`~seagull_tune.web.picture.SCORES`."""
    words = IMPORTANCE_LEVELS if by == "Importance" else QUALITY_LEVELS
    return ramp_html(KINDS[by], f"0 {words[0]}", f"1 {words[-1]}")


def ramp_html(kind: Kind, low: str, high: str) -> str:
    """A colour map between the words for its ends."""
    gradient = f"linear-gradient(to right, {', '.join(colour_stops(kind))})"
    return (
        f'<div class="legend" role="img" aria-label="Colours: {low} to {high}"><span>{low}</span>'
        f'<span class="ramp" style="background: {gradient}"></span><span>{high}</span></div>'
    )


def choices_of(visit: Visit) -> list[tuple[str, int]]:
    """The regions as a list to choose from: number, name where one was given, quality; and their indices."""
    return [(_choice(index, judged), index) for index, judged in enumerate(visit.regions)]


def _choice(index: int, judged: JudgedRegion) -> str:
    name = "" if judged.name == f"region {index + 1}" else f"{judged.name} · "
    doubt = " (abstains)" if judged.assessment.abstain else ""
    return f"{index + 1} · {name}{judged.assessment.scores.quality:.2f}{doubt}"


def card_html(visit: Visit) -> str:
    """Everything that is known of the chosen region."""
    judged = visit.card
    if judged is None:
        return f'<p class="empty">{NOTHING_CHOSEN}</p>'
    scores, region = judged.assessment.scores, judged.region
    share = region.area / (region.height * region.width)
    parts = [
        f'<h3>{escaped(judged.name)} <small>{share:.1%} of the photograph</small></h3>',
        f'<p class="abstains" role="note">{ABSTAINS}</p>' if judged.assessment.abstain else "",
        _score("Quality", scores.quality, scores.quality_deviation, scores.quality_levels),
        _score("Importance", scores.importance, scores.importance_deviation, scores.importance_levels),
        _distortions(scores),
        _words(judged),
        _details(judged),
    ]  # fmt: skip
    return f'<article class="card" aria-label="Card of {escaped(judged.name)}">{"".join(parts)}</article>'


def _score(title: str, value: float, deviation: float, levels: Sequence[float]) -> str:
    """A score with its deviation, its level word, and the probability of every level."""
    words = IMPORTANCE_LEVELS if title == "Importance" else QUALITY_LEVELS
    bars = "".join(_bar(word, level) for word, level in zip(words, levels, strict=True))
    return (
        f'<section class="score" aria-label="{title}"><div class="head">'
        f'{swatch_html(value, KINDS[title])}<span class="title">{title}</span>'
        f'<b class="value">{value:.2f}</b><span class="spread">± {deviation:.2f}</span>'
        f'<span class="word">{nearest_level(value, words)}</span></div>{bars}</section>'
    )


def swatch_html(value: float, kind: Kind) -> str:
    """A square in the colour of a score."""
    red, green, blue = colour_of(value, kind)
    return f'<i class="swatch" style="background: rgb({red}, {green}, {blue})"></i>'


def _bar(word: str, probability: float, aside: str = "") -> str:
    """One line: a word, a bar, a percentage."""
    return (
        f'<div class="bar"><span class="label">{word}{aside}</span>'
        f'<span class="track"><span class="fill" style="width: {100 * probability:.1f}%"></span></span>'
        f'<span class="percent">{probability:.0%}</span></div>'
    )


def _distortions(scores: Scores) -> str:
    """Types that are there, most probable first, with how severe they are; the others folded away."""
    types = sorted(scores.types.items(), key=lambda item: -item[1])
    rows = {
        name: _bar(name, probability, f" <em>{SEVERITY_NAMES[said_severity(scores.severities[name])]}</em>")
        for name, probability in types
    }
    there = [name for name, probability in types if probability >= PRESENT]
    shown = "".join(rows[name] for name in there) or '<p class="none">No distortion is likely here.</p>'
    others = "".join(row for name, row in rows.items() if name not in there)
    folded = f"<details><summary>Unlikely types</summary>{others}</details>" if others else ""
    return f'<section class="types" aria-label="Distortions"><h4>Distortions</h4>{shown}{folded}</section>'


def _words(judged: JudgedRegion) -> str:
    answer = judged.assessment
    if not answer.text:
        return ""
    doubt = '<p class="none">The severity words of this text could not be read back.</p>' if answer.unparsable else ""
    return (
        f'<section class="words" aria-label="In words"><h4>In words</h4><p>{escaped(answer.text)}</p>{doubt}</section>'
    )


def _details(judged: JudgedRegion) -> str:
    answer, region = judged.assessment, judged.region
    x0, y0, x1, y1 = region.box_xyxy
    facts = {
        "Box": f"{x0},{y0} to {x1},{y1} (end exclusive)",
        "Area": f"{region.area:,} pixels",
        "Direct head": f"quality {answer.direct.quality:.2f}, importance {answer.direct.importance:.2f}",
        "Model": answer.model_id,
        "Seen at": f"{answer.resolution[1]} x {answer.resolution[0]} pixels",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escaped(value)}</dd>" for name, value in facts.items())
    return f"<details><summary>Details</summary><dl>{rows}</dl></details>"


def messages_of(talk: Talk) -> list[dict[str, str]]:
    """The conversation as messages; an answer that has not begun is an ellipsis. The chat shows them as HTML."""
    messages = []
    for line in talk.lines:
        answer = html.escape(line.answer or "…", quote=False)
        if line.numbers is not None:
            answer += f'<p class="numbers"><b>In numbers</b> {escaped(line.numbers.text)}.</p>'
        messages.append({"role": "user", "content": html.escape(line.question, quote=False)})
        messages.append({"role": "assistant", "content": answer})
    return messages


def results_json(visit: Visit) -> str:
    """All judged regions as a JSON list; its objects are those of ``seagull-tune assess``, with the regions' names.

    Raises:
        RegionError: no photograph is open.
    """
    found = [_named(judged, visit.open.name) for judged in visit.regions]
    return json.dumps(found, ensure_ascii=True, allow_nan=False, indent=1) + "\n"


def _named(judged: JudgedRegion, image: str) -> dict[str, object]:
    named = replace(judged.region, name=judged.name)
    return assessment_to_dict(judged.assessment, image) | {"region": region_to_dict(named)}
