"""A contact sheet of a data set: a photograph per row with its regions, then some of its samples with their labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seagull_tune.data.schema import (
    ImageRecord,
    image_from_row,
    load_image,
    masks_of,
    open_tables,
    read_manifest,
    sample_from_row,
    sample_pixels,
)
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.records import DistortionStep, Sample

_COLOURS = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (67, 99, 216), (245, 130, 49), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (191, 239, 69), (250, 190, 212),
)  # fmt: skip
_GAP = 8
_LINE = 14
_TEXT_LINES = 3


def contact_sheet(
    folder: str | Path,
    out: str | Path,
    split: str | None = None,
    n_images: int = 8,
    samples_per_image: int = 4,
    cell: int = 300,
    image_root: str | Path | None = None,
) -> Path:
    """Write a PNG: one row per image, first the photograph with its regions outlined and numbered, then samples.

    Under a sample stand its recipe and, for its regions, ``number:quality``; affected regions are outlined in it.

    Args:
        folder: the data set.
        out: the PNG file.
        split: which split; None takes all.
        n_images: rows, spread evenly over the images.
        samples_per_image: samples per row, the first ones.
        cell: width and height of a cell's picture in pixels.
        image_root: where the photographs are now, if they were moved.

    Returns:
        ``out``.

    Raises:
        DataError: the data set cannot be opened or a photograph is missing or changed.
    """
    images, samples = open_tables(folder)
    root = Path(image_root or read_manifest(folder).get("image_root") or folder)
    splits = images.table.column("split").to_pylist()
    rows = [row for row, name in enumerate(splits) if split in (None, name)]
    if not rows:
        raise DataError(f"{folder} has no image in split {split!r}.{did_you_mean(str(split), set(splits))}")
    by_image: dict[str, list[int]] = {}
    for row, name in enumerate(samples.table.column("image_id").to_pylist()):
        by_image.setdefault(name, []).append(row)
    count = min(n_images, len(rows))
    strips = []
    for row in (rows[i * len(rows) // count] for i in range(count)):
        record = image_from_row(images.row(row))
        image = load_image(record, root, images.where(row))
        masks = masks_of(record)
        shown = []
        for i in by_image.get(record.image_id, [])[:samples_per_image]:
            sample = sample_from_row(samples.row(i))
            shown.append((sample, sample_pixels(sample, record, image, masks, root, samples.where(i))))
        strips.append(_strip(record, image, masks, shown, samples_per_image, cell))
    sheet = Image.new("RGB", (strips[0].width, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        sheet.paste(strip, (0, top))
        top += strip.height
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target, format="PNG")
    return target


def _strip(
    record: ImageRecord,
    image: np.ndarray,
    masks: np.ndarray,
    samples: list[tuple[Sample, np.ndarray]],
    columns: int,
    cell: int,
) -> Image.Image:
    """One row of the sheet: the photograph and ``columns`` places for samples."""
    height = min(cell, round(record.height * cell / max(record.height, record.width)))
    strip = Image.new("RGB", ((1 + columns) * (cell + _GAP), height + _LINE * _TEXT_LINES + _GAP), "white")
    title = f"{record.image_id} ({record.split}) {record.width}x{record.height}"
    picture = outlined(developed(image), masks, range(len(masks)), numbers=True)
    _paste(strip, 0, cell, height, picture, [title, f"{len(masks)} regions"])
    for column, (sample, pixels) in enumerate(samples, start=1):
        hit = [i for i, label in enumerate(sample.labels) if any(label.severities or ())]
        everywhere = len(hit) == len(sample.labels)
        picture = outlined(pixels, masks, () if everywhere else hit, numbers=False)
        _paste(strip, column * (cell + _GAP), cell, height, picture, _captions(sample))
    return strip


def outlined(image: np.ndarray, masks: np.ndarray, shown: Iterable[int], numbers: bool) -> np.ndarray:
    """A copy of an image with regions outlined, and numbered where asked.

    Args:
        image: uint8 (H, W, 3).
        masks: bool (R, H, W).
        shown: indices of the regions to outline.
        numbers: whether the region's number stands in it.

    Returns:
        uint8 (H, W, 3).
    """
    picture = np.array(image)
    width = max(1, round(max(image.shape[:2]) / 250))
    for index in shown:
        mask = masks[index].astype(np.uint8)
        colour = _COLOURS[index % len(_COLOURS)]
        contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, width)
        if numbers:
            # The innermost point of the region: a centroid may lie outside it.
            padded = np.pad(mask, 1)
            y, x = np.unravel_index(int(cv2.distanceTransform(padded, cv2.DIST_L2, 3).argmax()), padded.shape)
            at, scale = (int(x) - 5 * width, int(y) + 5 * width), 0.55 * width
            cv2.putText(picture, str(index), at, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3 * width)
            cv2.putText(picture, str(index), at, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), width)
    return picture


def _captions(sample: Sample) -> list[str]:
    steps = [
        f"{step.type}/{step.variant} {step.severity}{_place(step)}"
        for step in (sample.recipe.steps if sample.recipe is not None else ())
    ]
    as_is = "pristine" if sample.recipe is not None else "as it came"
    quality = " ".join(f"{i}:{label.quality:.2f}" for i, label in enumerate(sample.labels))
    importance = " ".join(
        f"{i}:{label.importance:.2f}" for i, label in enumerate(sample.labels) if label.importance is not None
    )
    return [" + ".join(steps) or as_is, f"Q {quality}", f"I {importance or 'not scored'}"]


def _place(step: DistortionStep) -> str:
    if step.regions is None:
        return ""
    return f"{' off ' if step.outside else ' on '}{list(step.regions)}"


def _paste(strip: Image.Image, x: int, cell: int, height: int, picture: np.ndarray, lines: list[str]) -> None:
    """A picture scaled to ``height`` at column ``x``, and lines of text below it, cut to the cell's width."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    strip.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), (x, 0))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(size=11)
    for number, line in enumerate(lines):
        text = line
        while draw.textlength(text, font=font) > cell and len(text) > 4:
            text = text[:-4] + "..."
        draw.text((x, height + number * _LINE), text, fill="black", font=font)
