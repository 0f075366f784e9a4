"""What programs rely on, and what must not break: schemas, the model's own JSON, released files, hostile input."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from seagull_tune.cli.app import DONE_IN_PART
from seagull_tune.infer.serialise import line_schema
from seagull_tune.instructions.structured import answer_schema
from seagull_tune.regions.masks import encode
from tests.unit.test_images import png_header


def lines_of(result: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_real_lines_keep_the_printed_schema(run: Callable, tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    schema = json.loads(run("schema").stdout)
    assert schema == line_schema()
    answers = run("assess", photo, "--model", tiny_model, "--box", "0,0,60,60", "--box", "5,5,190,150", "--text")
    for line in lines_of(answers):
        jsonschema.validate(line, schema)
    out = tmp_path / "new" / "schema.json"
    assert run("schema", "model", "--out", out).exit_code == 0
    assert json.loads(out.read_text()) == answer_schema()


def test_schemas_that_are_not_there(refused: Callable, tmp_path: Path) -> None:
    assert "'line' or 'model'" in refused("schema", "nonsense")
    (tmp_path / "file").write_text("x")
    assert "schema.json" in refused("schema", "--out", tmp_path / "file" / "schema.json")


def test_ask_in_json(run: Callable, refused: Callable, tiny_model: Path, photo: Path) -> None:
    pytest.importorskip("xgrammar", reason="the extra json is not installed")
    for question in ((), ("Judge this region as JSON.",)):
        result = run("ask", photo, *question, "--json", "--model", tiny_model, "--box", "10,20,60,90")
        assert result.exit_code == 0, result.output
        jsonschema.validate(json.loads(result.stdout), answer_schema())
    assert "empty" in refused("ask", photo, "--model", tiny_model, "--box", "10,20,60,90")


def test_a_file_of_the_released_inference(run: Callable, tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    """As the release reads it: a list over all images, masks as compressed counts, boxes as x, y, width, height."""
    inside = np.zeros((160, 200), bool)
    inside[30:80, 20:60] = True
    other = tmp_path / "other.png"
    other.write_bytes(photo.read_bytes())
    rois = tmp_path / "rois.json"
    rois.write_text(json.dumps([
        {"img": photo.name, "rle": encode(inside).counts, "points": [20, 30, 40, 50]},
        {"img": other.name, "rle": "", "points": [20, 30, 40, 50]},
        {"img": other.name, "points": [0, 0, 200, 160]},
    ]))  # fmt: skip
    result = run("assess", photo, other, "--model", tiny_model, "--seagull-json", rois)
    assert result.exit_code == 0, result.output
    lines = lines_of(result)
    assert [Path(line["image"]).name for line in lines] == [photo.name, other.name, other.name]
    assert [line["region"]["box_xyxy"] for line in lines] == [[20, 30, 60, 80], [20, 30, 60, 80], [0, 0, 200, 160]]
    assert lines[0]["quality_levels"] == pytest.approx(lines[1]["quality_levels"], abs=1e-4)


def test_overlapping_and_identical_regions(run: Callable, tiny_model: Path, photo: Path) -> None:
    boxes = [part for box in ("0,0,90,90", "40,40,160,130", "0,0,90,90") for part in ("--box", box)]
    first, second, third = lines_of(run("assess", photo, "--model", tiny_model, *boxes))
    assert first["quality_levels"] == pytest.approx(third["quality_levels"], abs=1e-4)
    assert first["direct"]["quality_levels"] == pytest.approx(third["direct"]["quality_levels"], abs=1e-4)
    assert second["region"]["area"] == 120 * 90


def test_ten_thousand_regions(run: Callable, tiny_model: Path, photo: Path, tmp_path: Path) -> None:
    rois = tmp_path / "rois.json"
    rois.write_text(json.dumps([{"img": photo.name, "points": [i % 190, i // 190, 10, 10]} for i in range(10_000)]))
    result = run("assess", photo, "--model", tiny_model, "--seagull-json", rois)
    assert result.exit_code == DONE_IN_PART and result.stdout == ""
    assert "10,000 regions" in result.stderr and "allowed: 1,024" in result.stderr and str(photo) in result.stderr


def test_photographs_that_cannot_be_judged(
    run: Callable, tiny_model: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decompression bomb, one above the limit, a HEIC without its plug-in and bytes; an animated GIF is judged."""
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n, *a: None if n == "pillow_heif" else found(n, *a))
    (tmp_path / "bomb.png").write_bytes(png_header(60_000, 60_000))
    (tmp_path / "IMG_1.HEIC").write_bytes(struct.pack(">I", 24) + b"ftypheic" + b"\x00" * 4 + b"mif1heic" + bytes(64))
    (tmp_path / "bytes.jpg").write_bytes(os.urandom(2000))
    Image.new("RGB", (500, 400)).save(tmp_path / "large.png")
    frames = [Image.open(photo).convert("RGB"), Image.new("RGB", (200, 160))]
    frames[0].save(tmp_path / "moves.gif", save_all=True, append_images=frames[1:])
    names = ("bomb.png", "IMG_1.HEIC", "bytes.jpg", "large.png", "moves.gif")
    result = run(
        "assess", *(tmp_path / name for name in names), "--model", tiny_model, "--box", "0,0,90,90", "--max-pixels",
        "100000",
    )  # fmt: skip
    assert result.exit_code == DONE_IN_PART
    for said in ("bomb.png: 60000x60000", "IMG_1.HEIC: HEIC/HEIF needs a plugin", "bytes.jpg: not an image",
                 "large.png: 500x400", "4 of 5 photographs"):  # fmt: skip
        assert said in result.stderr
    (line,) = lines_of(result)
    assert line["image"].endswith("moves.gif")
    still = tmp_path / "still.gif"
    frames[0].save(still)
    (same,) = lines_of(run("assess", still, "--model", tiny_model, "--box", "0,0,90,90"))
    assert line["quality_levels"] == pytest.approx(same["quality_levels"], abs=0.05), "the first frame is judged"
