"""Folders of photographs: what is found, what fails, what a killed run leaves and the next one takes over."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seagull_tune.config.answer import AnswerConfig
from seagull_tune.errors import DataError
from seagull_tune.infer.folder import find_photographs, made_with
from seagull_tune.regions.parse import RegionQuery
from tests.canned_answers import BOXES, run_over
from tests.tiny_builds import ROOT, wait_for


def photograph(path: Path, red: int = 100) -> Path:
    """A photograph of 20x16 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 20, 3), (red, 0, 0), np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six photographs, in folders of folders; two of one name, names with blanks and umlauts."""
    for at, name in enumerate(("b.png", "a.png", "deep/a.png", "deep/er/ä ö.png", "with blank.png", "z.png")):
        photograph(tmp_path / "photos" / name, 40 * at)
    return tmp_path / "photos"


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_folders_are_searched_sorted_and_nothing_comes_twice(photos: Path) -> None:
    (photos / "notes.txt").write_text("x")
    photograph(photos / ".hidden" / "a.png")
    photograph(photos / "maps" / "a.png")
    found = find_photographs([photos / "z.png", photos, photos / "deep"], without=[photos / "maps"])
    names = [path.relative_to(photos).as_posix() for path in found]
    assert names == ["z.png", "a.png", "b.png", "deep/a.png", "deep/er/ä ö.png", "with blank.png"]


def test_folders_without_photographs_are_all_named(photos: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"one, .*two\. Allowed: files that end in \.jpg"):
        find_photographs([tmp_path / "one", photos, tmp_path / "two"])


def test_lines_are_in_the_order_of_the_photographs_with_a_summary(photos: Path, tmp_path: Path) -> None:
    outcome = run_over([photos], tmp_path / "r.jsonl")
    lines = lines_of(tmp_path / "r.jsonl")
    assert [line["image"] for line in lines[::2]] == outcome.photographs == [str(p) for p in find_photographs([photos])]
    assert lines[2]["quality"] == 0.0 and lines[4]["quality"] == pytest.approx(80 / 255, abs=1e-6)
    summary = json.loads((tmp_path / "r.jsonl.summary.json").read_text())
    assert (summary["photographs"], summary["judged"], summary["kept"], summary["failed"]) == (6, 6, 0, [])
    assert summary["regions"] == 12 and summary["made_with"]["model_id"] == "canned@0"
    assert sorted(os.listdir(tmp_path)) == ["photos", "r.jsonl", "r.jsonl.summary.json"]


def test_failures_in_the_middle_are_told_with_their_reason_and_tried_again(photos: Path, tmp_path: Path) -> None:
    (photos / "c.jpg").write_bytes(b"no image")
    photograph(photos / "small.png").write_bytes(b"")
    said: list[str] = []
    outcome = run_over([photos], tmp_path / "r.jsonl", said=said)
    assert len(outcome.judged) == 6 and len(said) == 2 and "c.jpg" in said[0] and "is empty" in said[1]
    failed = json.loads((tmp_path / "r.jsonl.summary.json").read_text())["failed"]
    assert failed[0] == {"image": str(photos / "c.jpg"), "reason": said[0]}
    photograph(photos / "c.jpg")
    outcome = run_over([photos], tmp_path / "r.jsonl")
    assert outcome.judged == [str(photos / "c.jpg")] and len(outcome.kept) == 6 and len(outcome.failed) == 1
    images = [line["image"] for line in lines_of(tmp_path / "r.jsonl")][::2]
    assert images == sorted(images) and str(photos / "c.jpg") in images


def test_a_second_run_judges_what_is_new_or_changed_alone(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    run_over([photos], out)
    before = out.read_bytes()
    assert run_over([photos], out).judged == [] and out.read_bytes() == before
    changed, new = photos / "b.png", photos / "deep" / "new.png"
    written = out.stat().st_mtime_ns
    for path in (changed, new):
        os.utime(photograph(path, 255), ns=(written + 10**9, written + 10**9))
    (photos / "z.png").unlink()
    outcome = run_over([photos], out)
    assert outcome.judged == [str(changed), str(new)]
    lines = lines_of(out)
    assert [line["quality"] for line in lines if line["image"] == str(changed)] == [1.0, 1.0]
    assert not any("z.png" in line["image"] for line in lines)


def test_a_photograph_that_an_older_one_replaced_is_judged_again(photos: Path, tmp_path: Path) -> None:
    older = photograph(tmp_path / "older.png", 200)
    os.utime(older, ns=(10**9, 10**9))
    run_over([photos], out := tmp_path / "r.jsonl")
    time.sleep(0.05)  # times of files are kept in steps of some milliseconds
    older.replace(photos / "a.png")
    assert run_over([photos], out).judged == [str(photos / "a.png")]


def test_answers_of_other_settings_are_not_mixed(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    run_over([photos], out)
    before = out.read_bytes()
    with pytest.raises(DataError, match=r"text was False, is True.*--out"):
        run_over([photos], out, config=AnswerConfig(text=True))
    with pytest.raises(DataError, match="regions was"):
        run_over([photos], out, query=RegionQuery(boxes=("0,0,9,9",)))
    with pytest.raises(DataError, match="photographs was"):
        run_over([photos / "deep"], out)
    run_over([photos], out, config=AnswerConfig(device="cpu", chunk=3))
    assert out.read_bytes() == before
    run_over([photos / "a.png"], out, resume=False)  # files alone begin anew, as they always did
    assert len(lines_of(out)) == 2


def test_region_files_that_changed_are_other_settings(photos: Path, tmp_path: Path) -> None:
    mask = photograph(tmp_path / "mask.png")
    query = RegionQuery(masks=(mask,), seagull_json=photograph(tmp_path / "x.json.png"), region_dir=photos)
    first = made_with(AnswerConfig(), "m", query, [photos])
    assert json.loads(json.dumps(first)) == first
    photograph(mask, 7)
    assert made_with(AnswerConfig(), "m", query, [photos])["region_files"] != first["region_files"]


def test_a_file_of_unknown_origin_is_not_touched(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    out.write_text("mine\n")
    with pytest.raises(DataError, match=r"no r\.jsonl\.summary\.json beside it"):
        run_over([photos], out)
    out.rename(tmp_path / "r.jsonl.unfinished")
    with pytest.raises(DataError, match="not what an interrupted run leaves"):
        run_over([photos], out)
    assert (tmp_path / "r.jsonl.unfinished").read_text() == "mine\n" and not out.exists()


def test_a_killed_run_goes_on(photos: Path, tmp_path: Path) -> None:
    run_over([photos], tmp_path / "whole.csv")
    out, unfinished = tmp_path / "killed.csv", tmp_path / "killed.csv.jsonl.unfinished"
    command = [sys.executable, "-m", "tests.canned_answers", str(photos), str(out), "0.3"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert wait_for(lambda: unfinished.is_file() and unfinished.read_bytes().count(b"\n\n") >= 2)
        with pytest.raises(DataError, match="written by another process"):
            run_over([photos], out)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not out.exists()
    done = unfinished.read_bytes().count(b"\n\n")
    with unfinished.open("ab") as file:  # half a line, as a kill in the middle of writing leaves it
        file.write(b'{"image": "' + os.fsencode(photos / "z.png"))
    outcome = run_over([photos], out)
    assert len(outcome.kept) == done and len(outcome.judged) == 6 - done
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not unfinished.exists()


@pytest.mark.parametrize(
    "tail", ["", "\x00\x00\x00", '{"image": 3}\n', "[1]\n\n", '{"image": "other"}\n{"image": "b"}\n']
)
def test_what_is_behind_the_last_whole_photograph_is_cut_off(photos: Path, tmp_path: Path, tail: str) -> None:
    out = tmp_path / "r.jsonl"
    run_over([photos], out)
    lines = out.read_text(encoding="utf-8").splitlines(keepends=True)
    made = json.loads((tmp_path / "r.jsonl.summary.json").read_text())["made_with"]
    header = json.dumps({"made_with": made}) + "\n"
    unfinished = tmp_path / "r.jsonl.unfinished"
    for text, kept in (("", 0), (header[:20], 0), (header, 0), (header + "".join([*lines[:2], "\n", lines[2]]), 1)):
        out.unlink(missing_ok=True)
        unfinished.write_text(text + (tail if kept else ""), encoding="utf-8")
        assert len(run_over([photos], out).kept) == kept
        assert out.read_text(encoding="utf-8").splitlines(keepends=True) == lines


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/photos/new\nline \xff.png")
    photograph(tmp_path / "photos" / "a.png").rename(odd)
    for name in ("r.jsonl", "r.csv", "r.parquet"):
        assert run_over([tmp_path / "photos"], tmp_path / name).judged == [odd]
        assert run_over([tmp_path / "photos"], tmp_path / name).kept == [odd]
    assert lines_of(tmp_path / "r.jsonl")[0]["image"] == odd
    assert "new\nline \\udcff.png" in (tmp_path / "r.csv").read_text(encoding="utf-8")


def test_an_output_that_cannot_be_written(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        run_over([photos], tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        run_over([photos], tmp_path / "file" / "r.jsonl")
    assert BOXES.boxes and sorted(os.listdir(tmp_path)) == ["file", "photos"]


def test_a_full_disk_is_said_and_the_next_run_goes_on(photos: Path, tmp_path: Path) -> None:
    run_over([photos], tmp_path / "whole.csv")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))  # as a disk that is full: less than all lines take
    try:
        with pytest.raises(DataError, match=r"cannot be written.*so far is in .*r\.csv\.jsonl\.unfinished"):
            run_over([photos], tmp_path / "r.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    outcome = run_over([photos], tmp_path / "r.csv")
    assert outcome.kept and outcome.judged
    assert (tmp_path / "r.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_an_empty_row_in_a_finished_file_is_named(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    run_over([photos], out)
    out.write_text(out.read_text(encoding="utf-8") + "{}\n", encoding="utf-8")
    with pytest.raises(DataError, match="row 13"):
        run_over([photos], out)
