"""States of a visitor: places on the page are places of the photograph, names are unique, nothing is overwritten."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.records import RegionAssessment, Scores
from seagull_tune.regions.boxes import box_region
from seagull_tune.web.state import Photograph, Visit
from seagull_tune.web.visitor import Visitor

SIZE = (90, 160)


def judged(*boxes: tuple[int, int, int, int]) -> Visit:
    """A visit with regions that nobody judged for real; the photograph is shown at half its size."""
    levels = (0.2,) * 5
    scores = Scores(0.5, 0.5, levels, levels, {"blur": (1.0, 0, 0, 0, 0, 0)}, {"blur": 0.0})
    photograph = Photograph.of("p.png", np.zeros((*SIZE, 3), np.uint8), 80)
    answers = [RegionAssessment(box_region(box, *SIZE), scores, scores, "", False, "m@0", SIZE) for box in boxes]
    return Visit(photograph).with_judged(answers)


@pytest.mark.parametrize("size", [(90, 160), (161, 93), (7, 1000), (3000, 2)])
def test_shown_pixels_are_pixels_of_the_photograph(size: tuple[int, int]) -> None:
    photograph = Photograph.of("p", np.zeros((*size, 3), np.uint8), 64)
    (height, width), (h, w) = size, photograph.shown.shape[:2]
    assert max(h, w) == 64 and min(h, w) >= 1
    assert photograph.pixel(w - 1, h - 1)[0] >= width - width / w and photograph.pixel(0, 0)[1] <= height / h
    for x, y in ((0, 0), (w - 1, h - 1), (w // 2, h // 3)):
        column, row = photograph.pixel(x, y)
        assert abs((column + 0.5) / width - (x + 0.5) / w) <= 0.5 / width + 1e-9
        assert abs((row + 0.5) / height - (y + 0.5) / h) <= 0.5 / height + 1e-9
    assert photograph.pixel(w + 50, -3) == (width - 1, 0)


def test_a_small_photograph_is_shown_as_it_is() -> None:
    pixels = np.zeros((40, 30, 3), np.uint8)
    photograph = Photograph.of("p", pixels, 256)
    assert photograph.shown is pixels and photograph.pixel(7, 9) == (7, 9)


def test_a_click_takes_the_smallest_region_and_then_the_ones_below() -> None:
    visit = judged((0, 0, 160, 90), (20, 20, 60, 60), (30, 30, 40, 40))
    chosen = []
    for _ in range(4):
        visit = visit.choose_at(17, 17)  # pixel (35, 35) of the photograph
        chosen.append(visit.chosen)
    assert chosen == [2, 1, 0, 2]
    assert visit.choose_at(79, 44).chosen == 0


def test_a_click_beside_every_region_says_so() -> None:
    visit = judged((0, 0, 20, 20))
    after = visit.choose_at(70, 40)
    assert after.chosen == visit.chosen and "no region at this place" in after.note


def test_names_are_unique_and_free_numbers_are_used() -> None:
    visit = judged((0, 0, 20, 20), (40, 40, 60, 60)).choose(0).renamed("  left eye ")
    assert visit.names == ("left eye", "region 2")
    assert visit.free_names(2) == ["region 1", "region 3"]
    with pytest.raises(RegionError, match="already"):
        visit.choose(1).renamed("LEFT EYE")
    assert visit.renamed("Left Eye").names[0] == "Left Eye"
    for bad in ("", "<b>", "a" * 41, "{{x}}"):
        with pytest.raises(RegionError, match="cannot name"):
            visit.renamed(bad)


def test_removing_leaves_the_others_and_chooses_the_next() -> None:
    visit = judged((0, 0, 20, 20), (40, 40, 60, 60), (80, 0, 90, 9)).choose(1).removed()
    assert visit.names == ("region 1", "region 3") and visit.chosen == 1
    visit = visit.removed().removed()
    assert visit.regions == () and visit.chosen is None
    with pytest.raises(RegionError, match="No region is chosen"):
        visit.removed()


def test_the_number_of_a_region_lies_inside_it() -> None:
    for region in judged((0, 0, 160, 90), (20, 20, 60, 60), (158, 88, 160, 90)).regions:
        x, y = region.anchor
        assert region.shown[y, x]


def test_without_a_photograph_events_say_so() -> None:
    with pytest.raises(RegionError, match="No photograph is open"):
        Visit().choose_at(1, 1)


def test_every_visitor_has_a_place_of_his_own() -> None:
    first = Visitor()
    first.act(lambda visit: visit.says("mine"))
    second = copy.deepcopy(first)
    assert first.visit.note == "mine" and second.visit.note != "mine"


def test_a_problem_changes_nothing_but_the_note() -> None:
    visitor = Visitor()
    visitor.act(lambda _: judged((0, 0, 20, 20)))
    after = visitor.act(lambda visit: visit.renamed("<b>"))
    assert after.problem and "cannot name" in after.note and after.names == ("region 1",)
    assert not visitor.act(lambda visit: visit.renamed("roof")).problem
