"""A photograph beside its regions, as pictures: numbered, coloured by scores, and with the worst regions in words.

Legend: H, W image size; R regions of an image.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seagull_tune.errors import DataError
from seagull_tune.gallery.overlay import Kind, legend, paint
from seagull_tune.levels import SEVERITY_NAMES, nearest_level, said_severity
from seagull_tune.records import RegionAssessment
from seagull_tune.regions.masks import decode_all, same_size

SCREEN_SIDE = 690
"""Longest side of a panel, in pixels."""

_INK, _MUTED, _PAPER = (29, 39, 51), (93, 104, 116), (255, 255, 255)
_OVERLAY = 0.7
_GAP, _LINE = 16, 26
_COLUMNS = (0, 36, 84, 176)  # where number, quality, level and faults of a line begin
_MOST_LISTED = 12
_SHORTEST_PANEL = 220  # of a narrow photograph: below it, no number can be read


def worst_first(answers: Sequence[RegionAssessment]) -> list[RegionAssessment]:
    """Answers by quality, the worst first (of equal ones the more important, then the first)."""
    return sorted(answers, key=lambda answer: (answer.scores.quality, -answer.scores.importance))


def faults(answer: RegionAssessment) -> list[tuple[str, str, float]]:
    """What is wrong with a region: (type, name of its severity, probability), the most probable first."""
    scores = answer.scores
    found = [(name, said_severity(values), scores.types[name]) for name, values in scores.severities.items()]
    told = [(name, SEVERITY_NAMES[severity], probability) for name, severity, probability in found if severity]
    return sorted(told, key=lambda fault: -fault[2])


def fit_for_screen(image: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A photograph uint8 (H, W, 3) and its masks bool (R, H, W), brought to the size of a panel."""
    size = screen_size(*image.shape[:2])
    fitted = [cv2.resize(mask.view(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0 for mask in masks]
    return _resized(image, size), np.stack(fitted)


def screen_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a panel of a photograph of this size."""
    scale = SCREEN_SIDE / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def photograph_panel(image: np.ndarray, masks: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """A photograph with the borders of its regions and a label in each.

    Args:
        image: uint8 (H, W, 3).
        masks: bool (R, H, W).
        labels: R texts.

    Returns:
        uint8 (H, W, 3).
    """
    return _labelled(paint(image, masks, [None] * len(masks), strength=0.0), masks, labels)


def score_panel(
    image: np.ndarray,
    masks: np.ndarray,
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[str] | None = None,
    kind: Kind = "quality",
) -> np.ndarray:
    """A photograph with its regions coloured by their scores.

    Args:
        image: uint8 (H, W, 3).
        masks: bool (R, H, W).
        scores: R values in [0, 1].
        labels: what is written into the regions; None writes the scores.
        kind: what the scores are.

    Returns:
        uint8 (H, W, 3).
    """
    shown = labels if labels is not None else [f"{score:.2f}" for score in scores]
    return _labelled(paint(image, masks, scores, kind=kind, strength=_OVERLAY), masks, shown)


def panels_of(image: np.ndarray, answers: Sequence[RegionAssessment]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The photograph, its regions coloured by quality, and by importance; numbered, the one of worst quality is 1.

    Args:
        image: uint8 (H, W, 3).
        answers: about regions of it, the worst first.

    Returns:
        Three of uint8 (h, w, 3), of the size of a panel.

    Raises:
        DataError: the photograph is of another size than it had when it was judged.
    """
    regions = [answer.region for answer in answers]
    height, width = same_size(regions)
    if image.shape[:2] != (height, width):
        raise DataError(
            f"The photograph has {image.shape[1]}x{image.shape[0]} pixels, but {width}x{height} when it was judged: it "
            "was changed since. Judge it again."
        )
    size = screen_size(height, width)
    fitted = _resized(image, size)
    masks, numbers = decode_all(regions, size), [str(at) for at in range(1, len(answers) + 1)]
    quality = score_panel(fitted, masks, [answer.scores.quality for answer in answers], numbers)
    importance = score_panel(fitted, masks, [answer.scores.importance for answer in answers], numbers, "importance")
    return fitted, quality, importance


def report_picture(panels: Sequence[np.ndarray], answers: Sequence[RegionAssessment], name: str) -> np.ndarray:
    """One picture with everything: photograph beside heat map, the legend, the worst regions in words.

    Args:
        panels: from :func:`panels_of`; the first two are shown.
        answers: the worst first.
        name: what the photograph is called.

    Returns:
        uint8 (h, w, 3), on white.
    """
    height, width = panels[0].shape[:2]
    column = max(width, _SHORTEST_PANEL)
    lines = [_cells(number, answer) for number, answer in enumerate(answers[:_MOST_LISTED], start=1)]
    if len(answers) > _MOST_LISTED:
        lines.append(("", f"and {len(answers) - _MOST_LISTED} better ones"))
    whole = 2 * column + 3 * _GAP
    total = _LINE + height + 3 * _GAP + 56 + _LINE * len(lines)
    canvas = Image.new("RGB", (whole, total), _PAPER)
    draw = ImageDraw.Draw(canvas)
    title, text = ImageFont.load_default(17), ImageFont.load_default(15)
    draw.text((_GAP, _GAP + 2), _fitted(draw, name, title, whole - 2 * _GAP), _INK, title, anchor="lm")
    top = _LINE + _GAP // 2
    for at, panel in enumerate(panels[:2]):
        canvas.paste(Image.fromarray(panel), (_GAP + at * (column + _GAP), top))
    below = top + height + _GAP // 2
    canvas.paste(Image.fromarray(legend(min(column, 420), 56, "quality")), (2 * _GAP + column, below))
    draw.text((_GAP, below + 28), "Regions, the worst first", _MUTED, text, anchor="lm")
    for at, cells in enumerate(lines):
        y = below + 56 + _GAP // 2 + at * _LINE + _LINE // 2
        for x, cell in zip(_COLUMNS, cells, strict=False):
            draw.text((_GAP + x, y), _fitted(draw, cell, text, whole - 2 * _GAP - x), _INK, text, anchor="lm")
    return np.array(canvas)


def to_png(picture: np.ndarray) -> bytes:
    """A picture uint8 (H, W, 3) as the bytes of a PNG file."""
    return _encoded(picture, ".png", [])


def to_jpeg(picture: np.ndarray, quality: int = 85) -> bytes:
    """A picture uint8 (H, W, 3) as the bytes of a JPEG file."""
    return _encoded(picture, ".jpg", [cv2.IMWRITE_JPEG_QUALITY, quality])


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A photograph of another (height, width)."""
    smaller = size[0] < image.shape[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _encoded(picture: np.ndarray, kind: str, options: Sequence[int]) -> bytes:
    done, data = cv2.imencode(kind, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), list(options))
    assert done
    return data.tobytes()


def _cells(number: int, answer: RegionAssessment) -> tuple[str, ...]:
    """A line of the list, by columns: number, quality, its level, what is wrong."""
    quality = answer.scores.quality
    what = ", ".join(f"{severity} {name}" for name, severity, _ in faults(answer)) or "no distortion"
    doubt = "; not to be relied on" if answer.abstain else ""
    return str(number), f"{quality:.2f}", nearest_level(quality), what + doubt


def _fitted(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """A text on one line, cut where it is too long; letters that no font has become question marks."""
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if draw.textlength(text, font) <= width:
        return text
    kept = bisect.bisect(range(1, len(text)), width, key=lambda end: math.ceil(draw.textlength(text[:end] + "…", font)))
    return text[:kept] + "…"


def _labelled(canvas: np.ndarray, masks: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The canvas (H, W, 3) with a text in each mask, white in a dark rim."""
    height, width = canvas.shape[:2]
    size = float(np.clip(max(height, width) / 28, 10, 26))
    picture = Image.fromarray(canvas)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for mask, label in zip(masks, labels, strict=True):
        x, y = _label_place(mask)
        half = draw.textlength(label, font) / 2 + 3
        x, y = (max(low, min(end - low, at)) for at, end, low in ((x, width, half), (y, height, 0.7 * size)))
        draw.text((x, y), label, _PAPER, font, anchor="mm", stroke_width=max(1, round(size / 8)), stroke_fill=_INK)
    return np.array(picture)


def _label_place(mask: np.ndarray) -> tuple[float, float]:
    """The pixel (x, y) deepest inside a mask."""
    distance = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(x), float(y)
