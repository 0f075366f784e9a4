"""`seagull-tune merge`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.tiny import make_tiny_checkpoint


def test_merge(run: Callable, refused: Callable[..., str], tmp_path: Path) -> None:
    folder = make_tiny_checkpoint(tmp_path / "c")
    planned = run("merge", folder, "--out", tmp_path / "m", "--dry-run")
    assert planned.exit_code == 0 and "which has no adapters" in planned.stdout and not (tmp_path / "m").exists()
    done = run("merge", folder, "--out", tmp_path / "m")
    assert done.exit_code == 0 and f"Merged model: {tmp_path / 'm'}" in done.stdout
    assert (tmp_path / "m" / "trained.safetensors").is_file()
    assert "there already" in refused("merge", folder, "--out", tmp_path / "m")
    assert "checkpoint.json is missing" in refused("merge", tmp_path, "--out", tmp_path / "n", "--dry-run")
