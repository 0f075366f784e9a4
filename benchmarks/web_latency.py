"""How long a visitor of the web page waits: for the page, for a photograph, for the numbers after a click.

    python benchmarks/web_latency.py --model runs/bench-roi/model [--photo photo.jpg]

A real checkpoint, a real browser (the system's Chromium, headless), this machine. The page is opened ``--repeats``
times, each time by a new visitor with an empty cache; medians are printed, and the worst. Targets: first paint within
2 s of a model that is loaded, numbers within 3 s of a click.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TARGETS = {"first paint": 2.0, "numbers after a click": 3.0}
_PLACES = ((0.3, 0.3), (0.7, 0.7), (0.5, 0.9), (0.1, 0.5), (0.9, 0.2))
"""Where is clicked, in shares of the photograph; each is another region for most photographs."""


def main() -> None:
    """Measures and prints a table."""
    options = _options()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise SystemExit(f"No browser: none of {', '.join(BROWSERS)} is on the path.")
    from playwright.sync_api import sync_playwright

    from seagull_tune.config.web import WebConfig
    from seagull_tune.infer.assessor import RegionAssessor
    from seagull_tune.segment import build_segmenter
    from seagull_tune.web.desk import Desk
    from seagull_tune.web.server import serving

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        config = WebConfig(model=str(options.model), port=probe.getsockname()[1])
    desk = Desk(RegionAssessor.from_pretrained(options.model), build_segmenter("graph"), config)
    with tempfile.TemporaryDirectory() as folder, serving(desk, config) as page, sync_playwright() as driver:
        photo = options.photo or _default_photo(Path(folder))
        chromium = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        rounds = [_visit(chromium, page.url, photo) for _ in range(options.repeats + 1)]
        chromium.close()
    _print(rounds[1:], options.model)  # the first round warms the model and the file system up


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Waiting times of the web page.")
    parser.add_argument("--model", type=Path, default=Path("runs/quickstart/model"), help="checkpoint")
    parser.add_argument("--photo", type=Path, help="photograph [default: a built-in one at 12 megapixels]")
    parser.add_argument("--repeats", type=int, default=5, help="visits that are measured")
    return parser.parse_args()


def _default_photo(folder: Path) -> Path:
    """A photograph of the size that telephones take, 4000x3000."""
    picture = Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[:384, :512]))
    picture.resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / "photo.jpg", quality=92)
    return folder / "photo.jpg"


def _visit(chromium: Any, url: str, photo: Path) -> dict[str, list[float]]:
    """Waiting times of one visitor, in seconds."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    times: dict[str, list[float]] = {}

    def timed(what: str, begin: Callable[[], object], end: Callable[[], object]) -> None:
        started = time.perf_counter()
        begin()
        end()
        times.setdefault(what, []).append(time.perf_counter() - started)

    timed("first paint", lambda: page.goto(url, wait_until="commit"), lambda: page.wait_for_selector("#upload"))
    timed(
        "photograph shown", lambda: page.set_input_files("#upload input[type=file]", photo),
        lambda: page.wait_for_selector("#photo img"),
    )  # fmt: skip
    box = page.locator("#photo img").bounding_box()
    for x, y in _PLACES:
        # The sentence, not the component around it: that one changes as soon as the page begins to wait.
        note = page.locator("#note .note").inner_text()
        timed(
            "numbers after a click",
            lambda x=x, y=y: page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"]),  # type: ignore[misc]
            lambda note=note: page.wait_for_function(  # type: ignore[misc]
                "said => document.querySelector('#note .note').innerText !== said", arg=note
            ),
        )
    timed(
        "all regions", lambda: page.click("#everything"),
        lambda: page.locator("#note", has_text="regions are judged").wait_for(),
    )  # fmt: skip
    context.close()
    return times


def _print(rounds: list[dict[str, list[float]]], model: Path) -> None:
    print(f"\n{model}, {len(rounds)} visits\n")
    print(f"| {'what':<22} | median s | worst s | target s |")
    print(f"|{'-' * 24}|---------:|--------:|---------:|")
    for what in rounds[0]:
        values = [value for times in rounds for value in times[what]]
        target = f"{TARGETS[what]:.0f}" if what in TARGETS else ""
        print(f"| {what:<22} | {statistics.median(values):8.2f} | {max(values):7.2f} | {target:>8} |")


if __name__ == "__main__":
    main()
