"""A tiny model and two real photographs with regions, shared by this room's tests (read only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch

from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from tests.tiny import make_tiny_model

torch.set_num_threads(1)


@dataclass(frozen=True)
class Picture:
    """A photograph uint8 (H, W, 3) and masks bool (R, H, W)."""

    image: np.ndarray
    masks: np.ndarray


def _regions(height: int, width: int) -> np.ndarray:
    """A disc, the lower third and everything, bool (3, height, width)."""
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (min(height, width) / 4) ** 2
    return np.stack([disc, y > 2 * height / 3, np.ones((height, width), bool)])


def load_pictures() -> list[Picture]:
    """Two photographs of different sizes."""
    pictures = []
    for name, size in (("astronaut", (160, 128)), ("coffee", (120, 90))):
        image = cv2.resize(getattr(skimage.data, name)(), size, interpolation=cv2.INTER_AREA)
        pictures.append(Picture(image, _regions(*image.shape[:2])))
    return pictures


@pytest.fixture(scope="session")
def pictures() -> list[Picture]:
    return load_pictures()


@pytest.fixture(scope="session")
def tiny() -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    """A tiny model and its processor; do not change them."""
    return make_tiny_model()


@pytest.fixture
def fresh() -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    """A tiny model and its processor that a test may change."""
    return make_tiny_model()


@pytest.fixture(scope="session")
def visual(tiny: tuple[SeagullForConditionalGeneration, SeagullProcessor], pictures: list[Picture]) -> dict[str, Any]:
    """Picture arguments of both photographs as one batch."""
    return visual_tensors([tiny[1].visual(picture.image, picture.masks) for picture in pictures])
