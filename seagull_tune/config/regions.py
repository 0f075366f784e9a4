"""Configuration of SAM as a segmenter; part of how data sets are built and of how a tuned model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from seagull_tune.config.base import StrictModel

Share = Annotated[float, Field(ge=0.0, le=1.0)]

_NOT_IDENTITY = {"checkpoint", "device", "points_per_batch", "cache", "cache_dir"}
"""Settings of the machine: they change where and how fast masks are found, not which (weights count by content)."""


class SamSettings(StrictModel):
    """How SAM finds regions. The thresholds are those of its automatic masks (Kirillov et al. 2023, appendix B).

    Attributes:
        checkpoint: its weights (``.pth`` or ``.safetensors``); needed where the method is ``sam``.
        model_type: its size; None reads it from the weights.
        device: where it runs, for example ``cpu`` or ``cuda``.
        dtype: of the image encoder, where nearly all time goes. Prompts and masks are always computed in float32:
            bfloat16 cannot tell neighbouring pixels of a large image apart.
        points_per_side: the automatic masks come from a grid of this many points squared.
        points_per_batch: points that are decoded at once; bounds memory.
        pred_iou_thresh: masks whose quality, as SAM predicts it, is not above this are dropped; 0 keeps all.
        stability_score_thresh: masks that change more than this (IoU) with the cutoff are dropped; 0 keeps all.
        box_nms_thresh: masks whose boxes overlap more than this (IoU) are dropped, but for the best.
        duplicate_iou: masks that overlap more than this (IoU) are dropped, but for the best.
        min_island_share: pieces below this share of their mask are removed; its largest piece always stays.
        fill_holes_share: holes up to this share of the mask's filled area are filled. A hole is what the mask
            encloses; background that reaches the edge of the image is none.
        max_hole_share: masks whose remaining holes take more than this share of their filled area are dropped (nets,
            frames); 1 keeps all.
        cache: whether the regions of an image are kept on disk, so that the same image is never segmented twice.
        cache_dir: where; None is the folder ``regions`` of the cache (``SEAGULL_TUNE_CACHE``).
    """

    checkpoint: Path | None = None
    model_type: Literal["vit_b", "vit_l", "vit_h"] | None = None
    device: Annotated[str, Field(min_length=1)] = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    points_per_side: Annotated[int, Field(ge=1, le=256)] = 32
    points_per_batch: Annotated[int, Field(ge=1, le=4096)] = 32
    pred_iou_thresh: Share = 0.88
    stability_score_thresh: Share = 0.95
    box_nms_thresh: Share = 0.7
    duplicate_iou: Share = 0.8
    min_island_share: Share = 0.01
    fill_holes_share: Share = 0.01
    max_hole_share: Share = 0.5
    cache: bool = True
    cache_dir: Path | None = None

    def identity(self) -> dict[str, Any]:
        """What the regions depend on, besides the content of the weights; ready for JSON."""
        return self.model_dump(mode="json", exclude=_NOT_IDENTITY)


def check_sam(method: str, sam: SamSettings) -> None:
    """Refuses settings of SAM for another method, and SAM without weights.

    Raises:
        ValueError: for pydantic, which adds the key.
    """
    if method == "sam" and sam.checkpoint is None:
        raise ValueError("method 'sam' needs sam.checkpoint: SAM's weights, vit_b, vit_l or vit_h (--sam-checkpoint)")
    if method != "sam" and sam != SamSettings():
        given = ", ".join(sorted(sam.model_fields_set)) or "settings"
        raise ValueError(f"sam ({given}) belongs to method 'sam', and method is {method!r}; drop it, or set method")
