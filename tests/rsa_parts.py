"""Tiny parts of a training on opinion scores: a region model, and rated pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from PIL import Image

from seagull_tune.data.processor import visual_tensors
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode_all
from tests.tiny import enliven, make_tiny_model

COUNT = 16


def make_image() -> np.ndarray:
    """uint8 (100, 120, 3), a piece of a photograph."""
    return np.ascontiguousarray(skimage.data.chelsea()[40:140, 100:220])


def make_tuned(folder: Path) -> Path:
    """Writes the checkpoint of a lively tiny region model."""
    image = make_image()
    model, processor = make_tiny_model(seed=3)
    enliven(model)
    boxes = [box_region(box, *image.shape[:2]) for box in ((0, 0, 60, 60), (30, 40, 120, 100))]
    model.mfe.measure(model.encode_front(**visual_tensors([processor.visual(image, decode_all(boxes))])))
    save_checkpoint(model, processor, folder)
    return folder


def make_rated(folder: Path) -> Path:
    """Pictures that are blurred more and more, two of each group, of two sizes; their file ``mos.csv``, beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
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
    return write_csv(folder / "mos.csv", rows)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Rows of equal keys as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
