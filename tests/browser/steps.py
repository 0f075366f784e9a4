"""What a visitor does on the page, and what is read of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def upload(page: Any, file: Path) -> None:
    """Opens a photograph as the first one of a visit."""
    page.set_input_files("#upload input[type=file]", file)
    page.wait_for_selector("#photo img")


def click_photo(page: Any, x: float, y: float) -> None:
    """Clicks a place of the photograph, in shares of its width and height as it is drawn."""
    x0, y0, width, height = page.evaluate(
        """() => {
          const image = document.querySelector('#photo img'), box = image.getBoundingClientRect();
          const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
          const width = image.naturalWidth * scale, height = image.naturalHeight * scale;
          return [(box.width - width) / 2, (box.height - height) / 2, width, height];
        }"""
    )
    page.locator("#photo img").click(position={"x": x0 + x * width, "y": y0 + y * height})


def take(page: Any, group: str, label: str) -> None:
    """Takes one of the choices of a group."""
    page.locator(f"#{group} label", has_text=label).click()


def note_says(page: Any, text: str) -> None:
    page.locator("#note .note", has_text=text).wait_for()


def regions_are(page: Any, count: int) -> None:
    page.wait_for_function("n => document.querySelectorAll('#regions label').length === n", arg=count)


def downloaded(page: Any, button: str) -> tuple[str, bytes]:
    """Name and content of what a button saves."""
    with page.expect_download() as waiting:
        page.click(button)
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def results(page: Any) -> list[dict[str, Any]]:
    return list(json.loads(downloaded(page, "#keep-json")[1]))


def fits(page: Any) -> bool:
    """Whether nothing is wider than the window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
