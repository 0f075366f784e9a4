"""Masks and their storage: bool (H, W) <-> :class:`Region` (compressed COCO run-length encoding).

Legend: H, W height and width in pixels; R number of regions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco

from seagull_tune.errors import RegionError
from seagull_tune.images import MAX_PIXELS
from seagull_tune.records import Region
from seagull_tune.regions.rle import mask_of_counts

MAX_REGIONS = 1024
"""Most regions of one photograph; a label map of more is a picture, not a label map."""

MAX_DECODED_BYTES = 4 << 30
"""Most memory that :func:`decode_all` fills; above it, decode one by one or at a smaller size."""


def encode(mask: np.ndarray, name: str = "") -> Region:
    """Store a mask.

    Args:
        mask: bool (H, W); other types count as inside where they are not zero.
        name: the region's name.

    Returns:
        The region, with its area and tight box.

    Raises:
        RegionError: not two-dimensional, or empty.
    """
    if mask.ndim != 2 or mask.size == 0:
        raise RegionError(f"A mask has shape {mask.shape}; it needs (H, W) with at least one pixel.")
    inside = mask if mask.dtype == np.bool_ else mask != 0
    box = box_of_mask(inside)
    height, width = inside.shape
    # OpenCV's transpose goes by blocks: ten times as fast as numpy's copy to column-major.
    columns = inside.T if inside.flags.f_contiguous else cv2.transpose(np.ascontiguousarray(inside).view(np.uint8))
    runs = coco.encode(columns.view(np.uint8).T)
    counts = runs["counts"].decode("ascii")
    return Region(height, width, counts, int(np.count_nonzero(inside)), box, name)


def decode(region: Region) -> np.ndarray:
    """The mask of a region.

    Returns:
        bool (H, W), C-contiguous.

    Raises:
        RegionError: the counts are damaged or of another size.
    """
    columns = mask_of_counts(region.counts, region.height, region.width).T  # (W, H)
    return cv2.transpose(columns.view(np.uint8)).reshape(region.height, region.width).view(np.bool_)


def decode_all(regions: Sequence[Region], size: tuple[int, int] | None = None) -> np.ndarray:
    """The masks of several regions of one image.

    Args:
        regions: at least one.
        size: (height, width) to bring the masks to (nearest neighbour); None leaves them as they are. Decoding goes
            one by one, so a small size needs little memory even for a huge image.

    Returns:
        bool (R, H, W), C-contiguous.

    Raises:
        RegionError: no region, regions of images of different sizes, or more than ``MAX_DECODED_BYTES``.
    """
    height, width = same_size(regions)
    out_h, out_w = size if size is not None else (height, width)
    if len(regions) * out_h * out_w > MAX_DECODED_BYTES:
        raise RegionError(
            f"{len(regions)} masks of {out_w}x{out_h} pixels take {len(regions) * out_h * out_w / 2**30:.1f} GiB; "
            f"allowed: {MAX_DECODED_BYTES >> 30} GiB. Pass a smaller `size`, or decode one by one (iter_masks)."
        )
    masks = np.empty((len(regions), out_h, out_w), bool)
    for index, mask in enumerate(iter_masks(regions)):
        masks[index] = mask if size is None else resize_mask(mask, out_h, out_w)
    return masks


def iter_masks(regions: Sequence[Region]) -> Iterator[np.ndarray]:
    """The masks, bool (H, W), one after the other: one mask in memory at a time."""
    for region in regions:
        yield decode(region)


def same_size(regions: Sequence[Region]) -> tuple[int, int]:
    """Height and width of the image that all regions belong to.

    Raises:
        RegionError: no region, or images of different sizes.
    """
    sizes = sorted({(region.height, region.width) for region in regions})
    if len(sizes) != 1:
        seen = ", ".join(f"{w}x{h}" for h, w in sizes) or "none"
        raise RegionError(f"Regions of one image are needed; sizes seen (width x height): {seen}.")
    return sizes[0]


def resize_mask(mask: np.ndarray, h: int, w: int) -> np.ndarray:
    """Nearest-neighbour resize (pixel centres) that never loses a region.

    Args:
        mask: bool (H, W) with at least one True.
        h, w: size to bring it to.

    Returns:
        bool (h, w) with at least one True: where no sampled pixel hits a tiny region, the pixel that holds most of it.
    """
    rows, columns = nearest_index(mask.shape[0], h), nearest_index(mask.shape[1], w)
    small = np.ascontiguousarray(mask[rows][:, columns])
    if not small.any():
        weights = area_weights(mask[None], h, w)[0]
        small[np.unravel_index(int(weights.argmax()), small.shape)] = True
    return small


def nearest_index(n_in: int, n_out: int) -> np.ndarray:
    """For each of ``n_out`` pixels the input pixel under its centre: int64 (n_out,)."""
    return np.minimum((2 * np.arange(n_out) + 1) * n_in // (2 * n_out), n_in - 1)


def area_weights(masks: np.ndarray, out_h: int, out_w: int) -> np.ndarray:
    """Share of every output cell that lies under each mask (exact area resize; soft pooling weights).

    Args:
        masks: bool (R, H, W).
        out_h, out_w: output grid; may be finer than the masks.

    Returns:
        float32 (R, out_h, out_w) in [0, 1]; a region that is not empty has at least one weight above 0.

    Raises:
        RegionError: not (R, H, W).
    """
    if masks.ndim != 3:
        raise RegionError(f"Masks have shape {masks.shape}; area weights need (R, H, W).")
    height, width = masks.shape[1:]
    weights = np.empty((len(masks), out_h, out_w), np.float32)
    top, low, down = _edges(height, out_h)
    left, right, along = _edges(width, out_w)
    for index, mask in enumerate(masks):  # one by one: the summed-area table takes four bytes a pixel
        table = cv2.integral(np.ascontiguousarray(mask).view(np.uint8), sdepth=cv2.CV_32S)  # (H + 1, W + 1)
        # Between pixel corners the table is bilinear, so cells that cut pixels are summed exactly too.
        rows = (1.0 - down[:, None]) * table[top] + down[:, None] * table[low]  # (out_h + 1, W + 1)
        corners = (1.0 - along) * rows[:, left] + along * rows[:, right]  # (out_h + 1, out_w + 1)
        weights[index] = np.diff(np.diff(corners, axis=0), axis=1)
    weights *= np.float32(out_h * out_w / (height * width))
    return np.clip(weights, 0.0, 1.0, out=weights)


def _edges(n_in: int, n_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges of ``n_out`` equal cells over ``n_in`` pixels: pixel edges before and after, part between; (n_out + 1,)."""
    edges = np.arange(n_out + 1) * n_in  # in units of 1 / n_out: whole numbers, so no rounding moves an edge
    before = edges // n_out
    return before, np.minimum(before + 1, n_in), (edges % n_out) / n_out


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Tight box (x0, y0, x1, y1), ends exclusive, of a bool (H, W) mask.

    Raises:
        RegionError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise RegionError("The mask is empty: a region needs at least one pixel inside.")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def from_rle(rle: Mapping[str, Any], h: int | None = None, w: int | None = None, name: str = "") -> Region:
    """A region from COCO run-length encoding.

    Args:
        rle: ``{"size": [height, width], "counts": ...}`` with compressed counts (str or bytes) or a list of runs.
        h, w: size of the image that it has to match; None takes any.
        name: the region's name.

    Raises:
        RegionError: fields missing, damaged counts, another size than the image (where any is taken: more than
            ``MAX_PIXELS``), or empty.
    """
    try:
        height, width = (int(v) for v in rle["size"])
        counts = rle["counts"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RegionError(
            f'An RLE needs {{"size": [height, width], "counts": text or list}}; got {str(rle)[:80]!r}.'
        ) from error
    if height < 1 or width < 1:
        raise RegionError(f"RLE of size {width}x{height} (width x height): both sides need at least one pixel.")
    if (h, w) != (None, None) and (height, width) != (h, w):
        raise RegionError(
            f"RLE of size {width}x{height} (width x height), but the image has {w}x{h}; the sizes must be equal "
            "(COCO writes size as [height, width])."
        )
    if (h, w) == (None, None) and height * width > MAX_PIXELS:  # a few bytes may stand for what fills the memory
        raise RegionError(f"RLE of size {width}x{height} (width x height); allowed: at most {MAX_PIXELS:,} pixels.")
    text = counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts
    return encode(mask_of_counts(text, height, width), name)


def from_polygon(points: Sequence[Any], h: int, w: int, name: str = "") -> Region:
    """A region from the corners of a polygon, or from several polygons (their union), rasterised as COCO does.

    Args:
        points: ``[(x, y), ...]``, COCO's flat ``[x0, y0, x1, y1, ...]``, or a list of such polygons. Pixels.
        h, w: size of the image in pixels.
        name: the region's name.

    Raises:
        RegionError: not numbers, fewer than three corners, a corner outside the image, or no pixel inside.
    """
    try:
        polygons = [np.asarray(p, np.float64) for p in ([points] if _is_one_polygon(points) else points)]
    except (TypeError, ValueError, OverflowError) as error:
        raise RegionError(f"The corners of a polygon are numbers (x, y); got {str(points)[:80]!r}.") from error
    flat = [polygon.reshape(-1) for polygon in polygons]
    for corners in flat:
        if len(corners) < 6 or len(corners) % 2:
            raise RegionError(
                f"A polygon has {len(corners)} coordinates; it needs an even number of at least six (x, y)."
            )
        xy = corners.reshape(-1, 2)
        outside = ~((xy >= 0) & (xy <= (w, h))).all(axis=1)  # also where a number is not finite
        if outside.any():
            index = int(outside.argmax())
            raise RegionError(
                f"Corner {index} of the polygon, {xy[index, 0]:g},{xy[index, 1]:g}, lies outside the image of {w}x{h} "
                f"pixels (width x height); allowed: 0 <= x <= {w}, 0 <= y <= {h}."
            )
    if not flat:
        raise RegionError("A polygon without corners; it needs at least three (x, y).")
    merged = coco.merge(coco.frPyObjects([corners.tolist() for corners in flat], h, w))
    return from_rle(merged, h, w, name)


def from_label_map(labels: np.ndarray, min_area_share: float = 0.0) -> list[Region]:
    """The regions of a label map: each value of at least 1 is one region; 0 is no region; gaps are allowed.

    Args:
        labels: integers (H, W), any width (8, 16, 32 bits).
        min_area_share: regions below this share of the image are left out.

    Returns:
        One region per value, in the order of the values, named ``label <value>``.

    Raises:
        RegionError: not integers (H, W), a negative value, no region left, or more than ``MAX_REGIONS``.
    """
    if labels.ndim != 2 or labels.dtype.kind not in "iub":
        raise RegionError(f"A label map needs integers (H, W), got {labels.dtype} {labels.shape}.")
    values, areas = np.unique(labels, return_counts=True)
    if len(values) and values[0] < 0:
        raise RegionError(f"A label map holds {int(values[0])}; allowed: 0 (no region) and values of at least 1.")
    kept = [int(v) for v, n in zip(values, areas, strict=True) if v >= 1 and n >= min_area_share * labels.size]
    if not kept:
        raise RegionError(
            f"The label map has no region: its values are {values[:8].tolist()}, and one value of at least 1 that "
            f"covers at least {min_area_share:.2%} of the image is needed."
        )
    if len(kept) > MAX_REGIONS:
        raise RegionError(f"The label map has {len(kept)} regions; allowed: {MAX_REGIONS}. Is it a photograph?")
    columns = np.asfortranarray(labels)
    return [encode(columns == value, f"label {value}") for value in kept]


def _is_one_polygon(points: Sequence[Any]) -> bool:
    """Flat numbers, or pairs; a list of polygons holds flat lists of at least six numbers or lists of pairs."""
    if not len(points) or np.ndim(points[0]) == 0:
        return True
    return np.ndim(points[0]) == 1 and len(points[0]) == 2
