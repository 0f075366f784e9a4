"""The page as a visitor meets it: pointer, keyboard, telephone, wrong files, a closed tab."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seagull_tune.infer.chat import ChatSession
from tests.browser.conftest import PATIENCE, PHONE
from tests.browser.steps import click_photo, downloaded, fits, note_says, results, take, upload

pytestmark = pytest.mark.browser

PLACES = (
    "another", "tool", "everything", "by", "numbers", "regions", "describe", "name", "remove", "keep-json", "question",
    "send",
)  # fmt: skip
"""Where Tab leads, in this order."""

_PLACE = "places => places.find(id => document.getElementById(id)?.contains(document.activeElement)) ?? ''"


def test_a_first_visit(open_page: Callable, photo: Path, shoot: Callable) -> None:
    """Upload, a click, the card, a name, text, downloads."""
    page = open_page()
    shoot(page, "1-empty")
    upload(page, photo)
    note_says(page, "holiday.jpg: 1500 x 1000 pixels")
    shoot(page, "2-opened")
    click_photo(page, 0.45, 0.3)
    page.wait_for_selector(".card")
    note_says(page, "region 1 is judged")
    assert page.locator(".card .bar").count() == 5 + 5 + 8
    shoot(page, "3-card")
    page.fill("#name textarea, #name input", "left eye")
    page.click("#rename")
    page.locator(".card h3", has_text="left eye").wait_for()
    page.click("#describe")
    note_says(page, "described")
    (found,) = results(page)
    x0, y0, x1, y1 = found["region"]["box_xyxy"]
    assert found["region"]["name"] == "left eye" and found["region"]["rle"]["size"] == [1000, 1500]
    assert x0 <= 0.45 * 1500 <= x1 and y0 <= 0.3 * 1000 <= y1
    name, png = downloaded(page, "#keep-png")
    assert name == "holiday.quality.png" and Image.open(io.BytesIO(png)).size[0] == 1024
    page.click("#remove")
    page.wait_for_selector(".empty")
    assert fits(page)


def test_a_box_is_where_its_corners_were_clicked(open_page: Callable, photo: Path, shoot: Callable) -> None:
    page = open_page()
    upload(page, photo)
    take(page, "tool", "Box")
    note_says(page, "opposite corner")
    click_photo(page, 0.2, 0.3)
    note_says(page, "Now click the opposite corner")
    shoot(page, "4-corner")
    click_photo(page, 0.6, 0.8)
    page.wait_for_selector(".card")
    shoot(page, "5-box")
    box = results(page)[0]["region"]["box_xyxy"]
    # The photograph is drawn at about 750 of its 1500 pixels: a click is exact to some of them.
    assert np.abs(np.array(box) - [300, 300, 900, 800]).max() <= 6, box


def test_all_regions_and_their_cards(open_page: Callable, photo: Path, shoot: Callable) -> None:
    page = open_page()
    upload(page, photo)
    page.click("#everything")
    note_says(page, "regions are judged")
    count = page.locator("#regions label").count()
    assert count >= 3
    shoot(page, "6-all")
    first = page.locator(".card h3").inner_text()
    page.locator("#regions label").nth(count - 1).click()
    page.wait_for_function("old => document.querySelector('.card h3').innerText !== old", arg=first)
    assert page.locator(".card h3").inner_text().startswith(f"region {count}")
    picture = page.locator("#photo img").get_attribute("src")
    take(page, "by", "Importance")
    page.wait_for_function("old => document.querySelector('#photo img').src !== old", arg=picture)
    page.locator("#legend", has_text="critical").wait_for()
    shoot(page, "7-importance")
    assert len(results(page)) == count


def test_painting_a_region(open_page: Callable, photo: Path, shoot: Callable) -> None:
    page = open_page()
    upload(page, photo)
    take(page, "tool", "Paint")
    canvas = page.locator("#easel canvas").first
    canvas.wait_for()
    page.wait_for_timeout(1500)  # the editor draws its background after it appeared
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"], steps=12)
    page.mouse.up()
    page.wait_for_timeout(500)
    shoot(page, "8-painting")
    page.click("#judge-painted")
    page.wait_for_selector(".card")
    shoot(page, "9-painted")
    (found,) = results(page)
    x0, y0, x1, y1 = found["region"]["box_xyxy"]
    assert found["region"]["rle"]["size"] == [1000, 1500]
    assert x0 < 750 < x1 and y0 < 500 < y1 and 200 < x1 - x0 < 800 and y1 - y0 < 400


def test_a_conversation(open_page: Callable, photo: Path, shoot: Callable) -> None:
    page = open_page()
    upload(page, photo)
    click_photo(page, 0.45, 0.3)
    page.wait_for_selector(".card")
    page.fill("#question textarea", "How is <b>region 1</b>?")
    page.press("#question textarea", "Enter")
    page.locator("#chat .message.user, #chat .user", has_text="How is <b>region 1</b>?").first.wait_for()
    page.wait_for_function("() => document.querySelectorAll('#chat .bot').length > 0")
    page.wait_for_function("() => !document.querySelector('#chat').innerText.includes('…')")
    shoot(page, "10-chat")
    page.click("#everything")
    note_says(page, "regions are judged")
    page.fill("#question textarea", "Is region 1 sharper than region 2?")
    page.press("#question textarea", "Enter")
    page.locator("#chat .numbers", has_text="In numbers").wait_for()
    assert not page.locator("#kept").is_visible()
    shoot(page, "10-numbers")
    page.click("#restart")
    page.wait_for_function("() => document.querySelectorAll('#chat .bot').length === 0")
    page.click("#send")
    page.locator("text=The question is empty").first.wait_for()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("notes.txt", b"no picture at all", "not an image"),
        ("<b>{{x}}.png", b"\x89PNG\r\n\x1a\n....", "damaged"),
        ("bomb.png", None, "above the limit"),
    ],
)
def test_a_wrong_file(
    open_page: Callable, photo: Path, tmp_path: Path, shoot: Callable, name: str, content: bytes | None, says: str
) -> None:
    """What is wrong is said in a sentence, and the next photograph opens."""
    file = tmp_path / name
    if content is None:
        Image.new("1", (3000, 3000)).save(file)
    else:
        file.write_bytes(content)
    page = open_page()
    page.set_input_files("#upload input[type=file]", file)
    note_says(page, says)
    assert "Traceback" not in page.content() and "/tmp" not in page.locator("#note").inner_text()
    shoot(page, f"11-wrong-{file.suffix[1:]}")
    upload(page, photo)
    note_says(page, "1500 x 1000")


def test_on_a_telephone(open_page: Callable, photo: Path, shoot: Callable) -> None:
    page = open_page(PHONE)
    shoot(page, "12-phone-empty")
    upload(page, photo)
    page.click("#everything")
    note_says(page, "regions are judged")
    page.wait_for_selector(".card")
    shoot(page, "13-phone")
    assert fits(page)
    before = page.locator(".card h3").inner_text()
    click_photo(page, 0.95, 0.95)
    page.wait_for_function("old => document.querySelector('.card h3').innerText !== old", arg=before)


def test_by_keyboard_alone(open_page: Callable, photo: Path) -> None:
    """Everything is reached by Tab in the order of the page, and a region is added by typing its numbers."""
    page = open_page()
    upload(page, photo)
    page.click("text=Add a region by numbers")
    page.fill("#numbers textarea, #numbers input", "300,300,900,800")
    page.press("#numbers textarea, #numbers input", "Enter")
    page.wait_for_selector(".card")
    page.evaluate("window.scrollTo(0, 0)")
    page.mouse.click(5, 5)  # Tab goes on from where the last click was
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(_PLACE, PLACES))
    at = [seen.index(place) if place in seen else -1 for place in PLACES]
    assert -1 not in at and at == sorted(at), dict(zip(PLACES, at, strict=True))
    page.locator("#tool input").nth(2).focus()
    page.keyboard.press("Space")
    note_says(page, "opposite corner")


def test_two_visitors_see_their_own(open_page: Callable, photo: Path) -> None:
    first, second = open_page(), open_page()
    upload(first, photo)
    click_photo(first, 0.45, 0.3)
    first.wait_for_selector(".card")
    assert second.locator(".card").count() == 0 and second.locator("#photo img").count() == 0
    upload(second, photo)
    second.click("#everything")
    note_says(second, "regions are judged")
    assert first.locator("#regions label").count() == 1


def endless(session: ChatSession, question: str, region: None, on_text: Callable[[str], None], limit: int) -> str:
    """An answer that ends only when somebody stops it."""
    while True:
        on_text("word ")
        time.sleep(0.05)


def answers_end() -> bool:
    """Whether no answer is written any more, after a while at most."""
    until = time.monotonic() + PATIENCE / 1000
    while any(thread.name == "answer" for thread in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(thread.name == "answer" for thread in threading.enumerate())


def test_an_answer_is_stopped_by_its_button_and_by_a_closed_tab(
    open_page: Callable, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model stops writing, and the page goes on for the others."""
    monkeypatch.setattr(ChatSession, "ask", endless)
    gone, stays = open_page(), open_page()
    upload(gone, photo)
    gone.fill("#question textarea", "How good is this photograph?")
    gone.press("#question textarea", "Enter")
    gone.locator("#chat .bot", has_text="word word").first.wait_for()
    gone.click("#stop")
    gone.locator("#chat .bot", has_text="(stopped)").first.wait_for()
    assert answers_end()
    gone.fill("#question textarea", "And now?")
    gone.press("#question textarea", "Enter")
    gone.locator("#chat .bot", has_text="word word").nth(1).wait_for()
    gone.close()
    assert answers_end()
    upload(stays, photo)
    click_photo(stays, 0.45, 0.3)
    stays.wait_for_selector(".card")
