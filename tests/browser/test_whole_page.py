"""The whole photograph as a visitor meets it, and the page with SAM in place of the graph segmenter."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.conftest import PHONE
from tests.browser.steps import click_photo, downloaded, fits, note_says, take, upload

pytestmark = pytest.mark.browser


def test_the_score_and_the_regions_that_made_it(open_page: Callable, photo: Path, shoot: Callable) -> None:
    """Score, map, qualities, downloads; another photograph is another score."""
    page = open_page()
    upload(page, photo)
    page.get_by_role("tab", name="Whole image").click()
    shoot(page, "14-whole-empty")
    page.click("#score")
    note_says(page, "holiday.jpg is scored")
    page.locator(".whole .worst li").first.wait_for()
    page.locator("#whole-legend", has_text="counts most").wait_for()
    shoot(page, "15-whole")
    seen = page.locator("#whole-photo img").get_attribute("src")
    take(page, "whole-view", "Regions by quality")
    page.wait_for_function("old => document.querySelector('#whole-photo img').src !== old", arg=seen)
    page.locator("#whole-legend", has_text="excellent").wait_for()
    shoot(page, "16-whole-quality")
    name, text = downloaded(page, "#whole-json")
    found = json.loads(text)
    total = found["bias"] + sum(region["contribution"] for region in found["regions"])
    assert name == "holiday.score.json" and abs(total - found["score"]) < 1e-5
    assert page.locator(".contributions tbody tr").count() == len(found["regions"]) + 2
    assert f"{found['score']:.3g}" in page.locator(".whole .score").inner_text()
    assert Image.open(io.BytesIO(downloaded(page, "#whole-png")[1])).size[0] > 1000
    assert b"<h1>holiday.jpg</h1>" in downloaded(page, "#whole-page")[1]
    assert fits(page)
    with page.expect_file_chooser() as chooser:
        page.click("#another")
    chooser.value.set_files(photo)
    page.locator(".whole").wait_for(state="detached")
    assert page.locator("#score").is_visible() and not page.locator("#scored").is_visible()


def test_on_a_telephone_by_keyboard(open_page: Callable, photo: Path, shoot: Callable) -> None:
    page = open_page(PHONE)
    upload(page, photo)
    page.get_by_role("tab", name="Whole image").focus()
    page.keyboard.press("Enter")
    page.locator("#score").wait_for()
    page.locator("#score").focus()
    page.keyboard.press("Enter")
    page.locator(".whole .worst li").first.wait_for()
    page.locator("#whole-view input").nth(1).focus()
    page.keyboard.press("Space")
    page.locator("#whole-legend", has_text="excellent").wait_for()
    shoot(page, "17-phone-whole")
    assert fits(page)


def test_with_sam_and_without_a_scorer(open_page: Callable, sam_url: str, photo: Path, shoot: Callable) -> None:
    page = open_page(url=sam_url)
    upload(page, photo)
    click_photo(page, 0.45, 0.3)
    page.wait_for_selector(".card")
    page.click("#everything")
    page.locator("#regions label").nth(1).wait_for()
    shoot(page, "18-sam")
    page.get_by_role("tab", name="Whole image").click()
    page.locator("#no-scorer", has_text="--scorer runs/rsa/model").wait_for()
    shoot(page, "19-no-scorer")
