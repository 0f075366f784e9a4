"""Reads camera RAW files as scene light. The only place that imports rawpy (extra ``raw``).

From the sensor to scene light (``seagull_tune.distortions.scene``), the first half of a small, fixed development:

1. black level, white balance as the camera chose it, demosaicing, camera colours to sRGB primaries, orientation: by
   LibRaw, linear 16 bits, no brightening;
2. exposure: one gain for the whole photograph that brings its mean luminance to middle grey (:data:`MIDDLE_GREY`), at
   least 1 and at most 4 (two stops), so that what the sensor clipped is never below display white.

The second half, tone curve and sRGB, is ``scene.develop``; what happens in front of or on the sensor acts before it.

Legend: H, W height and width in pixels.
"""

from __future__ import annotations

import io
from types import ModuleType

import numpy as np

from seagull_tune.distortions.linear import UInt16
from seagull_tune.distortions.scene import SCENE_WHITE
from seagull_tune.errors import DataError, MissingDependencyError

RAW_SUFFIXES: tuple[str, ...] = (
    ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw",
)  # fmt: skip
"""Suffixes (lower case) of camera RAW files."""

MIDDLE_GREY = 0.18
"""Mean luminance that a photograph is exposed for; 1 is display white."""

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Luminance of R, G, B with sRGB primaries (Rec. ITU-R BT.709)."""
_LARGEST_GAIN = 4.0
_SENSOR_WHITE = 65535


def decode_raw(data: bytes, name: str, max_pixels: int) -> UInt16:
    """Scene light of a RAW file held in memory.

    Args:
        data: content of the file.
        name: what messages call it.
        max_pixels: largest H * W that is decoded; checked before any pixel is.

    Returns:
        (H, W, 3) uint16, ``SCENE_WHITE`` is display white; oriented as the camera was held.

    Raises:
        DataError: not a RAW file, damaged, or above ``max_pixels``.
        MissingDependencyError: rawpy is not installed.
    """
    rawpy = _rawpy(name)
    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            width, height = raw.sizes.width, raw.sizes.height
            if width * height > max_pixels:
                raise DataError(
                    f"{name}: {width}x{height} = {width * height:,} pixels is above the limit of {max_pixels:,}; raise "
                    "the limit with --max-pixels."
                )
            linear = raw.postprocess(
                gamma=(1, 1), no_auto_bright=True, output_bps=16, use_camera_wb=True, output_color=rawpy.ColorSpace.sRGB
            )
    except rawpy.LibRawError as error:
        raise DataError(
            f"{name}: not a camera RAW file that LibRaw can read, or a damaged one ({_reason(error)}). Replace the "
            "file, or develop it to JPEG, PNG or TIFF with the camera maker's program."
        ) from error
    return expose(np.asarray(linear, dtype=np.uint16))


def expose(linear: UInt16) -> UInt16:
    """Scene light of linear sensor values: the second step above.

    Args:
        linear: (H, W, 3) uint16, sRGB primaries, 65535 is where the sensor clips.

    Returns:
        (H, W, 3) uint16 scene light.
    """
    mean = float(linear.reshape(-1, 3).mean(axis=0, dtype=np.float64) @ _LUMINANCE) / _SENSOR_WHITE
    gain = _LARGEST_GAIN if mean <= 0.0 else min(_LARGEST_GAIN, max(1.0, MIDDLE_GREY / mean))
    table = np.rint(np.arange(_SENSOR_WHITE + 1) * (gain * SCENE_WHITE / _SENSOR_WHITE))
    return np.asarray(np.take(np.minimum(table, 65535).astype(np.uint16), linear), dtype=np.uint16)


def raw_versions() -> dict[str, str]:
    """Versions that pixels of RAW files depend on (kept beside a data set).

    Raises:
        MissingDependencyError: rawpy is not installed.
    """
    rawpy = _rawpy("a data set")
    return {"rawpy": str(rawpy.__version__), "libraw": ".".join(map(str, rawpy.libraw_version))}


def _rawpy(name: str) -> ModuleType:
    try:
        import rawpy
    except ImportError as error:
        raise MissingDependencyError(
            f"{name}: camera RAW files need rawpy: pip install 'seagull-tune[raw]', or develop the file to JPEG, PNG "
            "or TIFF first."
        ) from error
    return rawpy  # type: ignore[no-any-return]


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else type(error).__name__
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
