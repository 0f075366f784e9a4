"""Segmenters: the graph-based one needs no weights; SAM is used where a checkpoint is given."""

from __future__ import annotations

from seagull_tune.config.regions import SamSettings
from seagull_tune.errors import ConfigError, did_you_mean
from seagull_tune.segment.base import Segmenter

SEGMENTERS: tuple[str, ...] = ("graph", "sam")
"""The names that :func:`build_segmenter` knows."""

__all__ = ["SEGMENTERS", "Segmenter", "build_segmenter"]


def build_segmenter(
    name: str = "graph", min_area_share: float = 0.02, max_regions: int = 16, sam: SamSettings | None = None
) -> Segmenter:
    """Build a segmenter by name.

    Args:
        name: ``graph`` (no weights) or ``sam``.
        min_area_share: smallest region, as a share of the image.
        max_regions: most regions of an image.
        sam: how SAM finds regions; ``sam`` needs its ``checkpoint``.

    Raises:
        ConfigError: an unknown name, or a checkpoint for a segmenter that has none.
        CheckpointError: ``sam`` without a checkpoint, or one that cannot be used.
        MissingDependencyError: ``sam`` without the segment-anything package.
    """
    if name == "graph":
        if sam is not None and sam.checkpoint is not None:
            raise ConfigError(
                f"The graph segmenter takes no checkpoint, got {str(sam.checkpoint)!r}; use the segmenter 'sam'."
            )
        from seagull_tune.segment.graph import GraphSegmenter

        return GraphSegmenter(min_area_share=min_area_share, max_regions=max_regions)
    if name == "sam":
        return _sam(sam or SamSettings(), min_area_share, max_regions)
    raise ConfigError(f"Unknown segmenter {name!r}.{did_you_mean(name, SEGMENTERS)}")


def _sam(settings: SamSettings, min_area_share: float, max_regions: int) -> Segmenter:
    """SAM, behind a cache unless the settings say otherwise."""
    from seagull_tune.segment.sam import MASKS_VERSION, SamSegmenter

    segmenter = SamSegmenter(settings, min_area_share, max_regions)
    if not settings.cache:
        return segmenter
    from seagull_tune.segment.cache import CachedSegmenter, RegionCache
    from seagull_tune.segment.sam_checkpoint import weights_hash
    from seagull_tune.wheels import cache_dir

    identity = {
        "segmenter": "sam",
        "version": MASKS_VERSION,
        "weights": weights_hash(settings.checkpoint),
        "settings": settings.identity(),
        "min_area_share": min_area_share,
        "max_regions": max_regions,
    }
    return CachedSegmenter(segmenter, RegionCache(settings.cache_dir or cache_dir() / "regions"), identity)
