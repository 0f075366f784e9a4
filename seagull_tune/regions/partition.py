"""Non-overlapping cover: every pixel of the image belongs to exactly one region.

Legend: H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seagull_tune.errors import RegionError
from seagull_tune.records import Region
from seagull_tune.regions.masks import decode, encode

REST_NAME = "rest"
"""Name of the region of all pixels that no region claims."""


def label_map(regions: Sequence[Region], h: int, w: int) -> np.ndarray:
    """Lay regions on each other, small on top of large (of equal ones the later on top).

    Args:
        regions: regions of the image; may overlap.
        h, w: size of the image in pixels.

    Returns:
        int32 (H, W): 0 where no region is, i + 1 where region i is on top.

    Raises:
        RegionError: a region of an image of another size.
    """
    labels = np.zeros((h, w), np.int32)
    for index in sorted(range(len(regions)), key=lambda i: (-regions[i].area, i)):
        region = regions[index]
        if (region.height, region.width) != (h, w):
            raise RegionError(
                f"Region {index} belongs to an image of {region.width}x{region.height} pixels (width x height), "
                f"not {w}x{h}; the sizes must be equal."
            )
        labels[decode(region)] = index + 1
    return labels


def non_overlapping(regions: Sequence[Region], h: int, w: int) -> list[Region]:
    """An exact cover of the image by the visible parts of its regions.

    Args:
        regions: regions of the image; may overlap, may leave gaps.
        h, w: size of the image in pixels.

    Returns:
        The visible part of each region in the given order (regions that are wholly covered are left out), then the
        unclaimed rest as a region of its own named ``rest``, where there is one. The areas sum to H * W.

    Raises:
        RegionError: a region of an image of another size.
    """
    labels = np.asfortranarray(label_map(regions, h, w))
    areas = np.bincount(labels.ravel(order="K"), minlength=len(regions) + 1)
    cover = [encode(labels == i + 1, region.name) for i, region in enumerate(regions) if areas[i + 1]]
    if areas[0]:
        cover.append(encode(labels == 0, REST_NAME))
    return cover
