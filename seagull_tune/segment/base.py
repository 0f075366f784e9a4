"""What every segmenter offers, and the checks and the order that they share.

Legend: H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from seagull_tune.errors import ConfigError, DataError
from seagull_tune.records import Region


@runtime_checkable
class Segmenter(Protocol):
    """Finds the regions of an image.

    Attributes:
        name: how results say where their regions come from.
    """

    @property
    def name(self) -> str: ...

    def segment(self, image: np.ndarray) -> list[Region]:
        """All regions of a uint8 RGB (H, W, 3) image, largest first."""
        ...

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """The region under pixel (x, y). Raises RegionError for a point outside the image."""
        ...

    def in_box(self, image: np.ndarray, box_xyxy: Sequence[int]) -> Region:
        """The object in a box (x0, y0, x1, y1; ends exclusive). Raises RegionError for a box outside the image."""
        ...


def check_image(image: np.ndarray) -> tuple[int, int]:
    """Height and width of a uint8 RGB (H, W, 3) image.

    Raises:
        DataError: another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise DataError(f"A segmenter needs a uint8 RGB image (H, W, 3), got {image.dtype} {image.shape}.")
    return image.shape[0], image.shape[1]


def check_limits(min_area_share: float, max_regions: int) -> None:
    """Refuses limits of a segmenter that no region could meet.

    Args:
        min_area_share: smallest region, as a share of the image.
        max_regions: most regions of an image.

    Raises:
        ConfigError: one of them is out of range.
    """
    if not 0.0 <= min_area_share < 1.0:
        raise ConfigError(f"min_area_share is {min_area_share!r}; allowed: 0 <= share < 1.")
    if max_regions < 1:
        raise ConfigError(f"max_regions is {max_regions!r}; allowed: at least 1.")


def by_area(regions: Sequence[Region]) -> list[Region]:
    """Largest first; regions of equal area by their box, so that the order never depends on how they were found."""
    return sorted(regions, key=lambda region: (-region.area, region.box_xyxy, region.counts))
