"""The regions of the images of a photograph: from a segmenter or a label map of the photograph, and drawn boxes."""

from __future__ import annotations

import functools
import math
from pathlib import Path, PurePosixPath

import numpy as np

from data_builders.sources import SourceImage, View
from seagull_tune.config.data import RegionSource
from seagull_tune.errors import RegionError
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode, encode, resize_mask
from seagull_tune.regions.parse import find_region_file, load_region_dir
from seagull_tune.segment import Segmenter, build_segmenter
from seagull_tune.segment.base import by_area

_LARGEST_BOX = 0.3
"""Share of the image that a drawn box takes at most."""
_WIDEST_BOX = 2.0
"""Width over height of a drawn box is at most this, and at least its inverse, unless the image cuts it."""


def regions_of(
    source: SourceImage, photograph_size: tuple[int, int], view: View, image: np.ndarray, config: RegionSource
) -> list[Region]:
    """The regions of one image, largest first; small ones and those beyond the limit are left out.

    Args:
        source: the photograph; its file's stem finds the label map.
        photograph_size: (height, width) of the photograph, before cropping and shrinking.
        view: what part of it the image is.
        image: uint8 (H, W, 3).
        config: where regions come from.

    Raises:
        RegionError: no label map, one of another size than the photograph, or no region is found or left. Names the
            photograph.
        DataError, CheckpointError: the label map or SAM's checkpoint cannot be used.
    """
    if config.dir is not None:  # the method is label_maps: the configuration checks it
        found = load_region_dir(region_folder(source, config.dir), Path(source.source).stem, *photograph_size)
        regions = found if view.crop_xyxy is None and photograph_size == image.shape[:2] else _in_view(found, view)
    else:
        try:
            regions = _segmenter(config).segment(image)
        except RegionError as error:
            raise RegionError(f"{source.source}: {error}") from error
    smallest = config.min_area_share * image.shape[0] * image.shape[1]
    kept = by_area([region for region in regions if region.area >= smallest])[: config.max_regions]
    if not kept:
        raise RegionError(
            f"{source.source}: none of {len(regions)} regions covers {config.min_area_share:.1%} of the image; "
            "lower regions.min_area_share, or give other regions."
        )
    return kept


def drawn_boxes(height: int, width: int, config: RegionSource, rng: np.random.Generator) -> list[Region]:
    """The ``config.boxes`` boxes of an image: log-uniform in area and in aspect ratio, uniform in place.

    Args:
        height, width: of the image.
        config: how many, and their smallest area.
        rng: the generator that they are drawn from.
    """
    regions = []
    for _ in range(config.boxes):
        smallest = max(config.min_area_share, 1.0 / (height * width))
        area = height * width * math.exp(rng.uniform(math.log(smallest), math.log(max(smallest, _LARGEST_BOX))))
        aspect = math.exp(rng.uniform(-math.log(_WIDEST_BOX), math.log(_WIDEST_BOX)))
        # Rounded up, and made longer where the image cuts one side, so that none falls below the smallest area.
        w = min(width, math.ceil(math.sqrt(area * aspect)))
        h = min(height, math.ceil(area / w))
        w = min(width, math.ceil(area / h))
        x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        regions.append(box_region((x, y, x + w, y + h), height, width))
    return regions


def region_folder(source: SourceImage, folder: Path) -> Path:
    """Where the label map of a photograph lies: in the sub-folder that is called like the photograph's own, else in
    ``folder`` itself; there never if several photographs have its stem, since one map cannot be of all of them."""
    stem_repeats = source.image_id != Path(source.source).stem
    beside = folder / PurePosixPath(source.source).parent
    return beside if stem_repeats or beside.is_dir() else folder


def label_map_file(source: SourceImage, config: RegionSource) -> Path | None:
    """The label map of a photograph; None where there is none, or the method is another."""
    if config.dir is None:
        return None
    try:
        return find_region_file(region_folder(source, config.dir), Path(source.source).stem)
    except RegionError:
        if not config.dir.is_dir():
            raise
        return None  # building this photograph fails, and says so


def sam_weights_hash(config: RegionSource) -> str | None:
    """SHA-256 of SAM's weights; None where the method is another.

    Raises:
        CheckpointError: there is no such file.
    """
    if config.method != "sam":
        return None
    from seagull_tune.segment.sam_checkpoint import weights_hash

    return weights_hash(config.sam.checkpoint)


@functools.lru_cache(maxsize=1)
def _segmenter(config: RegionSource) -> Segmenter:
    """One segmenter per process: SAM's weights are read once."""
    return build_segmenter(config.method, config.min_area_share, config.max_regions, config.sam)


def _in_view(regions: list[Region], view: View) -> list[Region]:
    """Regions of the photograph, cropped and shrunk like the image; those that vanish are left out."""
    moved = []
    for region in regions:
        mask = decode(region)
        if view.crop_xyxy is not None:
            x0, y0, x1, y1 = view.crop_xyxy
            mask = mask[y0:y1, x0:x1]
        if mask.any():
            moved.append(encode(resize_mask(np.ascontiguousarray(mask), view.height, view.width), region.name))
    return moved
