"""`assess`, `ask` and `chat` with a tiny real model: every region option, bad input, nothing lost."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seagull_tune.cli.app import DONE_IN_PART
from seagull_tune.cli.repl import Repl
from seagull_tune.config.answer import AnswerConfig
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.chat import ChatSession
from seagull_tune.regions.masks import encode
from seagull_tune.segment import build_segmenter


@pytest.fixture
def assess(run: Callable, tiny_model: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs `assess` with the tiny model and returns its lines."""

    def call(*arguments: object) -> list[dict[str, Any]]:
        result = run("assess", *arguments, "--model", tiny_model)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    return call


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """A mask of the photograph's size, 40x50 pixels inside."""
    inside = np.zeros((160, 200), np.uint8)
    inside[30:80, 20:60] = 255
    Image.fromarray(inside).save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def test_a_line_per_region_in_order(assess: Callable, photo: Path) -> None:
    lines = assess(photo, "--box", "10,20,60,90", "--box", "0,0,200,160")
    assert [line["region"]["box_xyxy"] for line in lines] == [[10, 20, 60, 90], [0, 0, 200, 160]]
    for line in lines:
        assert line["image"] == str(photo)
        assert 0 <= line["quality"] <= 1 and 0 <= line["direct"]["importance"] <= 1
        assert sum(line["quality_levels"].values()) == pytest.approx(1, abs=1e-4)
        assert line["text"] == "" and line["unparsable"] is False
        assert line["model_id"].count("@") == 1 and line["resolution"] == [77, 96]


def test_every_notation_of_a_region(assess: Callable, photo: Path, mask: Path, tmp_path: Path) -> None:
    inside = np.zeros((160, 200), bool)
    inside[30:80, 20:60] = True
    region = encode(inside)
    rle = json.dumps({"size": [160, 200], "counts": region.counts})
    (tmp_path / "rle.json").write_text(rle)
    labels = tmp_path / "label_maps"
    labels.mkdir()
    Image.fromarray(inside.astype(np.uint8) * 3).save(labels / f"{photo.stem}.png")
    rois = tmp_path / "rois.json"
    rois.write_text(json.dumps([{"img": "other.png", "rle": "x"}, {"img": photo.name, "rle": region.counts}]))
    lines = assess(
        photo, "--box", "20,30,60,80", "--mask", mask, "--rle", rle, "--rle", tmp_path / "rle.json",
        "--regions", labels, "--polygon", "20,30;60,30;60,80;20,80", "--seagull-json", rois,
    )  # fmt: skip
    assert [line["region"]["area"] for line in lines] == [2000] * 7
    assert all(line["quality"] == pytest.approx(lines[0]["quality"], abs=1e-4) for line in lines)
    assert assess(photo, "--point", "100,80")[0]["region"]["area"] > 0


def test_without_a_region_option_all_are_judged(run: Callable, tiny_model: Path, photo: Path) -> None:
    result = run("assess", photo, "--model", tiny_model)
    assert "graph segmenter" in result.stderr and "--all" in result.stderr
    assert len(result.stdout.splitlines()) >= 2
    assert run("assess", photo, "--model", tiny_model, "--all").stdout == result.stdout


def test_text(assess: Callable, photo: Path) -> None:
    (line,) = assess(photo, "--box", "0,0,50,50", "--text")
    assert line["unparsable"] is True, "random weights do not describe anything"


def test_one_bad_photograph_does_not_stop_the_others(
    run: Callable, tiny_model: Path, photo: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    small = tmp_path / "small.png"
    Image.new("RGB", (1, 1)).save(small)
    truncated = tmp_path / "truncated.jpg"
    Image.open(photo).convert("RGB").save(truncated)
    truncated.write_bytes(truncated.read_bytes()[:1000])
    out = tmp_path / "lines.jsonl"
    line = ("--model", tiny_model, "--box", "0,0,1,1", "--out", out)
    result = run("assess", bad, photo, small, truncated, tmp_path / "none.jpg", *line)
    assert result.exit_code == DONE_IN_PART
    for name in ("bad.jpg", "small.png", "truncated.jpg", "none.jpg"):
        assert sum(name in said for said in result.stderr.splitlines()) == 1
    assert "4 of 5 photographs" in result.stderr
    assert [json.loads(text)["image"] for text in out.read_text().splitlines()] == [str(photo)]
    assert not out.with_name("lines.jsonl.unfinished").exists()
    assert result.stdout == ""
    before = out.read_text()
    again = run("assess", bad, *line)
    assert again.exit_code == DONE_IN_PART and "stays as it was" in again.stderr
    assert out.read_text() == before and not out.with_name("lines.jsonl.unfinished").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--box", "150,20,260,90"), "partly outside"),
        (("--box", "300,300,310,310"), "outside the image"),
        (("--box", "60,20,10,90"), "inverted"),
        (("--point", "900,1"), "outside the image"),
        (("--rle", '{"size": [10, 10], "counts": [50, 50]}'), "RLE of size 10x10"),
        (("--rle", "{nonsense"), "not JSON"),
        (("--polygon", "0,0;10,0;10,900"), "Corner 2 of the polygon, 10,900, lies outside"),
    ],
)
def test_regions_that_cannot_be_used(
    run: Callable, tiny_model: Path, photo: Path, tmp_path: Path, arguments: tuple[str, str], said: str
) -> None:
    option, value = arguments
    result = run("assess", photo, "--model", tiny_model, option, value.replace("{folder}", str(tmp_path)))
    assert result.exit_code == DONE_IN_PART and said in result.stderr and str(photo) in result.stderr


def test_masks_of_another_size_or_empty(run: Callable, tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    for name, values, said in (
        ("size.png", np.full((10, 10), 255, np.uint8), "10x10"),
        ("empty.png", np.zeros((160, 200), np.uint8), "empty"),
    ):
        Image.fromarray(values).save(tmp_path / name)
        result = run("assess", photo, "--model", tiny_model, "--mask", tmp_path / name)
        assert result.exit_code == DONE_IN_PART and said in result.stderr


def test_what_is_wrong_for_every_photograph_is_said_once(refused: Callable, photo: Path, tiny_model: Path) -> None:
    assert "no box" in refused("assess", photo, photo, "--model", tiny_model, "--box", "1,2,3")
    assert "no point" in refused("assess", photo, photo, "--model", tiny_model, "--point", "a,b")
    assert "it has 2 corners" in refused("assess", photo, "--model", tiny_model, "--polygon", "1,2;3,4")
    assert "no mask file none.png, no.png" in refused("assess", photo, "--mask", "none.png", "--mask", "no.png")
    assert "none: no such folder" in refused("assess", photo, "--model", tiny_model, "--regions", "none")
    assert "none.json" in refused("assess", photo, "--model", tiny_model, "--seagull-json", "none.json")
    assert "sam.pth" in refused("assess", photo, "--model", tiny_model, "--all", "--sam-checkpoint", "sam.pth")
    assert "sam (model_type) belongs to method 'sam'" in refused("assess", photo, "--all", "--sam-type", "vit_b")


def test_the_pixel_limit(run: Callable, tiny_model: Path, photo: Path) -> None:
    result = run("assess", photo, "--model", tiny_model, "--box", "0,0,9,9", "--max-pixels", "1000")
    assert result.exit_code == DONE_IN_PART and "above the limit of 1,000" in result.stderr


def test_models_that_cannot_be_used(refused: Callable, photo: Path, tiny_model: Path, tmp_path: Path) -> None:
    assert "no model folder" in refused("assess", photo, "--model", tmp_path / "none")
    assert "not a Seagull-Tune checkpoint" in refused("ask", photo, "How?", "--model", tmp_path)
    assert "Device" in refused("assess", photo, "--model", tiny_model, "--device", "cuda:7", "--all")
    without = tmp_path / "without"
    without.mkdir()
    for path in tiny_model.iterdir():
        if path.name != "trained.safetensors":
            (without / path.name).write_bytes(path.read_bytes())
    assert "no MFE" in refused("assess", photo, "--model", without)


def test_an_output_that_cannot_be_written(refused: Callable, photo: Path, tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    said = refused("assess", photo, "--model", tiny_model, "--box", "0,0,9,9", "--out", tmp_path / "file" / "a.jsonl")
    assert "cannot be written" in said and "so far" not in said
    (tmp_path / "folder").mkdir()
    line = ("assess", photo, "--model", tiny_model, "--box", "0,0,9,9", "--out")
    assert "is a folder" in refused(*line, tmp_path / "folder")
    assert not [*tmp_path.glob("*.partial"), *tmp_path.glob("*.unfinished")]


def test_a_pipe_is_written_to_not_replaced(run: Callable, photo: Path, tiny_model: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    result = run("assess", photo, "--model", tiny_model, "--box", "0,0,9,9", "--out", pipe)
    reader.join()
    assert result.exit_code == 0, result.output
    assert pipe.is_fifo() and json.loads(read[0])["image"] == str(photo)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_file_name_that_is_not_text(assess: Callable, photo: Path, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/new\nline \xff.png")
    Path(odd).write_bytes(photo.read_bytes())
    assert assess(odd, "--box", "0,0,9,9")[0]["image"] == odd


def test_ask(run: Callable, refused: Callable, tiny_model: Path, photo: Path) -> None:
    line = ("ask", photo, "How is the quality of this region?", "--model", tiny_model)
    result = run(*line, "--box", "10,20,60,90", "--set", "max_new_tokens=5")
    assert result.exit_code == 0 and result.stdout.endswith("\n")
    assert "whole image" in run(*line, "--set", "max_new_tokens=2").stderr
    assert "2 regions" in refused(*line, "--box", "0,0,9,9", "--box", "1,1,9,9")
    assert "outside" in refused(*line, "--box", "0,0,900,9")
    assert "empty" in refused("ask", photo, " ", "--model", tiny_model)
    assert "100,000 characters" in refused("ask", photo, "x" * 100_000, "--model", tiny_model)


def test_a_conversation(run: Callable, tiny_model: Path, photo: Path, mask: Path) -> None:
    lines = [
        "/help", "/box 10,20,60,90 face", "/point 150,100", "/polygon 0,0;30,0;30,30;0,30 roof",
        f"/mask {mask} 'my mask'", "/regions", "/use face", "How is the quality of this region?", "/assess",
        "/assess face", "/reset", "/use image", "/all",
        f"/image {photo}", "/regions", "/quit", "never read",
    ]  # fmt: skip
    result = run("chat", photo, "--model", tiny_model, "--set", "max_new_tokens=3", input="\n".join(lines))
    assert result.exit_code == 0, result.output
    said = result.stdout
    for part in (
        "/box X0,Y0,X1,Y1 [name]", "Added face: box 10,20,60,90, 10.9%", "Added region 2:", "Added my mask:",
        "Added roof: box 0,0,30,30", "* my mask:", "face> ", "face: quality 0.", "region 2: quality 0.", "image> ",
        "are forgotten", "are gone", "No region yet.",
    ):  # fmt: skip
        assert part in said, f"{part!r}\n{said}"
    assert "never read" not in said


def test_nothing_ends_a_conversation_but_its_end(run: Callable, tiny_model: Path, photo: Path) -> None:
    lines = [
        "/bix 1,2,3,4", "/box", "/box 1,2,3", "/box 0,0,900,900", "/box 0,0,9,9 <bad>", '/mask "open', "/mask none.png",
        "/use", "/use nobody", "/assess", "/assess nobody", "/image", "/image none.jpg", "/point 1,1,1", "x" * 30_000,
        "/polygon", "/polygon 1,2", "Is <region 3> good?", "/box 0,0,20,20 a", "/box 0,0,20,20 A", "/regions",
    ]  # fmt: skip
    result = run("chat", photo, "--model", tiny_model, input="\n".join(lines))
    assert result.exit_code == 0, result.output
    for part in (
        "Did you mean '/box'?", "Something is missing: /box", "no box", "partly outside", "cannot name a region",
        "Close the quotation mark", "none.png", "/use NAME", "no region 'nobody'", "no region yet", "/image FILE",
        "none.jpg", "no point", "no polygon", "30,000 characters", "<region 3>", "already", "* a: box 0,0,20,20",
    ):  # fmt: skip
        assert part in result.stdout, f"{part!r}\n{result.stdout}"
    assert "Traceback" not in result.output


def test_bytes_that_are_no_text_do_not_end_a_conversation(run: Callable, tiny_model: Path, photo: Path) -> None:
    lines = b"/box 0,0,9,9 \xff\n/regions\n"
    result = run("chat", photo, "--model", tiny_model, input=lines)
    assert result.exit_code == 0, result.output
    assert "cannot name a region" in result.stdout and "No region yet" in result.stdout


def test_ctrl_c_stops_an_answer_not_the_conversation(
    tiny_model: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assessor = RegionAssessor.from_pretrained(tiny_model)
    script: list[str | type[BaseException]] = ["How is it?", KeyboardInterrupt, "/regions", EOFError]

    def read(prompt: str) -> str:
        entry = script.pop(0)
        if isinstance(entry, str):
            return entry
        raise entry

    repl = Repl(assessor, build_segmenter(), AnswerConfig(), show=lambda text: None, read=read)
    assessor.model.generate = _interrupted  # type: ignore[method-assign]
    repl.run(ChatSession(assessor, photo))
    said = capsys.readouterr().out
    assert "(stopped)" in said and "/quit or Ctrl-D" in said and "No region yet." in said
    assert script == []


def _interrupted(**arguments: Any) -> None:
    raise KeyboardInterrupt
