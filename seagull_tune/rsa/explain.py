"""Explanations on disk: a picture, a JSON file and a page that say which regions made a score what it is.

Legend: H, W image size; R regions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seagull_tune.files import atomic_write
from seagull_tune.gallery.overlay import colour_of, colour_stops, colour_table
from seagull_tune.gallery.page import (
    colour_scale,
    encoded,
    heading,
    numbered,
    page,
    paragraph,
    picture,
    readable,
    section,
    tiles,
)
from seagull_tune.gallery.panels import score_panel, screen_size, to_jpeg, to_png
from seagull_tune.infer.serialise import region_to_dict
from seagull_tune.levels import QUALITY_LEVELS, nearest_level
from seagull_tune.regions.masks import decode_all
from seagull_tune.rsa.scorer import Explanation

ATTENTION_WORDS = ("counts little", "counts most")
"""Ends of the attention map's colours."""

NONE_WORSE = "No region is worse than the rest."

_DIGITS = 6
_GAP, _LINE = 16, 26
_STRENGTH = 0.6  # of the attention map over the photograph


def explanation_to_dict(explanation: Explanation, name: str) -> dict[str, Any]:
    """An explanation as plain values.

    Returns:
        ``image``, ``score``, ``score_01``, ``bias``; ``regions`` in the order of the cover, each with its region,
        ``weight``, ``contribution``, ``quality`` (both None where the head is not additive) and ``text``; ``worst``,
        indices into them; ``map``, rows of the attention map.
    """
    count = len(explanation.regions)
    contributions = explanation.contributions or (None,) * count
    qualities = explanation.qualities or (None,) * count
    return {
        "image": name,
        "score": explanation.image_score.score,
        "score_01": explanation.image_score.score_01,
        "bias": explanation.bias,
        # Not rounded: bias and contributions have to add up to the score.
        "regions": [
            {
                **region_to_dict(region), "weight": weight, "contribution": contribution, "quality": quality,
                "text": text,
            }
            for region, weight, contribution, quality, text in zip(
                explanation.regions, explanation.weights, contributions, qualities, explanation.texts, strict=True
            )
        ],
        "worst": explanation.worst(count),
        "map": [[round(float(value), _DIGITS) for value in row] for row in explanation.map],
    }  # fmt: skip


def write_explanation(
    folder: Path, stem: str, image: np.ndarray, explanation: Explanation, name: str, worst: int
) -> Path:
    """Writes ``stem.png``, ``stem.json`` and ``stem.html``, each whole or not at all.

    Args:
        folder: made where it is not there.
        stem: name of the files.
        image, explanation, name, worst: as :func:`explanation_files` takes them.

    Returns:
        The page.
    """
    for kind, data in explanation_files(image, explanation, name, worst).items():
        atomic_write(folder / f"{stem}.{kind}", (data,))
    return folder / f"{stem}.html"


def explanation_files(image: np.ndarray, explanation: Explanation, name: str, worst: int) -> dict[str, bytes]:
    """An explanation as files.

    Args:
        image: uint8 (H, W, 3), the photograph that was scored.
        explanation: of its score.
        name: what the photograph is called.
        worst: regions that are told of in words.

    Returns:
        ``png``, ``json`` and ``html``, and what is in them.
    """
    panels = explanation_panels(image, explanation)
    values = json.dumps(explanation_to_dict(explanation, readable(name)), ensure_ascii=False, allow_nan=False, indent=1)
    return {
        "png": to_png(_side_by_side(panels, _title(explanation, name))),
        "json": encoded(values + "\n"),
        "html": encoded(_page(panels, explanation, name, worst)),
    }


def explanation_panels(image: np.ndarray, explanation: Explanation) -> tuple[np.ndarray, np.ndarray]:
    """The attention map over the photograph, and its regions coloured by their own quality, numbered worst first.

    Returns:
        Two of uint8 (h, w, 3), of the size of a panel. Where the scorer's head is not additive, the second is the bare
        photograph.
    """
    height, width = screen_size(*image.shape[:2])
    smaller = height < image.shape[0]
    fitted = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    share = explanation.map / max(float(explanation.map.max()), 1e-12)
    share = np.clip(cv2.resize(share, (width, height), interpolation=cv2.INTER_CUBIC), 0.0, 1.0)
    colours = colour_table("attention")[(255 * share).round().astype(np.uint8)]  # (h, w, 3)
    grey = fitted.mean(axis=2, keepdims=True)
    heat = ((1.0 - _STRENGTH) * grey + _STRENGTH * colours).round().astype(np.uint8)
    if explanation.qualities is None:
        return heat, fitted
    masks = decode_all(explanation.regions, (height, width))
    numbers = {index: str(number) for number, index in enumerate(explanation.order(), start=1)}
    return heat, score_panel(fitted, masks, explanation.qualities, [numbers[index] for index in range(len(masks))])


@dataclass(frozen=True)
class ToldRegion:
    """What one region does to a score.

    Attributes:
        number: its place among all, 1 pulls the score down the most; it is written into the picture.
        quality: [0, 1], what its own score would be.
        weight: [0, 1], how much it counts.
        share: [0, 1], how much of the picture it covers.
        contribution: on the declared scale.
        text: what the describer says of it, or "".
    """

    number: int
    quality: float
    weight: float
    share: float
    contribution: float
    text: str

    @property
    def facts(self) -> str:
        """The numbers but for the quality, as a sentence."""
        return (
            f"Counts {self.weight:.0%} (it covers {self.share:.0%} of the picture), contribution "
            f"{self.contribution:+.3g}."
        )


def told_regions(explanation: Explanation) -> list[ToldRegion]:
    """All regions, those first that pull the score down the most; none where the head is not additive."""
    if explanation.qualities is None or explanation.contributions is None:
        return []
    areas = [region.area / (region.height * region.width) for region in explanation.regions]
    return [
        ToldRegion(
            number, explanation.qualities[i], explanation.weights[i], areas[i], explanation.contributions[i],
            explanation.texts[i],
        )
        for number, i in enumerate(explanation.order(), start=1)
    ]  # fmt: skip


def _title(explanation: Explanation, name: str) -> str:
    found = explanation.image_score
    said = f"{readable(name)}: {found.score:.3g} ({found.score_01:.2f} of 1)"
    right = "the photograph" if explanation.qualities is None else "the regions' quality, the worst is 1"
    return f"{said}. Left: where it looks (bright). Right: {right}."


def _side_by_side(panels: tuple[np.ndarray, np.ndarray], title: str) -> np.ndarray:
    """Both panels under a title, uint8 (h, w, 3), on white."""
    height, width = panels[0].shape[:2]
    canvas = Image.new("RGB", (2 * width + 3 * _GAP, height + _LINE + 2 * _GAP), (255, 255, 255))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(16)
    while draw.textlength(title, font) > canvas.width - 2 * _GAP and len(title) > 2:
        title = title[:-2].rstrip() + "…"
    draw.text((_GAP, _GAP + 2), title, (29, 39, 51), font, anchor="lm")
    for at, panel in enumerate(panels):
        canvas.paste(Image.fromarray(panel), (_GAP + at * (width + _GAP), _LINE + _GAP))
    return np.array(canvas)


def _page(panels: tuple[np.ndarray, np.ndarray], explanation: Explanation, name: str, worst: int) -> str:
    found = explanation.image_score
    body = [
        heading(readable(name)),
        tiles([
            (f"{found.score:.3g}", "score", "on the scale of the opinion scores"),
            (f"{found.score_01:.2f}", "quality", "0 to 1, higher is better"),
            (f"{explanation.bias:.3g}", "bias", "what the score begins with"),
        ]),
        section(
            "Where it looks", picture(to_jpeg(panels[0]), "attention map", kind="jpeg"),
            colour_scale(colour_stops("attention"), ATTENTION_WORDS),
        ),
    ]  # fmt: skip
    if explanation.qualities is not None:
        scale = colour_scale(colour_stops(), QUALITY_LEVELS)
        numbered_so = "1 pulls the score down the most"
        shown = picture(to_jpeg(panels[1]), "regions coloured by their quality", numbered_so, "jpeg")
        body.append(section("Its regions", shown, scale))
        body.append(section("The worst regions", *_told(explanation, worst)))
    return page(f"Score of {readable(name)}", body)


def _told(explanation: Explanation, worst: int) -> list[str]:
    """The worst regions in words."""
    chosen = told_regions(explanation)[: len(explanation.worst(worst))]
    if not chosen:
        return [paragraph(NONE_WORSE)]
    entries = []
    for region in chosen:
        colour = "#{:02x}{:02x}{:02x}".format(*colour_of(region.quality))
        said = [paragraph(region.text, "plain")] if region.text else []
        title = f"{region.quality:.2f} {nearest_level(region.quality)}"
        entries.append(numbered(region.number, colour, title, *said, paragraph(region.facts)))
    return entries
