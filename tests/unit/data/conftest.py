"""A small real data set: three photographs, two of them shrunk views of large ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import skimage.data
from PIL import Image

from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three PNG photographs of about 150 x 120 pixels."""
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "chelsea", "coffee"):
        image = getattr(skimage.data, name)()
        scale = 150 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        Image.fromarray(small).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def dataset(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of those photographs: 4 samples each, one photograph for testing."""
    out = tmp_path_factory.mktemp("sets") / "roi"
    config = BuildConfig.model_validate(
        {
            "source": str(photographs),
            "samples_per_image": 4,
            "shard_images": 2,
            "seed": 5,
            "split": {"test": 0.34},
        }
    )
    build_dataset(config, out, show_progress=False)
    return out
