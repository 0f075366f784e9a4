"""Segmenters: the graph-based one needs no weights; SAM is used where a checkpoint is given."""

from __future__ import annotations

from pathlib import Path

from seagull_tune.errors import ConfigError, did_you_mean
from seagull_tune.segment.base import Segmenter

SEGMENTERS: tuple[str, ...] = ("graph", "sam")
"""The names that :func:`build_segmenter` knows."""

__all__ = ["SEGMENTERS", "Segmenter", "build_segmenter"]


def build_segmenter(
    name: str = "graph",
    checkpoint: str | Path | None = None,
    model_type: str | None = None,
    device: str = "cpu",
    min_area_share: float = 0.02,
    max_regions: int = 16,
) -> Segmenter:
    """Build a segmenter by name.

    Args:
        name: ``graph`` (no weights) or ``sam``.
        checkpoint: SAM's weights (``.pth`` or ``.safetensors``); only for ``sam``, and needed there.
        model_type: SAM's size (``vit_b``, ``vit_l``, ``vit_h``); None reads it from the weights.
        device: where SAM runs.
        min_area_share: smallest region, as a share of the image.
        max_regions: most regions of an image.

    Raises:
        ConfigError: an unknown name, or a checkpoint for a segmenter that has none.
        CheckpointError: ``sam`` without a checkpoint, or one that cannot be used.
        MissingDependencyError: ``sam`` without the segment-anything package.
    """
    if name == "graph":
        if checkpoint is not None:
            raise ConfigError(
                f"The graph segmenter takes no checkpoint, got {str(checkpoint)!r}; use the segmenter 'sam'."
            )
        from seagull_tune.segment.graph import GraphSegmenter

        return GraphSegmenter(min_area_share=min_area_share, max_regions=max_regions)
    if name == "sam":
        from seagull_tune.segment.sam import SamSegmenter

        return SamSegmenter(checkpoint, model_type, device, min_area_share=min_area_share, max_regions=max_regions)
    raise ConfigError(f"Unknown segmenter {name!r}.{did_you_mean(name, SEGMENTERS)}")
