"""`serve`: its plan, and what is refused before it listens. Running servers are tested in tests/unit/serve."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path


def test_dry_run(run: Callable, tiny_model: Path) -> None:
    result = run("serve", "--model", tiny_model, "--port", "9000", "--max-pixels", "1000", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "at 127.0.0.1, port 9000, asking for no key" in result.stdout and "pixels: 1000" in result.stdout


def test_what_is_refused_at_once(refused: Callable, tiny_model: Path, tmp_path: Path) -> None:
    assert "no model folder" in refused("serve", "--model", tmp_path / "none")
    assert "port" in refused("serve", "--model", tiny_model, "--port", "70000")
    assert "Did you mean" in refused("serve", "--model", tiny_model, "--set", "limits.pixel=3")
    assert "NO_SUCH_KEY holds no key" in refused("serve", "--model", tiny_model, "--api-key-env", "NO_SUCH_KEY")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "Cannot listen" in refused("serve", "--model", tiny_model, "--port", port)
    assert "Cannot listen" in refused("serve", "--model", tiny_model, "--host", "no.such.host.invalid")


def test_a_damaged_model_ends_the_server(refused: Callable, tiny_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(tiny_model, broken)
    (broken / "tokenizer.json").unlink()
    assert "tokenizer.json" in refused("serve", "--model", broken, "--port", "0")
