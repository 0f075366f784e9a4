"""From rows back to pixels: the source photograph, its crop, its size, its content hash; and what a sample shows.

Building and reading share these functions, so that an image that is read is the image that was labelled.

Legend: H, W height and width in pixels; R regions of an image.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np

from seagull_tune.builtin_scenes import scene_path
from seagull_tune.data.schema.rows import ImageRecord
from seagull_tune.distortions.recipe import render
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError
from seagull_tune.images import MAX_PIXELS, decode_image, decode_photograph
from seagull_tune.records import PictureFile, Sample
from seagull_tune.regions.masks import decode_all


def view_of(photograph: np.ndarray, crop_xyxy: tuple[int, int, int, int] | None, height: int, width: int) -> np.ndarray:
    """Crop a photograph and shrink the crop by area averaging.

    Args:
        photograph: uint8 or uint16 (H, W, 3).
        crop_xyxy: the part that is kept, ends exclusive; None keeps all.
        height, width: size of the result; at most that of the crop.

    Returns:
        (height, width, 3) of the same type, C-contiguous.
    """
    if crop_xyxy is not None:
        x0, y0, x1, y1 = crop_xyxy
        photograph = photograph[y0:y1, x0:x1]
    if photograph.shape[:2] != (height, width):
        return np.asarray(cv2.resize(photograph, (width, height), interpolation=cv2.INTER_AREA))
    return np.ascontiguousarray(photograph)


def source_path(record: ImageRecord, image_root: Path) -> Path:
    """The file of a record's source photograph.

    Raises:
        DataError, MissingDependencyError: a built-in photograph that cannot be had.
    """
    return scene_path(record.source) if record.source_kind == "builtin" else image_root / record.source


def load_image(record: ImageRecord, image_root: Path, where: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The reference image of a row, as recipes are rendered from it, after its file's content hash was checked.

    Args:
        record: the row.
        image_root: folder that file sources are relative to.
        where: file and row, for messages.
        max_pixels: largest photograph that is decoded.

    Returns:
        uint8 (H, W, 3), or uint16 scene light of a camera RAW file; ``distortions.scene.developed`` shows either.

    Raises:
        DataError: the file is missing or not the one that the data set was built from.
        MissingDependencyError: a RAW file, and the extra that reads them is not installed.
    """
    data = record.file_bytes
    name = f"{where}, image {record.image_id!r}"
    if data is None:
        path = source_path(record, image_root)
        name = f"{path} ({name})"
        data = _read(path, name)
    _check_hash(data, record.sha256, name)
    photograph = decode_photograph(data, record.source, name, max_pixels)
    image = view_of(photograph, record.crop_xyxy, record.height, record.width)
    _check_size(image, record, name)
    return image


def masks_of(record: ImageRecord) -> np.ndarray:
    """The masks of an image's regions, bool (R, H, W); R is 0 where the image has none.

    Raises:
        RegionError: a region that is damaged or of another size.
    """
    if not record.regions:
        return np.zeros((0, record.height, record.width), bool)
    return decode_all(record.regions)


def sample_pixels(
    sample: Sample,
    record: ImageRecord,
    image: np.ndarray,
    masks: np.ndarray,
    image_root: Path,
    where: str,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """What a sample shows: rendered from its recipe, read from its picture file, or the image itself.

    Args:
        sample: the row.
        record: the row of its image.
        image: (H, W, 3), uint8 or scene light, from :func:`load_image`; left as it is.
        masks: bool (R, H, W), from :func:`masks_of`.
        image_root: folder that file sources are relative to.
        where: file and row of the sample, for messages.
        max_pixels: largest picture that is decoded.

    Returns:
        uint8 (H, W, 3), a new array.

    Raises:
        DataError: a recipe that cannot be rendered; a picture that is missing, was changed, or has another size.
    """
    if sample.picture is not None:
        return load_picture(sample.picture, record, image_root, f"{where}, sample {sample.sample_id!r}", max_pixels)
    return np.array(developed(image)) if sample.recipe is None else render(image, sample.recipe, masks)


def load_picture(
    picture: PictureFile, record: ImageRecord, image_root: Path, where: str, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """The picture file of a sample, uint8 (H, W, 3), after its content hash and size were checked.

    Raises:
        DataError: it is missing, was changed, or has another size than its image.
    """
    path = image_root / picture.source
    name = f"{path} ({where})"
    data = _read(path, name)
    _check_hash(data, picture.sha256, name)
    pixels = decode_image(data, name, max_pixels)
    _check_size(pixels, record, name)
    return pixels


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{name}: the source photograph cannot be read ({error.strerror or error}). If the photographs were "
            "moved, name their folder with image_root."
        ) from error


def _check_hash(data: bytes, expected: str, name: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise DataError(
            f"{name}: the file's SHA-256 is {found}, the data set was built from {expected}. The photograph was "
            "changed: bring back the original, or build the data set again."
        )


def _check_size(image: np.ndarray, record: ImageRecord, name: str) -> None:
    if image.shape[:2] != (record.height, record.width):
        raise DataError(
            f"{name}: {image.shape[1]}x{image.shape[0]} pixels, the row says {record.width}x{record.height}."
        )
