"""The shown photograph with its regions: coloured, numbered, the chosen one outlined; and as a file to keep.

Legend: h, w height and width of the shown photograph.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seagull_tune.gallery.overlay import Kind, legend, paint
from seagull_tune.web.state import Visit

SCORES: tuple[str, ...] = ("Quality", "Importance")
"""What regions may be coloured by."""

KINDS: dict[str, Kind] = {"Quality": "quality", "Importance": "importance"}
"""Their colour maps."""

_INK, _PAPER = (29, 39, 51), (255, 255, 255)
_LEGEND_HEIGHT = 64
_STRENGTH = 0.45


def values_of(visit: Visit, by: str) -> list[float]:
    """The regions' scores in [0, 1]; ``by`` is one of ``SCORES``."""
    scores = [judged.assessment.scores for judged in visit.regions]
    return [score.importance if by == "Importance" else score.quality for score in scores]


def picture_of(visit: Visit, by: str) -> np.ndarray | None:
    """What the page shows: uint8 (h, w, 3); None where no photograph is open.

    Args:
        by: one of ``SCORES``: what the colours mean.
    """
    if visit.photograph is None:
        return None
    shown = visit.photograph.shown
    if visit.regions:
        masks = np.stack([judged.shown for judged in visit.regions])  # (R, h, w)
        shown = paint(shown, masks, values_of(visit, by), kind=KINDS[by], strength=_STRENGTH, outlined=visit.chosen)
    if not visit.regions and visit.corner is None:
        return shown
    return _marked(shown, visit)


def picture_to_keep(visit: Visit, by: str) -> np.ndarray:
    """The same with its legend under it: uint8 (h + legend, w, 3).

    Raises:
        RegionError: no photograph is open.
    """
    picture = picture_of(visit, by)
    if picture is None:
        picture = visit.open.shown
    width = picture.shape[1]
    strip = legend(max(width, 120), _LEGEND_HEIGHT, f"{by} of regions, {visit.open.name}", KINDS[by])
    canvas = np.full((picture.shape[0] + _LEGEND_HEIGHT, strip.shape[1], 3), 255, np.uint8)
    canvas[: picture.shape[0], :width] = picture
    canvas[picture.shape[0] :] = strip
    return canvas


def _marked(picture: np.ndarray, visit: Visit) -> np.ndarray:
    """With the numbers of the regions, and the first corner of a box."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image)
    side = max(picture.shape[:2])
    size = min(max(side / 34, 12), 40)
    font = ImageFont.load_default(size)
    for index, judged in enumerate(visit.regions):
        chosen = index == visit.chosen
        _tag(draw, judged.anchor, str(index + 1), font, size, _PAPER if chosen else _INK, _INK if chosen else _PAPER)
    if visit.corner is not None:
        height, width = visit.open.size
        x = (visit.corner[0] + 0.5) * picture.shape[1] / width
        y = (visit.corner[1] + 0.5) * picture.shape[0] / height
        arm = side / 40
        for colour, line in ((_INK, 6), (_PAPER, 2)):
            draw.line((x - arm, y, x + arm, y), colour, line)
            draw.line((x, y - arm, x, y + arm), colour, line)
    return np.asarray(image)


def _tag(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: float,
    ground: tuple[int, int, int],
    ink: tuple[int, int, int],
) -> None:
    """A number on a rounded ground, centred at a pixel (x, y)."""
    half_width, half_height = (draw.textlength(text, font) + 0.8 * size) / 2, 0.75 * size
    box = (at[0] - half_width, at[1] - half_height, at[0] + half_width, at[1] + half_height)
    draw.rounded_rectangle(box, half_height, ground, ink, max(1, round(size / 12)))
    draw.text(at, text, ink, font, anchor="mm")
