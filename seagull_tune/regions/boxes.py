"""Boxes, points and polygons as text; boxes are ``box_xyxy`` in pixels, ends exclusive: ``0,0,W,H`` is the whole image.

Legend: h, w image height and width in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from seagull_tune.errors import RegionError
from seagull_tune.records import Region
from seagull_tune.regions.masks import encode

Box = tuple[int, int, int, int]


def parse_box(text: str) -> Box:
    """Read ``"x0,y0,x1,y1"`` (whole pixels, ends exclusive).

    Args:
        text: four whole numbers with commas; blanks are allowed.

    Returns:
        (x0, y0, x1, y1), not yet checked against an image.

    Raises:
        RegionError: not four whole numbers.
    """
    x0, y0, x1, y1 = _numbers(text, 4, "box", "x0,y0,x1,y1, for example 10,20,200,300")
    return x0, y0, x1, y1


def parse_point(text: str) -> tuple[int, int]:
    """Read ``"x,y"`` in whole pixels.

    Args:
        text: two whole numbers with a comma.

    Returns:
        (x, y), not yet checked against an image.

    Raises:
        RegionError: not two whole numbers.
    """
    x, y = _numbers(text, 2, "point", "x,y, for example 120,80")
    return x, y


def parse_polygon(text: str) -> list[tuple[float, float]]:
    """Read ``"x,y;x,y;..."`` in pixels; parts of pixels are allowed.

    Args:
        text: at least three corners with semicolons between them; blanks are allowed, and a semicolon at the end.

    Returns:
        The corners (x, y), not yet checked against an image.

    Raises:
        RegionError: not such text, or fewer than three corners.
    """
    form = "allowed is x,y;x,y;x,y (at least three corners, in pixels), for example '10,20;200,40;120,300'"
    corners: list[tuple[float, float]] = []
    for piece in text.strip().removesuffix(";").split(";"):
        try:
            x, y = (float(number) for number in piece.split(","))
        except ValueError as error:
            raise RegionError(f"{text!r} is no polygon: corner {len(corners)} is {piece.strip()!r}; {form}.") from error
        if not (math.isfinite(x) and math.isfinite(y)):
            raise RegionError(f"{text!r} is no polygon: corner {len(corners)} is {piece.strip()!r}; {form}.")
        corners.append((x, y))
    if len(corners) < 3:
        raise RegionError(f"{text!r} is no polygon: it has {len(corners)} corners; {form}.")
    return corners


def validate_box(box: Sequence[int], h: int, w: int) -> Box:
    """Check that a box lies inside an image and holds at least one pixel.

    Args:
        box: (x0, y0, x1, y1), ends exclusive.
        h, w: size of the image in pixels.

    Returns:
        The box as a tuple of ints.

    Raises:
        RegionError: inverted or empty, outside, or partly outside (the message gives the clipped box).
    """
    if len(box) != 4:
        raise RegionError(f"A box has {len(box)} numbers; it needs four: x0,y0,x1,y1.")
    x0, y0, x1, y1 = (int(v) for v in box)
    text = f"Box {x0},{y0},{x1},{y1}"
    if x1 <= x0 or y1 <= y0:
        raise RegionError(f"{text} is inverted or empty: x0 < x1 and y0 < y1 are needed (x0,y0,x1,y1, ends exclusive).")
    if x0 >= 0 and y0 >= 0 and x1 <= w and y1 <= h:
        return x0, y0, x1, y1
    clipped = (max(x0, 0), max(y0, 0), min(x1, w), min(y1, h))
    allowed = f"allowed: 0 <= x <= {w}, 0 <= y <= {h}"
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise RegionError(f"{text} lies outside the image of {w}x{h} pixels (width x height); {allowed}.")
    raise RegionError(
        f"{text} lies partly outside the image of {w}x{h} pixels (width x height); {allowed}. "
        f"Clipped to the image it is {','.join(map(str, clipped))}."
    )


def validate_point(x: int, y: int, h: int, w: int) -> tuple[int, int]:
    """Check that a pixel lies inside an image.

    Args:
        x, y: the pixel.
        h, w: size of the image in pixels.

    Returns:
        (x, y) as ints.

    Raises:
        RegionError: outside.
    """
    if not (0 <= x < w and 0 <= y < h):
        raise RegionError(
            f"Point {x},{y} lies outside the image of {w}x{h} pixels (width x height); "
            f"allowed: 0 <= x < {w}, 0 <= y < {h}."
        )
    return int(x), int(y)


def box_region(box: Sequence[int], h: int, w: int, name: str = "") -> Region:
    """The region of all pixels in a box.

    Args:
        box: (x0, y0, x1, y1), ends exclusive.
        h, w: size of the image in pixels.
        name: the region's name.

    Raises:
        RegionError: as :func:`validate_box`.
    """
    x0, y0, x1, y1 = validate_box(box, h, w)
    mask = np.zeros((h, w), bool)  # (H, W)
    mask[y0:y1, x0:x1] = True
    return encode(mask, name)


def _numbers(text: str, n: int, what: str, form: str) -> tuple[int, ...]:
    pieces = [piece.strip() for piece in text.split(",")]
    try:
        values = tuple(int(piece) for piece in pieces)
    except ValueError:
        values = ()
    if len(values) != n:
        raise RegionError(f"{text!r} is no {what}: allowed is {form} (whole pixels).")
    return values
