"""What is shown: everything that was measured, nothing that was smuggled in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.gallery.overlay import MIN_LEGEND
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS
from seagull_tune.regions.masks import from_rle
from seagull_tune.web.desk import Desk, Line, Talk
from seagull_tune.web.picture import picture_of, picture_to_keep, values_of
from seagull_tune.web.state import Photograph, Visit
from seagull_tune.web.views import (
    ABSTAINS,
    NOTHING_CHOSEN,
    card_html,
    choices_of,
    escaped,
    legend_html,
    messages_of,
    note_html,
    results_json,
)

NASTY = "<img src=x onerror=alert(1)> {{ props }} ${value} \"'"


@pytest.fixture
def two(desk: Desk, visit: Visit) -> Visit:
    """Two boxes; the second one is chosen."""
    return desk.typed(desk.typed(visit, "10,20,200,300"), "0,0,50,50")


def test_a_card_holds_every_number(two: Visit) -> None:
    page, scores = card_html(two), two.regions[1].assessment.scores
    assert f">{scores.quality:.2f}<" in page and f"± {scores.quality_deviation:.2f}" in page
    assert f">{scores.importance:.2f}<" in page and f"± {scores.importance_deviation:.2f}" in page
    for word in (*QUALITY_LEVELS, *IMPORTANCE_LEVELS, *DISTORTION_TYPES):
        assert word in page
    assert page.count('class="fill"') == 5 + 5 + 8
    assert "tiny@0" in page and ABSTAINS not in page and "In words" not in page


def test_abstaining_is_said_plainly(two: Visit) -> None:
    doubtful = two.with_answer(1, replace(two.regions[1].assessment, abstain=True))
    assert ABSTAINS in card_html(doubtful)
    assert "abstains" in choices_of(doubtful)[1][0] and "abstains" not in choices_of(doubtful)[0][0]
    assert json.loads(results_json(doubtful))[1]["abstain"] is True


def test_text_is_shown_escaped_and_its_doubt_said(two: Visit) -> None:
    told = two.with_answer(1, replace(two.regions[1].assessment, text=NASTY, unparsable=True))
    page = card_html(told)
    assert "<img" not in page and "{{" not in page and "${" not in page and "could not be read back" in page


def test_notes_and_names_are_escaped() -> None:
    for text in (note_html(Visit().says(NASTY, problem=True)), escaped(NASTY)):
        assert "<img" not in text and "{{" not in text and "${" not in text
    assert 'role="alert"' in note_html(Visit().says("no", problem=True))
    assert 'role="status"' in note_html(Visit().says("yes"))


def test_nothing_chosen_is_said() -> None:
    assert NOTHING_CHOSEN in card_html(Visit()) and choices_of(Visit()) == []


def test_the_legend_names_both_ends() -> None:
    assert "0 bad" in legend_html("Quality") and "1 excellent" in legend_html("Quality")
    assert "0 negligible" in legend_html("Importance") and "1 critical" in legend_html("Importance")


def test_the_picture_changes_inside_regions_only(visit: Visit, two: Visit) -> None:
    before, after = picture_of(visit, "Quality"), picture_of(two, "Quality")
    assert before is visit.open.shown and after is not None and after.shape == before.shape
    changed = (after != before).any(axis=2)
    inside = np.logical_or.reduce([region.shown for region in two.regions])
    assert (
        changed[inside].mean() > 0.9 and changed[:, 140:].mean() == 0
    )  # the boxes end at column 128, borders soon after
    assert values_of(two, "Importance") == [judged.assessment.scores.importance for judged in two.regions]


def test_the_first_corner_of_a_box_is_marked(desk: Desk, visit: Visit) -> None:
    marked = picture_of(desk.click(visit, "Box", 100, 80), "Quality")
    assert marked is not None
    rows, columns = np.nonzero((marked != visit.open.shown).any(axis=2))
    assert abs(rows.mean() - 80) < 2 and abs(columns.mean() - 100) < 2


def test_without_a_photograph_there_is_no_picture() -> None:
    assert picture_of(Visit(), "Quality") is None
    with pytest.raises(RegionError, match="No photograph"):
        picture_to_keep(Visit(), "Quality")


@pytest.mark.parametrize("size", [(205, 256), (20, 20), (3, 300)])
def test_the_picture_to_keep_has_its_legend(size: tuple[int, int]) -> None:
    visit = Visit(Photograph.of("p" * 200, np.zeros((*size, 3), np.uint8), 256))
    kept = picture_to_keep(visit, "Importance")
    assert kept.dtype == np.uint8 and kept.shape[1] >= max(visit.open.shown.shape[1], MIN_LEGEND[0])
    assert kept.shape[0] > visit.open.shown.shape[0] + MIN_LEGEND[1]


def test_the_json_is_that_of_assess_with_names(two: Visit) -> None:
    found = json.loads(results_json(two.renamed("sky")))
    assert [entry["region"]["name"] for entry in found] == ["region 1", "sky"]
    assert found[0]["image"] == "photo.png" and found[0]["region"]["box_xyxy"] == [10, 20, 200, 300]
    assert from_rle(found[1]["region"]["rle"]).area == two.regions[1].region.area


def test_messages_show_that_an_answer_is_under_way() -> None:
    talk = Talk(None, (Line("<b>one</b>?", "yes & no"), Line("two?")))
    shown = [message["content"] for message in messages_of(talk)]
    assert shown == ["&lt;b&gt;one&lt;/b&gt;?", "yes &amp; no", "two?", "…"]
    assert [message["role"] for message in messages_of(talk)] == ["user", "assistant"] * 2
