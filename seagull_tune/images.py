"""Reading photographs: any common file -> uint8 RGB, or a refusal that names the file. RAW files become scene light
(``seagull_tune.distortions.scene``), which :func:`read_image` develops.

Legend: H, W height and width in pixels (after the EXIF orientation was applied).

One code path decodes files and bytes. The size is read from the header and checked before any pixel is decoded;
truncated files are refused, never filled up. No global setting of Pillow is changed: its plugins are opened directly,
so that ``max_pixels`` takes the place of Pillow's own decompression-bomb limit, which is global.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageFile

from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError, LimitError
from seagull_tune.raw import RAW_SUFFIXES, decode_raw

MAX_PIXELS = 178_000_000
"""Default limit on H * W of an image that is read (about twice what the largest cameras give)."""

IMAGE_SUFFIXES: tuple[str, ...] = (
    ".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2", ".avif",
    ".heic", ".heif",
)  # fmt: skip
"""Suffixes (lower case) of the files that a folder of photographs may hold."""

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_EXIF_ORIENTATION = 0x0112
# What Pillow's plugins raise for damaged files; MemoryError is not among them on purpose.
_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
    zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def list_photographs(folder: str | Path, recursive: bool = True) -> list[Path]:
    """The files of a folder that are photographs by their suffix, RAW files among them, sorted by name.

    Hidden files and folders are left out. Names are as the folder's, joined with what lies below it; bytes of a name
    that are not UTF-8 come as lone surrogates, as everywhere in Python.

    Raises:
        DataError: no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of photographs.")
    found = []
    for path in folder.rglob("*") if recursive else folder.iterdir():
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in (*IMAGE_SUFFIXES, *RAW_SUFFIXES) and path.is_file():
            found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def read_image(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a photograph.

    EXIF orientation is applied, transparency is laid over white, and grey, palette, 16-bit (high byte), CMYK and
    colour-managed files become sRGB. Of an animation the first frame is read.

    Args:
        path: the file.
        max_pixels: largest H * W that is decoded; checked on the header.

    Returns:
        uint8 RGB (H, W, 3), C-contiguous.

    Raises:
        DataError: no such file, not an image, truncated, above ``max_pixels``, or a kind that cannot be read.
        MissingDependencyError: a camera RAW file, and the extra that reads them is not installed.
    """
    return developed(read_photograph(path, max_pixels))


def read_photograph(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a photograph as recipes are rendered from it: like :func:`read_image`, but RAW files are not developed.

    Returns:
        uint8 RGB (H, W, 3); of a camera RAW file uint16 scene light (H, W, 3). C-contiguous.

    Raises:
        DataError, MissingDependencyError: as :func:`read_image`.
    """
    with _open_file(path) as stream:
        if is_raw(path):
            return decode_raw(stream.read(), str(path), max_pixels)
        return _to_rgb(stream, str(path), max_pixels)


def decode_photograph(data: bytes, source: str | Path, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode a file held in memory as :func:`read_photograph` reads it.

    Args:
        data: content of the file.
        source: the file's name: its suffix says whether it is a RAW file.
        name: what messages call it.
        max_pixels: largest H * W that is decoded.

    Returns:
        uint8 RGB or uint16 scene light, (H, W, 3).

    Raises:
        DataError, MissingDependencyError: as :func:`read_image`.
    """
    return decode_raw(data, name, max_pixels) if is_raw(source) else decode_image(data, name, max_pixels)


def is_raw(path: str | Path) -> bool:
    """Whether a file is a camera RAW file by its suffix: most are TIFFs inside, whose first image is a thumbnail."""
    return Path(path).suffix.lower() in RAW_SUFFIXES


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode an image file held in memory; like :func:`read_image`, with ``name`` in messages.

    Args:
        data: content of an image file.
        name: what messages call it, for example the row it came from.
        max_pixels: largest H * W that is decoded.

    Returns:
        uint8 RGB (H, W, 3), C-contiguous.

    Raises:
        DataError: as :func:`read_image`.
    """
    return _to_rgb(io.BytesIO(data), name, max_pixels)


def read_values(path: str | Path, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read the stored values of a mask or label-map file, without any conversion of colours.

    Args:
        path: the file. Palette files give the palette indices.
        max_pixels: largest H * W that is decoded.

    Returns:
        int32 (H, W) for one-channel files (1, 8, 16 or 32 bits), uint8 (H, W, 3) for colour files; EXIF orientation
        is applied. Transparency is dropped.

    Raises:
        DataError: as :func:`read_image`; or a file of floats.
    """
    if is_raw(path):
        # Read as the TIFF that most RAW files are, it would give its thumbnail, silently.
        raise DataError(f"{path}: a camera RAW file is no mask or label map. Name a greyscale PNG.")
    with _open_file(path) as stream:
        picture, orientation = _load(stream, str(path), max_pixels)
        if picture.mode in ("1", "L", "P", "I") or picture.mode.startswith("I;16"):
            values = np.asarray(picture).astype(np.int32)
        elif picture.mode in ("LA", "PA"):
            values = np.asarray(picture.getchannel(0)).astype(np.int32)
        elif picture.mode in ("RGB", "RGBA", "RGBX"):
            values = np.asarray(picture)[..., :3]
        else:
            raise DataError(
                f"{path}: pixels of kind {picture.mode!r} are no mask or label map; allowed: one channel of 1, 8 or "
                "16 bits, or RGB. Save it as an 8-bit or 16-bit greyscale PNG."
            )
        return _orient(values, orientation)


def require_min_size(image: np.ndarray, n: int, path: str | Path) -> None:
    """Refuse an image with a side below ``n`` pixels.

    Args:
        image: (H, W, ...) array.
        n: smallest allowed side.
        path: what the message calls the image.

    Raises:
        DataError: H or W is below ``n``.
    """
    height, width = image.shape[:2]
    if min(height, width) < n:
        raise DataError(f"{path}: {width}x{height} pixels (width x height) is too small; both sides need at least {n}.")


def image_hash(image: np.ndarray) -> str:
    """Content hash of an image: SHA-256 over ``"HxWxC:"`` in ASCII and the bytes in C order, in hex.

    Args:
        image: uint8 (H, W, C).

    Raises:
        DataError: another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3:
        raise DataError(f"An image hash needs uint8 (H, W, C), got {image.dtype} {image.shape}.")
    digest = hashlib.sha256("{}x{}x{}:".format(*image.shape).encode("ascii"))
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _open_file(path: str | Path) -> BinaryIO:
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot open the file: {reason}. Check the path and its permissions.") from error


def _open_header(stream: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Open with the first plugin that takes the file. Like ``Image.open``, less its global decompression-bomb limit."""
    prefix = stream.read(32)
    if not prefix:
        raise DataError(f"{name}: the file is empty, so it is not an image.")
    is_heif = prefix[4:8] == b"ftyp" and prefix[8:12] in _HEIF_BRANDS
    if is_heif:
        _register_heif()
    Image.init()
    for kind in _FORMATS:
        if kind not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[kind]
        stream.seek(0)
        try:
            verdict = accept(prefix) if accept is not None else True
            if not verdict or isinstance(verdict, str):  # a string says why the plugin cannot work here
                continue
            # No file name: with one, Pillow would map that file into memory instead of reading this stream.
            return factory(stream, "")
        except _DECODE_ERRORS as error:
            raise DataError(
                f"{name}: damaged or truncated {kind} file ({_reason(error)}). Replace the file."
            ) from error
    if is_heif:
        raise DataError(
            f"{name}: HEIC/HEIF needs a plugin: pip install pillow-heif, or convert the file to JPEG or PNG."
        )
    kinds = ", ".join(kind for kind in _FORMATS if kind in Image.OPEN)
    raise DataError(f"{name}: not an image that can be read; allowed: {kinds}.")


def _register_heif() -> None:
    if "HEIF" not in Image.OPEN and importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()


def _load(stream: BinaryIO, name: str, max_pixels: int) -> tuple[ImageFile.ImageFile, int]:
    """Header, size check, pixels of the first frame. Returns the picture and its EXIF orientation (1..8)."""
    picture = _open_header(stream, name)
    width, height = picture.size
    if width < 1 or height < 1:
        raise DataError(f"{name}: the image has no pixels ({width}x{height}).")
    if width * height > max_pixels:
        raise LimitError(
            f"{name}: {width}x{height} = {width * height:,} pixels is above the limit of {max_pixels:,}; "
            "scale the image down, or raise the limit with --max-pixels."
        )
    try:
        picture.load()
    except _DECODE_ERRORS as error:
        raise DataError(
            f"{name}: truncated or damaged {picture.format} file ({_reason(error)}). Replace it."
        ) from error
    try:
        # After load(): for TIFF, loading itself applies the orientation and removes the tag.
        orientation = picture.getexif().get(_EXIF_ORIENTATION, 1)
    except _DECODE_ERRORS:
        orientation = 1  # a damaged EXIF block says nothing about the orientation; the pixels are whole
    return picture, orientation if orientation in range(1, 9) else 1


def _to_rgb(stream: BinaryIO, name: str, max_pixels: int) -> np.ndarray:
    picture, orientation = _load(stream, name, max_pixels)
    try:
        pixels = _sixteen_bit(picture, name) if picture.mode.startswith("I") else _pixels(_flatten(picture))
    except _DECODE_ERRORS as error:
        raise DataError(
            f"{name}: pixels of kind {picture.mode!r} cannot be turned into RGB ({_reason(error)}). "
            "Save the image as 8-bit RGB."
        ) from error
    return _orient(pixels, orientation)


def _flatten(picture: Image.Image) -> Image.Image:
    """8-bit picture of any kind -> RGB picture: sRGB, transparency over white."""
    if picture.mode == "F":
        raise ValueError("floats have no agreed white")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        white = Image.new("RGB", picture.size, (255, 255, 255))
        white.paste(layer, mask=layer.getchannel("A"))
        return _to_srgb(white, picture.info.get("icc_profile"))
    if picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGB")
    picture = _to_srgb(picture, picture.info.get("icc_profile"))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _pixels(picture: Image.Image) -> np.ndarray:
    """RGB picture -> uint8 (H, W, 3), in strips: Pillow's own conversion would hold two more copies."""
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, (1 << 22) // width)
    for top in range(0, height, rows):
        strip = Image.new("RGB", (width, min(rows, height - top)))
        strip.paste(picture, (0, -top))  # not crop(): that one applies Pillow's global limit
        pixels[top : top + strip.height] = np.asarray(strip)
    return pixels


def _to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """Colour-manage into sRGB where the file carries a usable profile that is not sRGB already."""
    if not profile:
        return picture
    try:
        transform = ImageCms.buildTransform(
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            picture.mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        if picture.mode == "RGB" and _is_identity(transform):
            return picture
        converted = ImageCms.applyTransform(picture, transform)
    except (ImageCms.PyCMSError, OSError):
        return picture  # a damaged profile, or one of another colour space: as viewers do, take the file for sRGB
    return picture if converted is None else converted


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform moves no colour of a 9 x 9 x 9 lattice by more than 2 of 255: the profile is sRGB itself."""
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    moved = ImageCms.applyTransform(Image.fromarray(lattice), transform)
    if moved is None:
        return True
    return int(np.abs(np.asarray(moved).astype(np.int16) - lattice).max()) <= 2


def _sixteen_bit(picture: Image.Image, name: str) -> np.ndarray:
    """16-bit grey (modes ``I;16*``, and ``I`` as PPM and some TIFFs give it) -> uint8 (H, W, 3) by the high byte."""
    values = np.asarray(picture)  # (H, W)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"{name}: greyscale values run from {low} to {high}; allowed: 16 bits, 0..65535. Save it as 8 or 16 bits."
        )
    grey = (values >> 8).astype(np.uint8)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return np.repeat(grey[..., None], 3, axis=2)


def _orient(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112) to an (H, W, ...) array."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if pixels.flags.writeable and pixels.flags.c_contiguous:
        return pixels
    return np.array(pixels, order="C")  # one copy: Pillow's buffer is read-only


def _reason(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
