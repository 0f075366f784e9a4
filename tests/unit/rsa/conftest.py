"""Tiny parts for the scorer's tests: a backbone with random weights, a region model, pictures with opinion scores."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from seagull_tune.config.base import load_config
from seagull_tune.config.rsa import BackboneSettings, RsaSpec, RsaTrainConfig
from seagull_tune.data.processor import visual_tensors
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode_all
from tests.tiny import TOWER, enliven, make_tiny_model
from tests.tiny_scorer import SPEC

torch.set_num_threads(1)
COUNT = 16


@pytest.fixture(scope="session")
def backbone() -> BackboneSettings:
    return SPEC.backbone


@pytest.fixture(scope="session")
def spec() -> RsaSpec:
    return SPEC


@pytest.fixture(scope="session")
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.chelsea()[40:140, 100:220])


@pytest.fixture(scope="session")
def tuned(tmp_path_factory: pytest.TempPathFactory, image: np.ndarray) -> Path:
    """A checkpoint of a lively tiny region model."""
    model, processor = make_tiny_model(seed=3)
    enliven(model)
    boxes = [box_region(box, *image.shape[:2]) for box in ((0, 0, 60, 60), (30, 40, 120, 100))]
    model.mfe.measure(model.encode_front(**visual_tensors([processor.visual(image, decode_all(boxes))])))
    folder = tmp_path_factory.mktemp("describer") / "tuned" / "model"
    save_checkpoint(model, processor, folder)
    return folder


@pytest.fixture(scope="session")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file of pictures that are blurred more and more, two of each group, of two sizes."""
    folder = tmp_path_factory.mktemp("rated")
    rows = []
    for index in range(COUNT):
        top, side = 10 * (index // 2), 64 + 32 * (index % 2)
        picture = np.ascontiguousarray(skimage.data.astronaut()[top : top + 96, 100 : 100 + side])
        blur = index % 4
        picture = cv2.GaussianBlur(picture, (0, 0), 0.1 + 2.0 * blur)
        Image.fromarray(picture).save(folder / f"{index:02d}.png")
        rows.append({
            "image": f"{index:02d}.png", "mos": 5.0 - blur - 0.01 * index, "std": 0.1 + 0.02 * index,
            "group": f"g{index // 2}",
        })  # fmt: skip
    write_csv(folder / "mos.csv", rows)
    return folder / "mos.csv"


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


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
