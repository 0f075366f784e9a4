"""What the page does for a visitor, with a tiny real model and without a browser."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seagull_tune.config.regions import SamSettings
from seagull_tune.config.web import WebConfig
from seagull_tune.errors import DataError, RegionError
from seagull_tune.infer.chat import ChatSession
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode
from seagull_tune.segment.sam import SamSegmenter
from seagull_tune.web.desk import Desk, Line, Talk
from seagull_tune.web.state import Visit
from seagull_tune.web.views import messages_of
from seagull_tune.web.visitor import STOPPED, Visitor
from tests.tiny_sam import tiny_sam


def test_a_photograph_is_shown_shrunk_and_kept_whole(visit: Visit) -> None:
    assert visit.open.size == (320, 400) and visit.open.shown.shape == (205, 256, 3)
    assert "400 x 320" in visit.note and visit.open.name == "photo.png"


def test_a_rotated_phone_photograph_is_upright(desk: Desk, tmp_path: Path) -> None:
    pixels = np.zeros((60, 100, 3), np.uint8)
    pixels[:30, :50] = 255  # upper left as stored; upper right when it is turned by 90 degrees clockwise
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "phone.jpg", exif=exif, quality=95)
    visit = desk.open(tmp_path / "phone.jpg")
    assert visit.open.size == (100, 60)
    assert visit.open.pixels[10, 50].min() > 200 and visit.open.pixels[10, 10].max() < 50
    box = desk.click(desk.click(visit, "Box", 30, 0), "Box", 59, 49)
    assert box.regions[0].region.box_xyxy == (30, 0, 60, 50)
    assert box.open.pixels[decode(box.regions[0].region)].min() > 200


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("notes.txt", b"no picture", "not an image"),
        ("empty.jpg", b"", "empty"),
        ("cut.png", b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_a_wrong_file_is_named_without_its_place(
    desk: Desk, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        desk.open(tmp_path / name)
    assert str(caught.value).startswith(name) and str(tmp_path) not in str(caught.value)


def test_a_bomb_is_refused_on_its_header(desk: Desk, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="above the limit of 60,000,000"):
        desk.open(tmp_path / "bomb.png")


def test_of_an_animation_the_first_frame_is_judged(desk: Desk, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    visit = desk.open(tmp_path / "film.gif")
    assert visit.open.pixels[0, 0].tolist() == [255, 0, 0]


def test_a_file_that_is_gone_is_a_sentence(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png did not arrive"):
        desk.open(tmp_path / "gone.png")


def test_a_point_is_judged_where_it_was_clicked(desk: Desk, visit: Visit) -> None:
    after = desk.click(visit, "Point", 100, 60)
    x, y = visit.open.pixel(100, 60)
    assert decode(after.regions[0].region)[y, x] and after.chosen == 0
    alone = desk.assessor.assess(visit.open.pixels, [after.regions[0].region])[0]
    assert after.regions[0].assessment.scores.quality == pytest.approx(alone.scores.quality, abs=1e-4)
    again = desk.click(after, "Point", 101, 60)
    assert len(again.regions) == 1 and "judged before" in again.note


def test_two_corners_make_a_box_in_any_order(desk: Desk, visit: Visit) -> None:
    first = desk.click(visit, "Box", 128, 100)
    assert first.corner == visit.open.pixel(128, 100) and first.regions == () and "opposite" in first.note
    after = desk.click(first, "Box", 10, 20)
    (x0, y0), (x1, y1) = visit.open.pixel(10, 20), visit.open.pixel(128, 100)
    assert after.regions[0].region.box_xyxy == (x0, y0, x1 + 1, y1 + 1) and after.corner is None


def test_what_is_painted_is_judged_at_full_size(desk: Desk, visit: Visit) -> None:
    layer = np.zeros((*visit.open.shown.shape[:2], 4), np.uint8)
    with pytest.raises(RegionError, match="Nothing is painted"):
        desk.painted(visit, [layer])
    layer[:, :128, 3] = 180
    after = desk.painted(visit, [layer])
    assert after.regions[0].region.box_xyxy == (0, 0, 200, 320)


def test_all_regions_are_judged_at_once_and_only_once(desk: Desk, visit: Visit) -> None:
    after = desk.everything(visit)
    found = len(after.regions)
    assert found >= 2 and after.chosen == 0
    assert len(desk.everything(after).regions) == found


def test_typed_numbers_are_pixels_of_the_photograph(desk: Desk, visit: Visit) -> None:
    visit = desk.typed(visit, "10, 20, 200, 300")
    visit = desk.typed(visit, "10,20;150,40;120,140")
    visit = desk.typed(visit, "399,319")
    assert visit.regions[0].region.box_xyxy == (10, 20, 200, 300) and len(visit.regions) == 3
    for bad in ("400,0", "0,0,401,9", "ten", "", "1,2;3,4", "9" * 5000):
        with pytest.raises(RegionError):
            desk.typed(visit, bad)


def test_too_many_regions_are_refused(desk: Desk, visit: Visit) -> None:
    small = Desk(desk.assessor, desk.segmenter, WebConfig(max_regions=1))
    with pytest.raises(RegionError, match="allowed: 1"):
        small.everything(visit)


def test_text_comes_on_demand(desk: Desk, visit: Visit) -> None:
    visit = desk.typed(visit, "10,20,200,300")
    assert visit.regions[0].assessment.text == ""
    told = desk.describe(visit).regions[0].assessment
    assert told.scores == visit.regions[0].assessment.scores
    assert told.unparsable or told.text


def test_a_question_is_answered_piece_by_piece(desk: Desk, visit: Visit) -> None:
    visit = desk.typed(visit, "10,20,200,300")
    talks = list(desk.ask(visit, Talk(), "How is this region?"))
    assert talks[0].lines == (Line("How is this region?"),)
    answers = [talk.lines[-1].answer for talk in talks]
    assert answers[-1]  # where the model says nothing, the page says that
    assert all(later.startswith(earlier) for earlier, later in pairwise(answers))
    session = talks[-1].session
    assert session is not None and session.current == "region 1" and len(session.turns) == 2
    renamed = desk.click(visit.renamed("roof"), "Point", 5, 5)
    further = list(desk.ask(renamed, talks[-1], "And the roof?"))[-1]
    assert further.session is session and session.names == renamed.names and len(session.turns) == 4


def test_a_comparison_comes_with_its_numbers(desk: Desk, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of the cards; nothing is judged again."""
    visit = desk.typed(desk.typed(visit, "10,20,200,300"), "0,0,50,50").renamed("roof")
    monkeypatch.setattr(desk.assessor, "assess", None)
    *_, before, last = desk.ask(visit, Talk(), "Is the roof more important than region 1?")
    assert before.lines[-1].numbers is None
    numbers = last.lines[-1].numbers
    assert numbers is not None and (numbers.aspect, numbers.names) == ("importance", ("roof", "region 1"))
    assert numbers.assessments == (visit.regions[1].assessment, visit.regions[0].assessment)
    assert messages_of(last)[-1]["content"].endswith(f"</b> {numbers.text}.</p>")
    *_, alone = desk.ask(visit, last, "And the roof alone?")
    assert alone.lines[-1].numbers is None and alone.lines[0].numbers is numbers


def test_a_removed_region_ends_the_session(desk: Desk, visit: Visit) -> None:
    visit = desk.typed(desk.typed(visit, "10,20,200,300"), "0,0,50,50")
    talk = list(desk.ask(visit, Talk(), "How is region 2?"))[-1]
    after = list(desk.ask(visit.choose(0).removed(), talk, "How is region 2?"))[-1]
    assert after.session is not talk.session and after.session is not None and after.session.names == ("region 2",)


def test_a_bad_question_changes_nothing(desk: Desk, visit: Visit) -> None:
    visitor = Visitor()
    visitor.act(lambda _: visit)
    list(visitor.ask(desk, "How is it?"))
    before = visitor.talk
    for bad in ("  ", "a" * 100_000):
        with pytest.raises(DataError):
            list(visitor.ask(desk, bad))
        assert visitor.talk is before


def endless(session: ChatSession, question: str, region: None, on_text: Callable[[str], None], limit: int) -> str:
    """An answer without an end; the tiny model's own are often empty."""
    while True:
        on_text("word ")
        time.sleep(0.005)


def test_who_goes_away_stops_the_answer_and_nobody_else(
    desk: Desk, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChatSession, "ask", endless)
    visitor = Visitor()
    visitor.act(lambda _: visit)
    stream = visitor.ask(desk, "How is it?")
    assert [next(stream).lines[-1].answer for _ in range(3)] == ["", "word ", "word word "]
    stream.close()
    assert visitor.talk.lines == (Line("How is it?", "word word" + STOPPED),)
    assert desk.click(visit, "Point", 5, 5).regions  # the model is free again
    assert not [thread for thread in threading.enumerate() if thread.name == "answer" and thread.is_alive()]


def test_a_stopped_answer_stays_and_a_forgotten_one_does_not(
    desk: Desk, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChatSession, "ask", endless)
    visitor = Visitor()
    visitor.act(lambda _: visit)
    stream = visitor.ask(desk, "How is it?")
    next(stream), next(stream)
    visitor.stop()
    assert next(stream).lines == (Line("How is it?", "word" + STOPPED),) and list(stream) == []
    stream = visitor.ask(desk, "And now?")
    next(stream), next(stream)
    visitor.forget_talk()
    assert [talk.lines for talk in stream] == [()] and visitor.talk.lines == ()


def test_two_visitors_at_once_get_their_own_answers(desk: Desk, visit: Visit) -> None:
    boxes = ["10,20,200,300", "0,0,50,50", "300,200,400,320", "100,100,180,160"]
    found: dict[str, Visit] = {}
    threads = [threading.Thread(target=lambda b=b: found.update({b: desk.typed(visit, b)})) for b in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for box in boxes:
        region = box_region([int(n) for n in box.split(",")], 320, 400)
        alone = desk.assessor.assess(visit.open.pixels, [region])[0].scores.quality
        assert found[box].regions[0].assessment.scores.quality == pytest.approx(alone, abs=1e-4)


def test_bytes_of_a_photograph_need_no_suffix(desk: Desk, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "green").save(buffer, "PNG")
    (tmp_path / "blob").write_bytes(buffer.getvalue())
    assert desk.open(tmp_path / "blob").open.size == (32, 32)


@pytest.fixture(scope="module")
def sam_desk(desk: Desk) -> Desk:
    """A desk whose regions come from SAM, of random weights and open thresholds."""
    settings = SamSettings(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    return Desk(desk.assessor, SamSegmenter(settings, 0.0, 4, model=tiny_sam()), desk.config)


def test_sam_finds_what_is_clicked_and_all_regions(sam_desk: Desk, photo: Path) -> None:
    visit = sam_desk.open(photo)
    clicked = sam_desk.click(visit, "Point", 100, 80)
    expected = sam_desk.segmenter.at_point(visit.open.pixels, *visit.open.pixel(100, 80))
    assert clicked.regions[0].region.counts == expected.counts
    assert "before" in sam_desk.click(clicked, "Point", 100, 80).note
    found = sam_desk.everything(visit)
    assert 1 <= len(found.regions) <= 4 and not found.problem
    box = sam_desk.click(sam_desk.click(visit, "Box", 0, 0), "Box", 99, 79).regions[0].region
    assert box.area == (box.box_xyxy[2] - box.box_xyxy[0]) * (box.box_xyxy[3] - box.box_xyxy[1]), "boxes stay boxes"


def test_where_sam_finds_nothing_the_page_says_what_to_do(sam_desk: Desk, photo: Path) -> None:
    strict = SamSegmenter(SamSettings(points_per_side=2, pred_iou_thresh=1.0), 0.9, 4, model=tiny_sam())
    visitor = Visitor()
    visitor.act(lambda _: sam_desk.open(photo))
    visit = visitor.act(Desk(sam_desk.assessor, strict, sam_desk.config).everything)
    assert visit.problem and "SAM found" in visit.note and visit.regions == ()
