"""The score of a whole photograph on the page: its numbers are the scorer's, and what is wrong is a sentence."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seagull_tune.config.exchange import Scale
from seagull_tune.errors import ConfigError
from seagull_tune.rsa.explain import NONE_WORSE
from seagull_tune.rsa.scorer import Explanation
from seagull_tune.web.desk import NO_SCORER, Desk
from seagull_tune.web.state import Visit, WholeScore
from seagull_tune.web.visitor import Visitor
from seagull_tune.web.whole import (
    NOT_ADDITIVE,
    VIEWS,
    no_scorer_html,
    picture_of_whole,
    view_legend_html,
    views_of,
    whole_html,
)


@pytest.fixture(scope="module")
def scored(scoring_desk: Desk, photo: Path) -> Visit:
    return scoring_desk.score(scoring_desk.open(photo))


def whole_of(visit: Visit) -> WholeScore:
    assert visit.whole is not None
    return visit.whole


def changed(visit: Visit, **values: object) -> Visit:
    """The visit with another explanation."""
    whole = whole_of(visit)
    explanation: Explanation = replace(whole.explanation, **values)  # type: ignore[arg-type]
    return replace(visit, whole=replace(whole, explanation=explanation))


def test_the_score_is_the_scorers(scoring_desk: Desk, scored: Visit) -> None:
    assert scoring_desk.scorer is not None
    (expected,) = scoring_desk.scorer.score([scored.open.pixels])
    whole = whole_of(scored)
    assert whole.explanation.image_score == expected
    assert scored.note == f"photo.png is scored: {expected.score:.3g} on the scale 1 to 5, higher is better."
    assert f">{expected.score:.3g}<" in whole_html(scored, 3)


def test_what_is_shown_adds_up(scored: Visit) -> None:
    page, explanation = whole_html(scored, 2), whole_of(scored).explanation
    assert explanation.contributions is not None
    shown = [float(number) for number in re.findall(r"<td>([+-]\d+\.\d+)</td></tr>", page)]
    assert len(shown) == 1 + len(explanation.regions)
    assert shown[0] == pytest.approx(explanation.bias, abs=5e-4)
    assert sum(shown) == pytest.approx(explanation.image_score.score, abs=5e-4 * len(shown))
    assert f"<td>{explanation.image_score.score:.3f}</td>" in page


def test_the_worst_regions_are_told_in_words(scored: Visit) -> None:
    explanation = whole_of(scored).explanation
    worst = explanation.worst(2)
    page = whole_html(scored, 2)
    assert page.count("<li ") == len(worst) > 0
    assert all(explanation.texts[index] for index in worst)
    nasty = "<img src=x> {{ a }} ${b}"
    told = whole_html(changed(scored, texts=(nasty,) * len(explanation.texts)), 2)
    assert "<img" not in told and "{{" not in told and "${" not in told and "&lt;img" in told
    alike = changed(scored, qualities=(0.5,) * len(explanation.regions))
    assert NONE_WORSE in whole_html(alike, 2)


def test_a_photograph_is_scored_once_and_the_next_one_anew(
    scoring_desk: Desk, scored: Visit, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(scoring_desk.scorer, "explain", None)
        again = scoring_desk.score(scored)
    assert again.whole is scored.whole and "before" in again.note
    assert scoring_desk.open(photo).whole is None
    assert scoring_desk.click(scored, "Point", 5, 5).whole is scored.whole, "regions do not change it"


def test_the_picture_belongs_to_its_view(scored: Visit) -> None:
    assert views_of(scored) == VIEWS
    heat, regions = (picture_of_whole(scored, view) for view in VIEWS)
    assert heat is not None and regions is not None and heat.shape == regions.shape and (heat != regions).any()
    assert "counts most" in view_legend_html(VIEWS[0]) and "1 excellent" in view_legend_html(VIEWS[1])
    assert picture_of_whole(Visit(), VIEWS[0]) is None and whole_html(Visit(), 3) == ""


def test_a_scorer_that_is_not_additive_shows_its_map_alone(scored: Visit) -> None:
    pooled = changed(scored, qualities=None, contributions=None)
    assert views_of(pooled) == VIEWS[:1]
    page = whole_html(pooled, 3)
    assert NOT_ADDITIVE in page and "contributions" not in page


def test_the_direction_of_the_scale_is_said(scored: Visit) -> None:
    scale = Scale(low=0, high=100, higher_is_better=False)
    assert "0 to 100, lower is better" in whole_html(replace(scored, whole=replace(whole_of(scored), scale=scale)), 3)


def test_without_a_scorer_the_page_says_how_to_get_one(desk: Desk, visit: Visit) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.score(visit)
    assert str(caught.value) == NO_SCORER
    for word in ("scripts/train_rsa.py", "--scorer runs/rsa/model"):
        assert word in NO_SCORER and word in no_scorer_html()


def test_what_cannot_be_scored_is_named_as_the_visitor_does(scoring_desk: Desk, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3, 40, 3), np.uint8)).save(tmp_path / "line.png")
    visitor = Visitor()
    visitor.act(lambda _: scoring_desk.open(tmp_path / "line.png"))
    visit = visitor.act(scoring_desk.score)
    assert visit.problem and visit.note.startswith("line.png") and visit.whole is None
    empty = Visitor().act(scoring_desk.score)
    assert empty.problem and "No photograph is open" in empty.note
