"""A tiny real data set for tests of training: four photographs, shrunk, some for validation."""

from __future__ import annotations

from pathlib import Path

import cv2
import skimage.data
from PIL import Image

from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def make_tiny_photographs(folder: Path) -> Path:
    """Writes :data:`PHOTOGRAPHS`, shrunk to about 120 x 90 pixels, into a new folder; returns it."""
    folder.mkdir(parents=True)
    for name in PHOTOGRAPHS:
        image = getattr(skimage.data, name)()
        scale = 120 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        Image.fromarray(small).save(folder / f"{name}.png")
    return folder


def make_tiny_dataset(folder: Path, samples_per_image: int = 6, validation: int = 1) -> Path:
    """Builds a data set of four photographs of about 120 x 90 pixels, at most three regions each.

    Args:
        folder: a folder that does not exist yet; photographs and data set lie inside.
        samples_per_image: recipes per photograph.
        validation: photographs in the ``validation`` split.
    """
    photographs = make_tiny_photographs(folder / "photographs")
    config = BuildConfig.model_validate(
        {
            "source": str(photographs),
            "samples_per_image": samples_per_image,
            "seed": 3,
            "regions": {"max_regions": 3},
            "split": {"scenes": dict.fromkeys(PHOTOGRAPHS[:validation], "validation")},
        }
    )
    build_dataset(config, folder / "set", show_progress=False)
    return folder / "set"
