"""The score of the whole photograph as HTML, and which picture explains it. Nothing here knows gradio."""

from __future__ import annotations

import numpy as np

from seagull_tune.levels import QUALITY_LEVELS, nearest_level
from seagull_tune.rsa.explain import ATTENTION_WORDS, NONE_WORSE, ToldRegion, told_regions
from seagull_tune.web.desk import NO_SCORER
from seagull_tune.web.state import Visit, WholeScore
from seagull_tune.web.views import escaped, ramp_html, swatch_html

VIEWS: tuple[str, ...] = ("Where it looks", "Regions by quality")
"""What the photograph may be coloured by."""

NOT_ADDITIVE = "This scorer reads the photograph as one: it says where it looks, and not what each region contributes."


def views_of(visit: Visit) -> tuple[str, ...]:
    """Those of :data:`VIEWS` that there are: a scorer whose head is not additive knows no qualities of regions."""
    additive = visit.whole is not None and visit.whole.explanation.qualities is not None
    return VIEWS if additive else VIEWS[:1]


def picture_of_whole(visit: Visit, view: str) -> np.ndarray | None:
    """What the page shows: uint8 (h', w', 3), of the size of a panel; None where nothing was scored."""
    return None if visit.whole is None else visit.whole.panels[views_of(visit).index(view)]


def view_legend_html(view: str) -> str:
    """What the colours of a view mean."""
    if view == VIEWS[0]:
        return ramp_html("attention", *ATTENTION_WORDS)
    return ramp_html("quality", f"0 {QUALITY_LEVELS[0]}", f"1 {QUALITY_LEVELS[-1]}")


def no_scorer_html() -> str:
    """What to do where the page has no scorer."""
    return f'<p class="empty">{escaped(NO_SCORER)}</p>'


def whole_html(visit: Visit, worst: int) -> str:
    """The score, the worst regions in words, and what every region contributes.

    Args:
        worst: regions that are told of in words, at most.
    """
    whole = visit.whole
    if whole is None:
        return ""
    regions = told_regions(whole.explanation)
    parts = [_score(whole), _worst(whole, regions, worst), _contributions(whole, regions) if regions else ""]
    return f'<article class="whole" aria-label="The whole photograph">{"".join(parts)}</article>'


def _score(whole: WholeScore) -> str:
    found = whole.explanation.image_score
    return (
        f'<section class="score" aria-label="Score"><div class="head"><span class="title">Score</span>'
        f'<span class="spread">{whole.range}</span><b class="value">{found.score:.3g}</b></div>'
        f'<div class="head"><span class="title">Quality</span>{swatch_html(found.score_01, "quality")}'
        f'<span>{nearest_level(found.score_01)}</span><b class="value">{found.score_01:.2f}</b></div></section>'
    )


def _worst(whole: WholeScore, regions: list[ToldRegion], count: int) -> str:
    """The regions that pull the score down the most, in words."""
    if not regions:
        told = f'<p class="facts">{NOT_ADDITIVE}</p>'
    else:
        items = [_told(region) for region in regions[: len(whole.explanation.worst(count))]]
        told = f"<ol>{''.join(items)}</ol>" if items else f'<p class="facts">{NONE_WORSE}</p>'
    return f'<section class="worst" aria-label="The worst regions"><h4>What pulls it down the most</h4>{told}</section>'


def _told(region: ToldRegion) -> str:
    said = f"<p>{escaped(region.text)}</p>" if region.text else ""
    return (
        f'<li value="{region.number}"><div class="head"><span class="number">{region.number}</span>'
        f"{swatch_html(region.quality, 'quality')}<b>{region.quality:.2f}</b>"
        f"<span>{nearest_level(region.quality)}</span></div>"
        f'{said}<p class="facts">{escaped(region.facts)}</p></li>'
    )


def _contributions(whole: WholeScore, regions: list[ToldRegion]) -> str:
    """A table that adds up to the score."""
    most = max((abs(region.contribution) for region in regions), default=0.0) or 1.0
    rows = "".join(
        f'<tr><th scope="row">{region.number}</th><td>{_coloured(region.quality)}</td><td>{region.weight:.0%}</td>'
        f"<td>{_signed_bar(region.contribution / most)}</td><td>{region.contribution:+.3f}</td></tr>"
        for region in regions
    )
    bias, score = whole.explanation.bias, whole.explanation.image_score.score
    return (
        '<details open class="contributions"><summary>What every region contributes</summary><table>'
        "<thead><tr><th scope='col'>No.</th><th scope='col'>Quality</th><th scope='col'>Counts</th>"
        "<th scope='col' colspan='2'>Contribution</th></tr></thead>"
        f'<tbody><tr><th scope="row" colspan="4">What the score begins with</th><td>{bias:+.3f}</td></tr>{rows}'
        f'<tr class="sum"><th scope="row" colspan="4">Score</th><td>{score:.3f}</td></tr></tbody></table></details>'
    )


def _coloured(quality: float) -> str:
    return f"{swatch_html(quality, 'quality')} {quality:.2f}"


def _signed_bar(share: float) -> str:
    """A bar that grows to the right of the middle, or to the left of it; ``share`` in [-1, 1]."""
    left = 50.0 + min(0.0, 50.0 * share)
    return (
        f'<span class="signed"><span class="{"gain" if share >= 0 else "loss"}" '
        f'style="left: {left:.1f}%; width: {50 * abs(share):.1f}%"></span></span>'
    )
