"""Folders of reports: everything is there, nothing comes from outside, names are escaped, nothing is drawn twice."""

from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image

from seagull_tune.errors import DataError
from seagull_tune.gallery.report import ReportFolder
from seagull_tune.infer.serialise import assessment_from_dict
from seagull_tune.regions.boxes import box_region
from tests.canned_answers import canned_answer

H, W = 40, 60
IMAGE = np.full((H, W, 3), 90, np.uint8)


class Page(HTMLParser):
    """Words, pictures, links and sort keys of a page; refuses tags that are not closed, and scripts from outside."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.keys: list[dict[str, str | None]] = []
        self.words = ""
        text = path.read_text(encoding="utf-8")
        assert re.search(r"https?:|url\(|@import", text) is None
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag not in ("link", "iframe", "b-evil") and "onerror" not in values and not (tag == "script" and attrs)
        if tag == "img":
            self.images.append(values)
        elif tag == "a":
            self.links.append(values["href"] or "")
        elif tag == "li" and "data-worst" in values:
            self.keys.append(values)
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def add(report: ReportFolder, path: Path, *qualities: float, text: str = "", abstain: bool = False) -> None:
    regions = [box_region((10 * at, 0, 10 * at + 10, 40), H, W, f"<r{at}>") for at in range(len(qualities))]
    answers = [canned_answer(r, q, text, abstain) for r, q in zip(regions, qualities, strict=True)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(IMAGE).save(path)
    report(path, answers, IMAGE)


def files_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_photograph_has_a_picture_a_page_and_its_answers(tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "report"
    report = ReportFolder(folder, [photos, tmp_path / "photos"])
    photos.mkdir()
    add(ReportFolder(folder, [photos]), photos / "a.png", 0.9, 0.2, text="It is <i>fine</i> & well.", abstain=True)
    assert report.name_of(photos / "b" / "c.png").endswith("b/c.png")
    assert files_of(folder) == ["a.png.html", "a.png.json", "a.png.png", "a.png.thumbnail.jpg"]
    assert Image.open(folder / "a.png.png").format == "PNG"
    facts = json.loads((folder / "a.png.json").read_text())
    assert facts["quality"] == {"worst": 0.2, "mean": pytest.approx(0.55)} and facts["size"] == [H, W]
    assert [line["quality"] for line in facts["answers"]] == pytest.approx([0.2, 0.9])
    page = Page(folder / "a.png.html")
    assert page.links == ["index.html"] and len(page.images) == 3 and all(image["alt"] for image in page.images)
    for words in (
        "0.20 poor", "quality 0.90", "importance 0.50", "obvious blur (0.80)", "It is <i>fine</i> & well.",
        "<r1>: 16.7%", "should not be relied on", "negligible",
    ):  # fmt: skip
        assert words in page.words, words
    assert page.words.index("0.20 poor") < page.words.index("0.90 excellent")


def test_the_index_leads_to_all_sorted_with_failures(tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "report"
    photos.mkdir()
    report = ReportFolder(folder, [photos])
    add(report, photos / "a.png", 0.5, 0.5)
    add(report, photos / "sub" / "a.png", 0.3, 0.9)
    evil = photos / 'x"><b-evil onerror=1>%41 ä#?.png'
    add(report, evil, 0.4, 0.4)
    assert report.finish({str(evil): "bad <script>alert(1)</script>"}) == folder / "index.html"
    index = Page(folder / "index.html")
    assert [key["data-worst"] for key in index.keys] == ["0.300000", "0.400000", "0.500000"]
    assert index.keys[0]["data-mean"] == "0.600000"
    for address in [*index.links, *(image["src"] or "" for image in index.images)]:
        assert (folder / os.fsdecode(unquote_to_bytes(address))).is_file(), address
    assert all("obvious blur" in (image["alt"] or "") for image in index.images)
    assert evil.name in index.words and "bad <script>alert(1)</script>" in index.words
    assert Page(folder / "sub" / "a.png.html").links == ["../index.html"]


def test_what_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "report"
    photos.mkdir()
    path = photos / "a.png"
    qualities = (1 / 3, 2 / 7, 1 / 3 + 1e-9, 0.9)
    add(ReportFolder(folder, [photos]), path, *qualities)
    times = {name: (folder / name).stat().st_mtime_ns for name in files_of(folder)}
    read_back = [assessment_from_dict(line) for line in json.loads((folder / "a.png.json").read_text())["answers"]]
    ReportFolder(folder, [photos])(path, read_back)
    add(ReportFolder(folder, [photos]), path, *qualities)
    assert {name: (folder / name).stat().st_mtime_ns for name in files_of(folder)} == times
    (folder / "a.png.png").unlink()
    add(ReportFolder(folder, [photos]), path, *qualities)
    assert (folder / "a.png.png").is_file()
    add(ReportFolder(folder, [photos]), path, 0.25)
    assert json.loads((folder / "a.png.json").read_text())["quality"]["worst"] == 0.25
    assert all((folder / name).stat().st_mtime_ns > time for name, time in times.items())


def test_a_photograph_of_an_earlier_run_is_read_again_if_it_can_be(tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "report"
    photos.mkdir()
    Image.fromarray(IMAGE).save(photos / "a.png")
    Image.fromarray(IMAGE[:9]).save(photos / "other-size.png")
    report = ReportFolder(folder, [photos])
    for name in ("a.png", "other-size.png", "gone.png"):
        report(photos / name, [canned_answer(box_region((0, 0, 9, 9), H, W), 0.5)])
    index = Page(report.finish({}))
    assert len(index.keys) == 1 and "60x9 pixels, but 60x40" in index.words and "gone.png: cannot open" in index.words


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "report"
    photos.mkdir()
    report = ReportFolder(folder, [photos])
    add(report, photos / os.fsdecode(b"new\nline \xff.png"), 0.5)
    index = Page(report.finish({}))
    assert index.links == ["new%0Aline%20%FF.png.html"] and "\\udcff.png" in index.words


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        add(ReportFolder(tmp_path / "file", [tmp_path / "photos"]), tmp_path / "photos" / "a.png", 0.5)
    with pytest.raises(DataError, match="cannot be written"):
        ReportFolder(tmp_path / "file", [tmp_path / "photos"]).finish({})


def test_reports_do_not_lie_among_the_photographs(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "deep" / "report"):
        with pytest.raises(DataError, match="would be judged next time"):
            ReportFolder(folder, [tmp_path])
    ReportFolder(tmp_path / "report", [tmp_path / "a.png"])


def test_nothing_judged_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = Page(ReportFolder(tmp_path / "report", [tmp_path / "photos"]).finish({"a.png": "a.png: broken"}))
    assert "0 photographs." in page.words and "a.png: broken" in page.words
