"""Tiny parts for the scorer's tests: a backbone with random weights, a region model, pictures with opinion scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seagull_tune.config.base import load_config
from seagull_tune.config.rsa import BackboneSettings, RsaSpec, RsaTrainConfig
from tests.rsa_parts import make_image, make_rated, make_tuned
from tests.tiny import TOWER
from tests.tiny_scorer import SPEC

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def backbone() -> BackboneSettings:
    return SPEC.backbone


@pytest.fixture(scope="session")
def spec() -> RsaSpec:
    return SPEC


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return make_image()


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a lively tiny region model."""
    return make_tuned(tmp_path_factory.mktemp("describer") / "tuned" / "model")


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of pictures that are blurred more and more, two of each group, of two sizes."""
    return make_rated(tmp_path_factory.mktemp("rated"))


@pytest.fixture(scope="session")
def configure(rated: Path) -> Callable[..., RsaTrainConfig]:
    """A configuration of a tiny training: keys and values laid over it."""

    def make(out: Path, **changes: Any) -> RsaTrainConfig:
        base: dict[str, Any] = {
            "out": out, "data.file": rated, "data.mos.scene": "group", "data.std": "std",
            "data.mos.scale": "{low: 0, high: 5, higher_is_better: true}", "split.test": 0.25,
            "scorer.backbone": f"{{name: {TOWER}, weights: null, max_side: 96}}",
            "scorer.semantics": "none", "scorer.width": 16, "scorer.heads": 2, "optimisation.epochs": 2,
            "optimisation.batch_size": 4, "log_every": 1, "save_every": 0, "device": "cpu",
        }  # fmt: skip
        values = base | {key.replace("__", "."): value for key, value in changes.items()}
        return load_config(RsaTrainConfig, None, [f"{key}={value}" for key, value in values.items()])

    return make
