"""Reading photographs: every kind of file, and every refusal by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile
from skimage import data

from seagull_tune.errors import DataError
from seagull_tune.images import MAX_PIXELS, decode_image, image_hash, read_image, read_values, require_min_size


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.ascontiguousarray(data.astronaut()[100:164, 200:296])  # (64, 96, 3)


def packed(picture: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_files_come_back_bit_for_bit(kind: str, photo: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(packed(Image.fromarray(photo), kind, **({"lossless": True} if kind == "WEBP" else {})))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    np.testing.assert_array_equal(image, photo)
    np.testing.assert_array_equal(decode_image(path.read_bytes(), "row 1"), image)


def test_large_image_in_strips_is_whole() -> None:
    tall = np.arange(5000 * 1000 * 3, dtype=np.uint32).astype(np.uint8).reshape(5000, 1000, 3)
    np.testing.assert_array_equal(decode_image(packed(Image.fromarray(tall), "BMP"), "tall"), tall)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int, photo: np.ndarray, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "TIFF"):
        path = tmp_path / f"turned.{kind.lower()}"
        path.write_bytes(packed(Image.fromarray(photo), kind, exif=exif))
        moves = {
            1: photo, 2: photo[:, ::-1], 3: photo[::-1, ::-1], 4: photo[::-1], 5: photo.swapaxes(0, 1),
            6: np.rot90(photo, -1), 7: photo.swapaxes(0, 1)[::-1, ::-1], 8: np.rot90(photo, 1),
        }  # fmt: skip
        np.testing.assert_array_equal(read_image(path), moves[orientation])


def test_damaged_exif_is_no_orientation(photo: np.ndarray) -> None:
    exif = b"Exif\x00\x00II*\x00\xff\xff\xff\xff"
    image = decode_image(packed(Image.fromarray(photo), "JPEG", exif=exif, quality=95), "odd")
    assert image.shape == photo.shape


def test_alpha_lies_over_white(photo: np.ndarray) -> None:
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[:, 48:] = 255
    alpha[:10] = 128
    image = decode_image(packed(Image.fromarray(np.dstack([photo, alpha])), "PNG"), "alpha")
    assert (image[20, :48] == 255).all()
    np.testing.assert_array_equal(image[10:, 48:], photo[10:, 48:])
    np.testing.assert_allclose(image[:10], 255 + (photo[:10].astype(float) - 255) * 128 / 255, atol=1)


def test_grey_with_alpha_and_transparent_grey() -> None:
    grey = np.full((4, 6), 40, np.uint8)
    grey[0] = 7
    image = decode_image(packed(Image.fromarray(np.dstack([grey, 255 - grey]), "LA"), "PNG"), "la")
    assert abs(int(image[1, 0, 0]) - (255 + (40 - 255) * 215 / 255)) <= 1
    cut = decode_image(packed(Image.fromarray(grey), "PNG", transparency=7), "trns")
    assert (cut[0] == 255).all()
    assert (cut[1:] == 40).all()


def test_greyscale_and_bilevel(photo: np.ndarray) -> None:
    grey = photo[..., 0]
    image = decode_image(packed(Image.fromarray(grey), "PNG"), "grey")
    np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, 2))
    bits = decode_image(packed(Image.fromarray(grey > 100), "PNG"), "bits")
    np.testing.assert_array_equal(bits[..., 1], np.where(grey > 100, 255, 0))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_keep_the_high_byte(suffix: str, photo: np.ndarray) -> None:
    low = np.random.default_rng(0).integers(0, 256, photo.shape, dtype=np.uint16)
    deep = photo.astype(np.uint16) << 8 | low
    for stored, expected in ((deep[..., ::-1], photo), (deep[..., 0], np.repeat(photo[..., :1], 3, 2))):
        done, coded = cv2.imencode(suffix, np.ascontiguousarray(stored))
        assert done
        np.testing.assert_array_equal(decode_image(coded.tobytes(), "deep"), expected)


def test_sixteen_bit_pgm_and_alpha(photo: np.ndarray) -> None:
    deep = photo[..., 0].astype(">u2") << 8
    pgm = b"P5 96 64 65535\n" + deep.astype(">u2").tobytes()
    np.testing.assert_array_equal(decode_image(pgm, "pgm")[..., 2], photo[..., 0])
    four = np.dstack([photo[..., ::-1].astype(np.uint16) << 8, np.full(photo.shape[:2], 65535, np.uint16)])
    _, coded = cv2.imencode(".png", four)
    np.testing.assert_array_equal(decode_image(coded.tobytes(), "deep alpha"), photo)


def test_float_and_32_bit_tiffs_are_refused() -> None:
    for picture in (Image.fromarray(np.ones((4, 5), np.float32)), Image.fromarray(np.full((4, 5), 70000, np.int32))):
        with pytest.raises(DataError, match=r"odd\.tif.*[Ss]ave"):
            decode_image(packed(picture, "TIFF"), "odd.tif")


def test_cmyk_jpeg(photo: np.ndarray) -> None:
    image = decode_image(packed(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95), "cmyk")
    assert image.shape == photo.shape
    assert np.abs(image.astype(int) - photo).mean() < 6  # JPEG loss; inverted inks would give over 60


def test_palette_with_transparency(photo: np.ndarray) -> None:
    picture = Image.fromarray(photo).quantize(32)
    plain = decode_image(packed(picture, "PNG"), "palette")
    np.testing.assert_array_equal(plain, np.asarray(picture.convert("RGB")))
    cut = decode_image(packed(picture, "PNG", transparency=0), "palette")
    clear = np.asarray(picture) == 0
    assert clear.any()
    assert (cut[clear] == 255).all()
    np.testing.assert_array_equal(cut[~clear], plain[~clear])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_animation_gives_the_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (12, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    coded = packed(frames[0], kind, save_all=True, append_images=frames[1:])
    image = decode_image(coded, "moving")
    assert image.shape == (8, 12, 3)
    np.testing.assert_allclose(image[3, 3], (250, 0, 0), atol=4)


def test_colour_profile_is_applied_and_srgb_is_left_alone(photo: np.ndarray) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decode_image(packed(Image.fromarray(photo), "PNG", icc_profile=srgb), "s"), photo)
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode_image(packed(Image.fromarray(photo), "PNG", icc_profile=lab), "l"), photo)
    np.testing.assert_array_equal(decode_image(packed(Image.fromarray(photo), "PNG", icc_profile=b"x"), "x"), photo)
    swapped = swapped_profile(srgb)
    moved = decode_image(packed(Image.fromarray(photo), "PNG", icc_profile=swapped), "p")
    np.testing.assert_allclose(moved, photo[..., [2, 1, 0]], atol=2)


def swapped_profile(profile: bytes) -> bytes:
    """The sRGB profile with the red and the blue primary exchanged: file red is shown as blue."""
    body = bytearray(profile)
    count = struct.unpack(">I", body[128:132])[0]
    at = {bytes(body[o : o + 4]): o for o in range(132, 132 + 12 * count, 12)}
    body[at[b"rXYZ"] : at[b"rXYZ"] + 4], body[at[b"bXYZ"] : at[b"bXYZ"] + 4] = b"bXYZ", b"rXYZ"
    return bytes(body)


def test_one_pixel_is_readable_and_refused_where_size_matters() -> None:
    image = decode_image(packed(Image.new("RGB", (1, 1), (3, 4, 5)), "PNG"), "dot.png")
    assert image.tolist() == [[[3, 4, 5]]]
    with pytest.raises(DataError, match=r"dot\.png: 1x1 pixels.*at least 16"):
        require_min_size(image, 16, "dot.png")
    require_min_size(image, 1, "dot.png")


@pytest.mark.parametrize(
    "content", [b"", b"P", b"hello, this is text", b"\x00" * 400, b"<svg></svg>", b"%!PS-Adobe-3.0 EPSF"]
)
def test_not_an_image(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.jpg"):
        read_image(path)


def test_missing_folder_and_unreadable_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.png: cannot open"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="cannot open"):
        read_image(tmp_path)
    with pytest.raises(DataError, match=r"DSC_1\.NEF: cannot open"):
        read_image(tmp_path / "DSC_1.NEF")
    with pytest.raises(DataError, match="RAW file is no mask"):
        read_values(tmp_path / "DSC_1.NEF")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused_by_name(kind: str, share: float, photo: np.ndarray, tmp_path: Path) -> None:
    whole = packed(Image.fromarray(np.tile(photo, (4, 4, 1))), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    path.write_bytes(whole[: max(20, int(len(whole) * share))])
    with pytest.raises(DataError, match=r"cut\."):
        read_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def outcome_of(content: bytes) -> str:
    try:
        decode_image(content, "broken", max_pixels=10**6)
    except DataError:
        return "refused"
    return "read"


def test_damaged_bytes_never_raise_anything_else(photo: np.ndarray) -> None:
    rng = np.random.default_rng(7)
    outcomes = {"read": 0, "refused": 0}
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"):
        whole = np.frombuffer(packed(Image.fromarray(photo), kind), np.uint8)
        for _ in range(25):
            broken = whole.copy()
            broken[rng.integers(0, len(broken), 6)] = rng.integers(0, 256, 6)
            outcomes[outcome_of(broken.tobytes())] += 1
    assert outcomes["refused"] > 20
    assert outcomes["read"] > 20


def test_pixel_limit_is_checked_on_the_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60_000, 60_000))
    limit_before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(DataError, match=r"bomb\.png: 60000x60000 = 3,600,000,000 pixels.*178,000,000.*--max-pixels"):
        read_image(path)
    with pytest.raises(DataError, match="limit of 10"):
        decode_image(packed(Image.new("RGB", (4, 3)), "PNG"), "small", max_pixels=10)
    assert decode_image(packed(Image.new("RGB", (4, 3)), "PNG"), "small", max_pixels=12).shape == (3, 4, 3)
    assert limit_before == Image.MAX_IMAGE_PIXELS
    assert MAX_PIXELS == 178_000_000


def test_a_raised_limit_goes_past_pillows_own(monkeypatch: pytest.MonkeyPatch, photo: np.ndarray) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    coded = packed(Image.fromarray(photo), "PNG")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(coded))
    assert decode_image(coded, "large").shape == photo.shape


def test_heic_without_plugin_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    coded = struct.pack(">I", 24) + b"ftypheic" + b"\x00" * 4 + b"mif1heic" + b"\x00" * 64
    with pytest.raises(DataError, match=r"IMG_1\.HEIC.*pillow-heif"):
        decode_image(coded, "IMG_1.HEIC")


def test_values_are_read_without_colour_conversion(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    picture = Image.fromarray((labels // 5000).astype(np.uint8), "P")
    picture.putpalette([255 - i // 3 for i in range(768)])
    picture.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_values(tmp_path / "palette.png"), labels // 5000)
    Image.fromarray(labels).save(tmp_path / "deep.png")
    values = read_values(tmp_path / "deep.png")
    assert values.dtype == np.int32
    np.testing.assert_array_equal(values, labels)
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match="label map"):
        read_values(tmp_path / "float.tif")


def test_hash_depends_on_content_and_shape(photo: np.ndarray) -> None:
    first = image_hash(photo)
    assert len(first) == 64
    assert first == image_hash(np.asfortranarray(photo))
    assert first != image_hash(photo.reshape(96, 64, 3))
    assert (
        image_hash(np.zeros((1, 2, 3), np.uint8)) == "6e5a6b1aa904f5d21c9fb1fe2a589861ddca873fd3b91043ae3ec4f2a96879ba"
    )
    with pytest.raises(DataError, match="uint8"):
        image_hash(photo.astype(np.float32))
