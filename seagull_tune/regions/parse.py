"""Every notation of a region -> :class:`Region`: box, point and polygon text, mask files, JSON, label maps.

Legend: h, w image height and width in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from seagull_tune.errors import RegionError, did_you_mean
from seagull_tune.images import read_values
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region, parse_box, parse_point, parse_polygon, validate_point
from seagull_tune.regions.json_notation import regions_from_rle, regions_from_seagull_json
from seagull_tune.regions.masks import encode, from_label_map, from_polygon

LABEL_SUFFIXES: tuple[str, ...] = (".png", ".tif", ".tiff", ".bmp", ".gif")
"""Lossless files that a label map may be stored in, in the order they are looked for."""

REGION_SUFFIXES: tuple[str, ...] = (*LABEL_SUFFIXES, ".json")
"""Files of a folder of regions: label maps, or (regions that overlap) lists of RLE objects."""


class RegionSource(Protocol):
    """What a query needs of a segmenter (:mod:`seagull_tune.segment` has them)."""

    def segment(self, image: np.ndarray) -> list[Region]:
        """All regions of a uint8 RGB (H, W, 3) image."""
        ...

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """The region under pixel (x, y) of a uint8 RGB (H, W, 3) image."""
        ...


@dataclass(frozen=True)
class RegionQuery:
    """The regions that a user asked for, as text and paths; resolved against one image.

    Attributes:
        boxes: ``x0,y0,x1,y1`` each, ends exclusive.
        points: ``x,y`` each; the region under the point is found by a segmenter.
        polygons: ``x,y;x,y;...`` each, at least three corners.
        masks: mask files.
        rles: COCO RLE as JSON text or as files.
        seagull_json: list of regions by image, as the released SEAGULL inference reads it.
        region_dir: folder of label maps, one per image stem.
        all: every region that a segmenter finds.
    """

    boxes: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    polygons: tuple[str, ...] = ()
    masks: tuple[str | Path, ...] = ()
    rles: tuple[str | Path, ...] = ()
    seagull_json: str | Path | None = None
    region_dir: str | Path | None = None
    all: bool = False

    @property
    def empty(self) -> bool:
        """Whether no region was asked for."""
        texts = self.boxes or self.points or self.polygons
        return not (texts or self.masks or self.rles or self.seagull_json or self.region_dir or self.all)

    def resolve(self, image: np.ndarray, path: str | Path, segmenter: RegionSource) -> list[Region]:
        """The regions of one image, in the order of the fields.

        Args:
            image: uint8 RGB (H, W, 3).
            path: the image's file; its name finds the entries of ``seagull_json``, its stem those of ``region_dir``.
            segmenter: finds regions for ``points`` and ``all``.

        Returns:
            At least one region.

        Raises:
            RegionError: nothing asked for, or a region that cannot be used.
            DataError: a mask or label-map file that is no image.
        """
        if self.empty:
            raise RegionError(
                "No region was named; name one with a box, point, polygon, mask, JSON or label maps, or ask for all."
            )
        h, w = image.shape[:2]
        found = [regions_from_box(text, h, w) for text in self.boxes]
        found += [regions_from_point(text, image, segmenter) for text in self.points]
        found += [regions_from_polygon(text, h, w) for text in self.polygons]
        found += [regions_from_mask_file(file, h, w) for file in self.masks]
        found += [regions_from_rle(text, h, w) for text in self.rles]
        if self.seagull_json is not None:
            found.append(regions_from_seagull_json(self.seagull_json, path, h, w))
        if self.region_dir is not None:
            found.append(load_region_dir(self.region_dir, Path(path).stem, h, w))
        if self.all:
            found.append(segmenter.segment(image))
        return [region for regions in found for region in regions]


def regions_from_box(text: str, h: int, w: int) -> list[Region]:
    """The region of ``"x0,y0,x1,y1"``, named by its text.

    Raises:
        RegionError: bad text; box inverted, outside or partly outside.
    """
    box = parse_box(text)
    return [box_region(box, h, w, f"box {','.join(map(str, box))}")]


def regions_from_point(text: str, image: np.ndarray, segmenter: RegionSource) -> list[Region]:
    """The region that ``segmenter`` sees under ``"x,y"`` of a uint8 RGB (H, W, 3) image.

    Raises:
        RegionError: bad text, or a point outside the image.
    """
    x, y = validate_point(*parse_point(text), *image.shape[:2])
    return [segmenter.at_point(image, x, y)]


def regions_from_polygon(text: str, h: int, w: int) -> list[Region]:
    """The region of ``"x,y;x,y;..."``, named by its number of corners.

    Raises:
        RegionError: bad text, a corner outside the image, or no pixel inside.
    """
    corners = parse_polygon(text)
    return [from_polygon(corners, h, w, f"polygon of {len(corners)} corners")]


def regions_from_mask_file(path: str | Path, h: int, w: int) -> list[Region]:
    """The region of a mask file (PNG and other lossless files), named by the file's stem.

    Two values in the file: the higher is inside (0/1, 0/255, ...; a file of one value above 0 is inside all over).
    More values (soft borders): inside is above half of the highest, which has to be white (or it is a label map).

    Args:
        path: the file.
        h, w: size of the image in pixels.

    Raises:
        RegionError: another size than the image, empty, or a label map.
        DataError: not an image, or truncated.
    """
    values = read_values(path)
    _require_size(values, h, w, f"Mask {path}")
    grey = values.max(axis=2).astype(np.int32) if values.ndim == 3 else values
    distinct = np.unique(grey)
    if distinct[-1] <= 0:
        raise RegionError(f"Mask {path} is empty: every value is 0; pixels inside need a value above 0.")
    if len(distinct) > 2 and distinct[-1] < 255:
        raise RegionError(
            f"Mask {path} has the values {distinct[:8].tolist()}: it looks like a label map. A mask has two values "
            "(or soft borders up to 255); give label maps as a folder with --regions."
        )
    return [encode(2 * grey > distinct[-1], Path(path).stem)]


def regions_from_label_map(path: str | Path, h: int, w: int, min_area_share: float = 0.0) -> list[Region]:
    """The regions of a label-map file: each value of at least 1 is one region, gaps allowed, 8 or 16 bits.

    Args:
        path: the file; one channel, or colour with three equal channels. Palette files: the indices.
        h, w: size of the image in pixels.
        min_area_share: regions below this share of the image are left out.

    Returns:
        The regions in the order of their values.

    Raises:
        RegionError: another size than the image, no region, or a colour picture.
        DataError: not an image, or truncated.
    """
    values = read_values(path)
    _require_size(values, h, w, f"Label map {path}")
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise RegionError(f"Label map {path} is a colour picture; save it with one channel of 8 or 16 bits.")
        values = values[..., 0]
    try:
        return from_label_map(values, min_area_share)
    except RegionError as error:
        raise RegionError(f"{path}: {error}") from error


def check_label_folder(folder: str | Path) -> Path:
    """The folder of ``--regions``, if it is one.

    Raises:
        RegionError: it is none.
    """
    if not Path(folder).is_dir():
        raise RegionError(f"{folder}: no such folder of label maps (--regions).")
    return Path(folder)


def find_region_file(folder: str | Path, stem: str) -> Path:
    """The regions of an image in a folder: ``<stem>.png`` (or another lossless suffix), else ``<stem>.json``.

    Raises:
        RegionError: no such folder, or no file for this stem.
    """
    folder = check_label_folder(folder)
    for suffix in REGION_SUFFIXES:
        for path in (folder / f"{stem}{suffix}", folder / f"{stem}{suffix.upper()}"):
            if path.is_file():
                return path
    stems = {path.stem for path in folder.iterdir() if path.suffix.lower() in REGION_SUFFIXES}
    hint = did_you_mean(stem, stems) if 0 < len(stems) <= 20 else f" The folder holds {len(stems)} label maps."
    raise RegionError(f"{folder}: no label map for the image {stem!r}; looked for {stem}.png and the like.{hint}")


def load_region_dir(folder: str | Path, stem: str, h: int, w: int, min_area_share: float = 0.0) -> list[Region]:
    """The regions of one image from a folder (``--regions DIR``), found by the image's stem.

    A label map (``<stem>.png``), or COCO RLE JSON (``<stem>.json``, see :func:`regions_from_rle`).

    Args:
        folder: the folder.
        stem: the image's file name without suffix.
        h, w: size of the image in pixels.
        min_area_share: regions below this share of the image are left out.

    Raises:
        RegionError: no file for this stem, or as :func:`regions_from_label_map` and :func:`regions_from_rle`.
        DataError: not an image, or truncated.
    """
    path = find_region_file(folder, stem)
    if path.suffix.lower() != ".json":
        return regions_from_label_map(path, h, w, min_area_share)
    return [region for region in regions_from_rle(path, h, w) if region.area >= min_area_share * h * w]


def _require_size(values: np.ndarray, h: int, w: int, what: str) -> None:
    height, width = values.shape[:2]
    if (height, width) != (h, w):
        raise RegionError(
            f"{what} has {width}x{height} pixels (width x height), but the image has {w}x{h}; the sizes must be equal."
        )
