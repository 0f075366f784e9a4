"""Regions painted over their photograph, coloured by a score; one sequential colour map for each kind of score.

Quality is YlOrRd of ColorBrewer, turned round (Harrower and Brewer 2003, "ColorBrewer.org", Cartographic Journal 40): 0
is dark red, 1 is pale yellow. Importance is its PuBu: 0 is nearly white, 1 is deep blue, since a region that matters
little is nothing to be alarmed about. Attention is viridis (van der Walt and Smith 2015), whose 0 is dark. Lightness
rises or falls from one end to the other, so that the order is also seen by colour-blind readers and in a grey print.

Legend: H, W image height and width in pixels; R number of regions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seagull_tune.errors import DataError, RegionError
from seagull_tune.records import Region
from seagull_tune.regions import partition

Kind = Literal["quality", "importance", "attention"]
"""What a colour stands for; every kind has a colour map of its own."""

NO_VALUE = (128, 128, 128)
"""Colour of a region without a score."""

_INK, _PAPER = (29, 39, 51), (255, 255, 255)
# The part of each map that is used: its very ends may be nearly black or white, hard to tell from a photograph.
_MAPS: dict[Kind, tuple[str, float, float]] = {
    "quality": ("YlOrRd_r", 0.04, 0.96),
    "importance": ("PuBu", 0.06, 0.96),
    "attention": ("viridis", 0.0, 1.0),
}
_LIFT = 70  # grey of black under a colour: a score looks the same in the shadows
_PIXELS_AT_ONCE = 1 << 21  # rows are blended in strips: a 24-megapixel photograph needs no second copy in floats
_PIXELS_PER_LINE = 700  # the longer side, over this, is how thick a border is
MIN_LEGEND = (60, 24)
"""Smallest width and height of a legend, in pixels."""


def colour_of(value: float, kind: Kind = "quality") -> tuple[int, int, int]:
    """The colour of a score.

    Args:
        value: [0, 1]; values beyond are taken for the nearer end.
        kind: what the score is.

    Returns:
        sRGB, 0..255 each.

    Raises:
        DataError: not a number.
    """
    if math.isnan(value):
        raise DataError("A score is not a number; allowed: [0, 1], or None for a region that has none.")
    red, green, blue = colour_table(kind)[round(255 * min(1.0, max(0.0, value)))]
    return int(red), int(green), int(blue)


def colour_stops(kind: Kind = "quality", count: int = 9) -> list[str]:
    """Evenly spaced colours from 0 to 1, as ``#rrggbb``, for gradients of a page."""
    return ["#{:02x}{:02x}{:02x}".format(*colour_of(at, kind)) for at in np.linspace(0.0, 1.0, count).tolist()]


@cache
def colour_table(kind: Kind) -> np.ndarray:
    """A colour map, from 0 to 1: uint8 (256, 3) sRGB, read only."""
    name, first, last = _MAPS[kind]
    table = (255 * matplotlib.colormaps[name](np.linspace(first, last, 256))[:, :3]).round().astype(np.uint8)
    table.setflags(write=False)
    return table


def label_map(regions: Sequence[Region], height: int, width: int) -> np.ndarray:
    """Which region is on top at every pixel, the smallest of those that hold it: what a click means.

    Returns:
        int32 (H, W): an index into ``regions``, -1 where no region is.

    Raises:
        RegionError: a region of an image of another size.
    """
    labels = partition.label_map(regions, height, width)
    labels -= 1
    return labels


def paint(
    image: np.ndarray,
    masks_or_regions: np.ndarray | Sequence[Region],
    values: Sequence[float | None] | np.ndarray,
    *,
    kind: Kind = "quality",
    strength: float = 0.5,
    outlined: int | None = None,
) -> np.ndarray:
    """A photograph whose regions are coloured by their scores, with thin borders; smaller regions lie on top.

    Under a colour the photograph loses its own, and its shadows are lifted: the same score is the same tint everywhere.

    Args:
        image: uint8 (H, W, 3) sRGB.
        masks_or_regions: bool (R, H, W), or R regions of this photograph; they may overlap. None at all is allowed.
        values: R scores in [0, 1]; None makes a region grey.
        kind: what the scores are.
        strength: [0, 1]: 0 shows the photograph and the borders, 1 the colours alone.
        outlined: index of the region that stands out by a bold border, whole, also where others lie on it.

    Returns:
        uint8 (H, W, 3) sRGB.

    Raises:
        DataError: the image is of another type or shape, a score is not a number, or ``strength`` is out of range.
        RegionError: as many scores as regions are needed, all of the image's size; ``outlined`` is none of them.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(f"A photograph to paint on needs uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if not 0.0 <= strength <= 1.0:
        raise DataError(f"strength is {strength!r}; allowed: 0 (the photograph) to 1 (the colours alone).")
    count, (height, width) = len(masks_or_regions), image.shape[:2]
    if len(values) != count:
        raise RegionError(f"{len(values)} scores for {count} regions; one each is needed (None where there is none).")
    if outlined is not None and not 0 <= outlined < count:
        raise RegionError(f"Region {outlined} was to be outlined; allowed: 0 to {count - 1}.")
    labels = _labels(masks_or_regions, height, width)
    # The last row is for the pixels of no region: their label, -1, picks it.
    colours = np.array([NO_VALUE if v is None else colour_of(float(v), kind) for v in values] + [(0, 0, 0)], np.uint8)
    painted = _blend(image, labels, colours, strength)
    thickness = max(1, round(max(height, width) / _PIXELS_PER_LINE))
    painted[_borders(labels, thickness)] = _PAPER
    if outlined is not None:
        _outline(painted, _mask_of(masks_or_regions, outlined), 2 * thickness + 1)
    return painted


def legend(width: int, height: int, label: str, kind: Kind = "quality") -> np.ndarray:
    """The colour map as a bar from 0 (left) to 1 (right) with numbers under it and a label above.

    Args:
        width, height: of the picture, in pixels; at least ``MIN_LEGEND``.
        label: what is coloured; cut off where it is too long for the width.
        kind: of which score.

    Returns:
        uint8 (height, width, 3) sRGB, on white.

    Raises:
        DataError: too small.
    """
    if width < MIN_LEGEND[0] or height < MIN_LEGEND[1]:
        raise DataError(f"A legend of {width}x{height} pixels is too small; at least {MIN_LEGEND[0]}x{MIN_LEGEND[1]}.")
    size = min(height / 4, width / 9, 22)
    font = ImageFont.load_default(size)
    margin, line = round(0.9 * size), round(1.3 * size)
    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    while label and draw.textlength(label, font) > width - 2 * margin:
        label = label[:-2].rstrip() + "…" if len(label) > 2 else ""
    draw.text((width / 2, line / 2), label, _INK, font, anchor="mm")
    left, right, top, bottom = margin, width - margin, line, height - line
    at = np.linspace(0, 255, right - left).round().astype(int)
    bar = np.broadcast_to(colour_table(kind)[at], (bottom - top, right - left, 3))
    canvas.paste(Image.fromarray(np.ascontiguousarray(bar)), (left, top))
    for value in (0.0, 0.5, 1.0):
        draw.text((left + value * (right - left), height - line / 2), f"{value:g}", _INK, font, anchor="mm")
    return np.array(canvas)


def _labels(masks_or_regions: np.ndarray | Sequence[Region], height: int, width: int) -> np.ndarray:
    """int32 (H, W), as :func:`label_map`."""
    if not isinstance(masks_or_regions, np.ndarray):
        return label_map(masks_or_regions, height, width)
    masks = masks_or_regions
    if masks.dtype != np.bool_ or (len(masks) and masks.shape[1:] != (height, width)):
        raise RegionError(f"Masks need bool (R, {height}, {width}), got {masks.dtype} {masks.shape}.")
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    labels = np.full((height, width), -1, np.int32)
    for index in sorted(range(len(masks)), key=lambda i: (-areas[i], i)):
        labels[masks[index]] = index
    return labels


def _mask_of(masks_or_regions: np.ndarray | Sequence[Region], index: int) -> np.ndarray:
    chosen = masks_or_regions[index]
    return chosen if isinstance(chosen, np.ndarray) else partition.decode(chosen)


def _blend(image: np.ndarray, labels: np.ndarray, colours: np.ndarray, strength: float) -> np.ndarray:
    """The photograph (H, W, 3) with the colours (R + 1, 3) of its labels (H, W) laid over it."""
    out = np.empty_like(image)
    rows = max(1, _PIXELS_AT_ONCE // image.shape[1])
    for top in range(0, len(image), rows):
        part = slice(top, top + rows)
        strip = np.ascontiguousarray(image[part])
        lifted = cv2.convertScaleAbs(cv2.cvtColor(strip, cv2.COLOR_RGB2GRAY), alpha=1 - _LIFT / 255, beta=_LIFT)
        grey = cv2.cvtColor(lifted, cv2.COLOR_GRAY2RGB)
        faded = cv2.addWeighted(strip, 1 - strength, grey, strength, 0)
        tinted = cv2.addWeighted(faded, 1 - strength, colours[labels[part]], strength, 0)
        out[part] = np.where((labels[part] >= 0)[..., None], tinted, strip)
    return out


def _borders(labels: np.ndarray, thickness: int) -> np.ndarray:
    """Where one label meets another: bool (H, W), ``thickness`` pixels wide."""
    edges: np.ndarray = np.zeros(labels.shape, np.uint8)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    if thickness > 1:
        edges = cv2.dilate(edges, np.ones((thickness, thickness), np.uint8))
    return edges.view(np.bool_)


def _outline(canvas: np.ndarray, mask: np.ndarray, thickness: int) -> None:
    """Draws the border of one mask (H, W) into the canvas, in place: white in a dark rim, seen on every ground."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(canvas, contours, -1, _INK, thickness + 2 * max(1, thickness // 3))
    cv2.drawContours(canvas, contours, -1, _PAPER, thickness)
