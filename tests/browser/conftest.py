"""The page, served with a tiny model, in the system's own Chromium; screenshots as an output of the tests.

Set ``SEAGULL_TUNE_SCREENSHOTS`` to a folder to keep the screenshots.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from seagull_tune.config.regions import SamSettings
from seagull_tune.config.web import WebConfig
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.segment import Segmenter, build_segmenter
from seagull_tune.segment.sam import SamSegmenter
from tests.browser import browser_probe
from tests.tiny import make_tiny_model
from tests.tiny_sam import tiny_sam
from tests.tiny_scorer import SPEC, make_tiny_scorer

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE = 30_000
"""Milliseconds that a step may take on a busy machine."""
PROBE_SECONDS = 90
"""A browser that shows nothing after this time does not work."""


def _browser_that_works(path: str) -> None:
    """Skips with a reason unless the browser opens a page."""
    # A session of its own, so that nothing of it stays when it has to be ended.
    probe = subprocess.Popen(
        [sys.executable, str(Path(browser_probe.__file__)), path], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        said, wrong = probe.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(probe.pid, signal.SIGKILL)
        pytest.skip(f"{path} opens no page here: nothing happened in {PROBE_SECONDS} s")
    if "works" not in said:
        lines = wrong.strip().splitlines() or ["no reason given"]
        pytest.skip(f"{path} opens no page here: {lines[-1]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A page that no longer answers may take two minutes of a test, not ten."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="module")  # while it is there, its event loop occupies this process
def browser() -> Iterator[Any]:
    """A headless Chromium, or the reason why there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    _browser_that_works(path)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=browser_probe.ARGUMENTS)
        yield chromium
        chromium.close()


@contextmanager
def served(segmenter: Segmenter, scored: bool) -> Iterator[str]:
    """The page with a tiny model, on a free port."""
    pytest.importorskip("gradio", reason="gradio is not installed (extra web)")
    from seagull_tune.web.desk import Desk
    from seagull_tune.web.server import serving

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = WebConfig(port=port, max_new_tokens=16, max_pixels=4_000_000, max_upload_mb=8)
    assessor = RegionAssessor(*make_tiny_model(), name="tiny@0")
    scorer = None
    if scored:
        picture = np.ascontiguousarray(skimage.data.astronaut()[:170, :255])
        spec = SPEC.model_copy(update={"semantics": "numbers"})
        scorer = make_tiny_scorer(spec, [picture, picture[:100]], assessor=assessor)
    with serving(Desk(assessor, segmenter, config, scorer), config) as page:
        yield page.url


@pytest.fixture(scope="session")
def page_url() -> Iterator[str]:
    """The page with a scorer of whole photographs."""
    with served(build_segmenter("graph"), scored=True) as url:
        yield url


@pytest.fixture(scope="module")
def sam_url() -> Iterator[str]:
    """The page with SAM, of random weights and open thresholds, and without a scorer."""
    settings = SamSettings(points_per_side=3, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    with served(SamSegmenter(settings, 0.0, 4, model=tiny_sam()), scored=False) as url:
        yield url


@pytest.fixture
def open_page(browser: Any, page_url: str) -> Iterator[Callable[..., Any]]:
    """Opens a page as a new visitor: ``open_page(PHONE)``. Nothing may be fetched from anywhere else."""
    contexts, foreign, errors, ours = [], [], [], ["data:", "blob:"]

    def call(viewport: dict[str, int] | None = None, url: str = page_url) -> Any:
        ours.append(url)
        context = browser.new_context(viewport=viewport or DESKTOP, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: foreign.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#upload")
        return page

    yield call
    for context in contexts:
        context.close()
    assert [url for url in foreign if not url.startswith(tuple(ours))] == []
    assert errors == []


@pytest.fixture
def shoot(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Takes a screenshot of the whole page: ``shoot(page, "card")``."""
    kept = os.environ.get("SEAGULL_TUNE_SCREENSHOTS")
    folder = Path(kept) if kept else tmp_path / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)

    def call(page: Any, name: str) -> Path:
        path = folder / f"{name}.png"
        page.wait_for_timeout(500)  # what fades in is there
        page.screenshot(path=path, full_page=True)
        return path

    return call


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of 1500x1000 pixels, larger than it is shown."""
    path = tmp_path_factory.mktemp("photos") / "holiday.jpg"
    picture = Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[:340, :510]))
    picture.resize((1500, 1000), Image.Resampling.BICUBIC).save(path, quality=95)
    return path
