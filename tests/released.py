"""The released SEAGULL extractor's reference: weights and inputs by recipe, so that only its outputs need to be stored.

Weights of a tensor: standard normal numbers of a generator seeded by the CRC-32 of its name, scaled to unit gain.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ASSET = Path(__file__).parent / "assets" / "seagull_mfe_reference.json"
SIDE = 512


def reference() -> dict[str, Any]:
    """Names, shapes, inputs and a few dozen outputs of the released module."""
    content: dict[str, Any] = json.loads(ASSET.read_text(encoding="utf-8"))
    return content


def recipe_weight(name: str, shape: list[int], salt: str) -> Tensor:
    """The weight of one tensor, float32."""
    drawn = np.random.default_rng(zlib.crc32((salt + name).encode())).standard_normal(shape, dtype=np.float32)
    drawn *= np.float32(np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.02)
    if "norm" in name and name.endswith(".weight"):
        drawn += 1
    return torch.from_numpy(drawn)


def recipe_inputs(case: dict[str, Any], features: dict[str, list[int]]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Maps by name (1, C, h, w), masks (R, 512, 512) and crops (R, 3, 512, 512) of one case."""
    draw = np.random.default_rng(case["seed"])
    maps = {name: torch.from_numpy(draw.standard_normal(shape, dtype=np.float32)) for name, shape in features.items()}
    masks = torch.zeros(len(case["boxes_xyxy"]), SIDE, SIDE)
    for mask, (x0, y0, x1, y1) in zip(masks, case["boxes_xyxy"], strict=True):
        mask[y0:y1, x0:x1] = 1
    small = draw.standard_normal((len(masks), 3, SIDE // 16, SIDE // 16), dtype=np.float32)
    return maps, masks, torch.from_numpy(small.repeat(16, axis=2).repeat(16, axis=3))


def relative_error(seen: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((seen - expected).norm() / expected.norm())
