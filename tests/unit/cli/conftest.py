"""A tiny model and photographs, as the command line meets them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from typer.testing import CliRunner, Result

from seagull_tune.cli import app
from seagull_tune.cli.app import REFUSED
from tests.tiny import make_tiny_checkpoint

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with random weights."""
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph of 200x160 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[:160, 100:300])).save(path)
    return path


@pytest.fixture
def run() -> Run:
    """Runs a command line: ``run("assess", path, "--box", "0,0,9,9")``."""

    def call(*arguments: object, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)

    return call


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Runs a command line that must be refused with one sentence: exit code 2, no traceback. Returns the sentence."""

    def call(*arguments: object, input: str | None = None) -> str:
        result = run(*arguments, input=input)
        assert result.exit_code == REFUSED, result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result.stderr

    return call
