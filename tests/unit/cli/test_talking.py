"""`chat`: comparisons with their numbers, conversations that are kept and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image


def test_compare_and_go_on_with_a_saved_conversation(
    run: Callable, refused: Callable, tiny_model: Path, photo: Path, tmp_path: Path
) -> None:
    file = tmp_path / "talk.json"
    lines = [
        "/box 0,0,60,60 face", "/box 100,0,190,60 the sky", "/compare face 'the sky' noise", "/compare face",
        "/compare face face", "/compare face nobody", "Which is blurrier, face or the sky?", f"/save {file}", "/save",
    ]  # fmt: skip
    first = run("chat", photo, "--model", tiny_model, "--set", "max_new_tokens=3", input="\n".join(lines))
    assert first.exit_code == 0, first.output
    for said in (
        "noise",
        "Name two regions",
        "named twice",
        "no region 'nobody'",
        "[numbers]",
        "--history",
        "Say where",
    ):
        assert said in first.stdout, first.stdout
    assert len(json.loads(file.read_text())["turns"]) == 2

    again = run("chat", "--history", file, "--model", tiny_model, input="/regions\n/image " + str(photo) + "\n")
    assert again.exit_code == 0, again.output
    assert "> Which is blurrier, face or the sky?" in again.stdout and "* the sky: box 100,0,190,60" in again.stdout

    moved = tmp_path / "moved.png"
    photo.rename(moved)
    assert "photo.png" in refused("chat", "--history", file, "--model", tiny_model)
    assert run("chat", moved, "--history", file, "--model", tiny_model, input="").exit_code == 0
    Image.new("RGB", (200, 160)).save(photo)
    assert "has changed" in refused("chat", "--history", file, "--model", tiny_model)


def test_neither_photograph_nor_history(refused: Callable, tiny_model: Path) -> None:
    assert "--history" in refused("chat", "--model", tiny_model)


def test_dry_run(run: Callable, tiny_model: Path, photo: Path) -> None:
    assert "Talk with" in run("chat", photo, "--model", tiny_model, "--dry-run").stdout
