"""Configuration of `convert`: weights of other projects -> one of our checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from seagull_tune.config.base import StrictModel


class ConvertConfig(StrictModel):
    """How a released model becomes a checkpoint. The defaults are what SEAGULL-7B was trained with.

    Attributes:
        format: the layout; ``seagull`` is that of SEAGULL-7B and of models tuned from it, adapters merged.
        source: folder with ``config.json``, the weights and the tokenizer; or ``hub:ID@REVISION``, a repository of the
            model hub that holds them.
        tower: file with the vision tower's weights (open_clip names), where the folder does not hold them.
        vision_backbone: timm name of the tower's architecture.
        image_mean, image_std: normalisation that the tower was trained with.
    """

    format: Literal["seagull"]
    source: str
    tower: Path | None = None
    vision_backbone: str = "convnext_large"
    image_mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
