"""Sums of maps under masks: the masks of an image are checked and cut to their boxes once, for any number of maps.

Legend: H, W image size; R regions; K planes.
"""

from __future__ import annotations

import cv2
import numpy as np

from seagull_tune.errors import RegionError

CHANNELS = 4
"""Most planes that are summed at once (``cv2.mean``)."""


class MaskWindows:
    """The masks of one image, each cut to its box.

    A region is usually a small part of the image: looking at its box alone, thirty regions cost about as much as one.
    The sums are those over the whole image bit for bit, since pixels outside of a mask never counted.

    Args:
        masks: bool (R, H, W), each with at least one pixel; may overlap.

    Attributes:
        masks: bool (R, H, W), as given.
        shape: (H, W).
        areas: pixels of every mask, int64 (R,), > 0.

    Raises:
        RegionError: wrong type, or an empty mask.
    """

    def __init__(self, masks: np.ndarray) -> None:
        if masks.ndim != 3 or masks.dtype != np.bool_:
            raise RegionError(f"Masks have shape {masks.shape} and type {masks.dtype}; allowed: bool (R, H, W).")
        self.masks = np.ascontiguousarray(masks)
        self.shape: tuple[int, int] = (masks.shape[1], masks.shape[2])
        self._boxes: list[tuple[slice, slice]] = []
        self._crops: list[np.ndarray] = []
        for index, mask in enumerate(self.masks.view(np.uint8)):
            x, y, width, height = cv2.boundingRect(mask) if mask.size else (0, 0, 0, 0)
            if not width:
                raise RegionError(f"Region {index} is empty: a region needs at least one pixel.")
            box = (slice(y, y + height), slice(x, x + width))
            self._boxes.append(box)
            self._crops.append(mask[box].copy())
        self.areas = np.array([cv2.countNonZero(crop) for crop in self._crops], dtype=np.int64)

    @classmethod
    def of(cls, masks: np.ndarray | MaskWindows) -> MaskWindows:
        """The windows of masks that may have been prepared already.

        Raises:
            RegionError: as the constructor.
        """
        return masks if isinstance(masks, MaskWindows) else cls(masks)

    def __len__(self) -> int:
        return len(self._crops)

    def check_size(self, shape: tuple[int, ...]) -> None:
        """Refuse maps of another size.

        Args:
            shape: (H, W) of the maps.

        Raises:
            RegionError: they are not of the masks' size.
        """
        if self.shape != shape:
            raise RegionError(
                f"Masks have shape {(len(self), *self.shape)}; allowed: bool (R, {shape[0]}, {shape[1]}), the size of "
                "the image."
            )

    def means(self, planes: np.ndarray) -> np.ndarray:
        """Means of planes under every mask, summed in double precision.

        Args:
            planes: uint8 or float32 (H, W, K), K at most ``CHANNELS``.

        Returns:
            float64 (R, K).

        Raises:
            RegionError: planes of another size than the masks.
        """
        self.check_size(planes.shape[:2])
        count = planes.shape[2]
        # All planes in one look at a mask.
        means = [cv2.mean(planes[box], crop)[:count] for box, crop in zip(self._boxes, self._crops, strict=True)]
        return np.array(means, dtype=np.float64).reshape(-1, count)
