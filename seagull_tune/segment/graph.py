"""Graph-based segmentation: needs no weights, deterministic, non-overlapping, covers the whole image.

Two steps on a copy of at most 320 pixels: the graph segmentation of Felzenszwalb and Huttenlocher (IJCV 2004,
scikit-image's implementation) gives small pieces along the edges; then neighbouring pieces are merged, the cheapest
pair first, until what is left is large and distinct. The cost of a pair is Ward's (Ward 1963): how much the colour
variance inside the regions would grow, times how strong the edge between them is.

Legend: H, W height and width of the image; h, w of the small copy; n number of pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.segmentation import felzenszwalb

from seagull_tune.errors import ConfigError
from seagull_tune.images import image_hash
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region, validate_box, validate_point
from seagull_tune.regions.masks import encode, nearest_index
from seagull_tune.segment.base import by_area, check_image, check_limits
from seagull_tune.segment.merging import Pieces, merge_pieces

LONG_SIDE = 320
"""Longest side, in pixels, of the copy that is segmented."""

STOP_COST = 9.0
"""Merging stops where the cheapest pair costs more (units of :func:`merge_pieces`); chosen by eye on photographs."""

SAME_COST = 2.0
"""Pairs that cost less than this are merged even where few regions are left: an even surface stays one region."""

MIN_REGIONS = 5
"""With this many regions left, only pairs below ``SAME_COST`` are merged (or regions that are too small)."""


@dataclass(frozen=True)
class _Labels:
    """Segmentation of the small copy, and how it spreads over the full image.

    Attributes:
        small: int32 (h, w), 0..n-1.
        rows, columns: int64 (H,) and (W,): the small pixel under each full one.
    """

    small: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def mask(self, labels: Sequence[int]) -> np.ndarray:
        """bool (H, W): the union of some labels."""
        # Column-major, as the run-length encoder wants it: gathering from the transpose saves a copy of the full mask.
        inside = np.isin(self.small, labels).T  # (w, h)
        return inside[self.columns][:, self.rows].T  # (H, W)


class GraphSegmenter:
    """Segments an image without weights into a few large, distinct regions that cover it without overlap."""

    name = "graph"

    def __init__(self, min_area_share: float = 0.02, max_regions: int = 16, detail: float = 1.0) -> None:
        """Set how fine the regions are.

        Args:
            min_area_share: every region covers at least this share of the image (where the image has two regions).
            max_regions: most regions of an image.
            detail: above 1 gives more regions, below 1 fewer.

        Raises:
            ConfigError: a value out of range.
        """
        check_limits(min_area_share, max_regions)
        if not detail > 0.0:
            raise ConfigError(f"detail is {detail!r}; allowed: above 0.")
        self.min_area_share = min_area_share
        self.max_regions = max_regions
        self.detail = detail
        self._last: tuple[str, _Labels] | None = None  # several points on one image segment it once

    def segment(self, image: np.ndarray) -> list[Region]:
        """All regions, largest first; they cover the image and do not overlap.

        Args:
            image: uint8 RGB (H, W, 3).

        Raises:
            DataError: not such an image.
        """
        labels = self._labels(image)
        n = int(labels.small.max()) + 1
        return by_area([encode(labels.mask([index])) for index in range(n)])

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """The region under pixel (x, y).

        Args:
            image: uint8 RGB (H, W, 3).
            x, y: the pixel.

        Raises:
            DataError: not such an image.
            RegionError: the point is outside.
        """
        x, y = validate_point(x, y, *check_image(image))
        labels = self._labels(image)
        label = int(labels.small[labels.rows[y], labels.columns[x]])
        return encode(labels.mask([label]), f"point {x},{y}")

    def in_box(self, image: np.ndarray, box_xyxy: Sequence[int]) -> Region:
        """What fills a box: all regions that lie mostly inside it, clipped to it.

        Where those regions cover less than a quarter of the box (it lies on something larger), the box itself.

        Args:
            image: uint8 RGB (H, W, 3).
            box_xyxy: (x0, y0, x1, y1), ends exclusive.

        Raises:
            DataError: not such an image.
            RegionError: the box is inverted, outside or partly outside.
        """
        height, width = check_image(image)
        x0, y0, x1, y1 = box = validate_box(box_xyxy, height, width)
        name = f"box {x0},{y0},{x1},{y1}"
        labels = self._labels(image)
        n = int(labels.small.max()) + 1
        in_rows, in_columns = (np.arange(height) >= y0) & (np.arange(height) < y1), np.zeros(width, bool)
        in_columns[x0:x1] = True
        inside = _areas(labels, n, in_rows, in_columns)
        total = _areas(labels, n, np.ones(height, bool), np.ones(width, bool))
        mostly = np.flatnonzero(2 * inside > total)
        if 4 * inside[mostly].sum() < (x1 - x0) * (y1 - y0):
            return box_region(box, height, width, name)
        mask = labels.mask(mostly.tolist())
        mask &= in_rows[:, None] & in_columns
        return encode(mask, name)

    def _labels(self, image: np.ndarray) -> _Labels:
        height, width = check_image(image)
        key = image_hash(image)
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        scale = min(1.0, LONG_SIDE / max(height, width))
        h, w = max(1, round(height * scale)), max(1, round(width * scale))
        small = image if (h, w) == (height, width) else cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
        rows, columns = nearest_index(h, height), nearest_index(w, width)
        # Areas are counted in pixels of the full image, so that the smallest region is right there and not only here.
        weights = np.outer(np.bincount(rows, minlength=h), np.bincount(columns, minlength=w))
        merged = self._segment_small(small, weights)
        labels = _Labels(merged, rows, columns)
        self._last = (key, labels)
        return labels

    def _segment_small(self, small: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """uint8 (h, w, 3) and pixel weights (h, w) -> int32 (h, w), 0..n-1."""
        h, w = small.shape[:2]
        if min(h, w) < 2:
            return np.zeros((h, w), np.int32)  # a line of pixels has no neighbourhood to segment
        pieces = felzenszwalb(small, scale=60, sigma=0.8, min_size=max(4, round(0.0006 * h * w))).astype(np.int32)
        lab = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)  # L 0..100, a and b about -100..100
        lab = cv2.GaussianBlur(lab, (0, 0), 1.0)
        table = merge_pieces(
            Pieces.measure(pieces, lab, weights),
            min_area=self.min_area_share * float(weights.sum()),
            min_regions=min(MIN_REGIONS, self.max_regions),
            max_regions=self.max_regions,
            stop_cost=STOP_COST / self.detail,
            same_cost=SAME_COST / self.detail,
        )
        return table[pieces].astype(np.int32)


def _areas(labels: _Labels, n: int, in_rows: np.ndarray, in_columns: np.ndarray) -> np.ndarray:
    """Pixels of the full image, within some rows (H,) and columns (W,), of each of ``n`` labels: float64 (n,)."""
    h, w = labels.small.shape
    weights = np.outer(
        np.bincount(labels.rows[in_rows], minlength=h), np.bincount(labels.columns[in_columns], minlength=w)
    )
    return np.bincount(labels.small.ravel(), weights=weights.ravel(), minlength=n)
