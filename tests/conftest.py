"""What tests share: outside data and embedded weights, or the reason why they are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# No test may ask a hub or open a window; set before any library reads them.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")

from seagull_tune.embedded import ensure
from seagull_tune.errors import MissingDependencyError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout that the tests belong to."""
    return ROOT


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of outside data sets (``bsds500/``, ``agiqa3k/``)."""
    folder = os.environ.get("SEAGULL_TUNE_TEST_DATA")
    if not folder:
        pytest.skip("SEAGULL_TUNE_TEST_DATA is not set: no outside data")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"SEAGULL_TUNE_TEST_DATA={folder} is not a folder")
    return path


def _embedded(name: str) -> Path:
    try:
        return ensure(name)
    except MissingDependencyError as error:
        pytest.skip(f"{name} is not cached and cannot be fetched: {str(error).splitlines()[0]}")


@pytest.fixture(scope="session")
def smollm2_dir() -> Path:
    """The embedded language model, converted."""
    return _embedded("smollm2-135m-instruct")


@pytest.fixture(scope="session")
def efficientnet_dir() -> Path:
    """The embedded vision model, converted."""
    return _embedded("efficientnet-lite0")
