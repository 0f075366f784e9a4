"""Cleaning of automatic masks: small islands go, small holes are filled, masks that are mostly holes are refused.

Legend: H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from seagull_tune.records import Region
from seagull_tune.regions.masks import box_of_mask


@dataclass(frozen=True)
class MaskFilter:
    """What is done to a mask; all shares are in [0, 1].

    Attributes:
        min_island_share: pieces below this share of the mask are removed; its largest piece always stays.
        fill_holes_share: holes of up to this share of the filled area (mask and holes together) are filled.
        max_hole_share: a mask whose remaining holes take more than this share of its filled area is refused.
    """

    min_island_share: float = 0.01
    fill_holes_share: float = 0.01
    max_hole_share: float = 0.5

    def clean(self, mask: np.ndarray) -> np.ndarray | None:
        """Apply the filter.

        Pieces are 8-connected and holes 4-connected, so that a diagonal line separates. Background that reaches the
        edge of the image is no hole.

        Args:
            mask: bool (H, W) with at least one True.

        Returns:
            bool (H, W) with at least one True; None where too much of it are holes.

        Raises:
            RegionError: the mask is empty.
        """
        x0, y0, x1, y1 = box_of_mask(mask)
        # A ring of background joins all that is outside into one component, also where the box touches the edge.
        part = np.pad(mask[y0:y1, x0:x1], 1).view(np.uint8)
        _, pieces, sizes = _components(part, 8)
        kept = sizes >= self.min_island_share * sizes[1:].sum()
        kept[1 + int(sizes[1:].argmax())] = True
        kept[0] = False
        inside = kept[pieces]
        _, spaces, sizes = _components((~inside).view(np.uint8), 4)
        hole = np.ones(len(sizes), bool)
        hole[[0, spaces[0, 0]]] = False  # the mask itself, and what is outside
        filled_area = np.count_nonzero(inside) + sizes[hole].sum()
        small = hole & (sizes <= self.fill_holes_share * filled_area)
        if sizes[hole & ~small].sum() > self.max_hole_share * filled_area:
            return None
        cleaned = np.zeros_like(mask)
        cleaned[y0:y1, x0:x1] = (inside | small[spaces])[1:-1, 1:-1]
        return cleaned


def _components(values: np.ndarray, connectivity: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Connected components of uint8 (H, W): their number, int32 labels (H, W), int64 areas (n,); 0 is background."""
    n, labels, stats, _ = cv2.connectedComponentsWithStats(values, connectivity=connectivity)
    return n, labels, stats[:, cv2.CC_STAT_AREA].astype(np.int64)


def without_box_overlaps(regions: Sequence[Region], max_iou: float) -> list[Region]:
    """Keep a region where the box of no better one (earlier in the list) overlaps its box by more than ``max_iou``."""
    boxes = np.array([region.box_xyxy for region in regions], np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]  # COCO's boxes are x, y, width, height
    kept: list[int] = []
    for index in range(len(regions)):
        if not kept or coco.iou(boxes[index : index + 1], boxes[kept], [0] * len(kept)).max() <= max_iou:
            kept.append(index)
    return [regions[index] for index in kept]


def without_duplicates(regions: Sequence[Region], max_iou: float) -> list[Region]:
    """Keep a region where no better one (earlier in the list) overlaps it by more than ``max_iou``."""
    kept: list[int] = []
    areas = np.array([region.area for region in regions], np.float64)
    for index, region in enumerate(regions):
        # The overlap of two masks is at most the smaller one: most pairs need no look at their pixels.
        ratio = np.minimum(areas[index], areas[kept]) / np.maximum(areas[index], areas[kept])
        near = [_rle(regions[kept[i]]) for i in np.flatnonzero(ratio > max_iou)]
        if not near or coco.iou([_rle(region)], near, [0] * len(near)).max() <= max_iou:
            kept.append(index)
    return [regions[index] for index in kept]


def _rle(region: Region) -> dict[str, Any]:
    return {"size": [region.height, region.width], "counts": region.counts}
