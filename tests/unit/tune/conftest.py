"""A tiny data set and a tiny checkpoint, shared by this room's tests (read only)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from tests.tiny import make_tiny_checkpoint, make_tiny_model
from tests.tiny_data import make_tiny_dataset

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 samples for training, 6 for validation."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tune-data") / "roi")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tune-model") / "tiny")


@pytest.fixture(scope="session")
def tiny() -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    return make_tiny_model()


@pytest.fixture(scope="session")
def rows(data: Path) -> RoiDataset:
    return RoiDataset(data, "train")
