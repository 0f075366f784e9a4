"""Compression: JPEG (4:2:0) and lossy WebP, encoded and decoded by Pillow in memory.

Always computed on the whole picture, since blocks lie on its grid. The result depends on the versions of libjpeg-turbo
and libwebp that Pillow carries (:func:`codec_versions`).

Params: ``quality`` of the encoder, a whole number, JPEG 1..95, WebP 0..100.
"""

from __future__ import annotations

import io

import numpy as np
import PIL.features
import PIL.Image

from seagull_tune.distortions.base import Image, Params, Variant

_WEBP_METHOD = 2
"""Effort of the WebP encoder; higher ones cost more time for little."""


def _decode(data: io.BytesIO) -> Image:
    data.seek(0)
    with PIL.Image.open(data) as picture:
        return np.array(picture.convert("RGB"), dtype=np.uint8)


def _jpeg(image: Image, params: Params, rng: np.random.Generator) -> Image:
    data = io.BytesIO()
    PIL.Image.fromarray(image).save(data, "JPEG", quality=round(params["quality"]), subsampling=2)
    return _decode(data)


def _webp(image: Image, params: Params, rng: np.random.Generator) -> Image:
    data = io.BytesIO()
    PIL.Image.fromarray(image).save(data, "WEBP", quality=round(params["quality"]), method=_WEBP_METHOD)
    return _decode(data)


def codec_versions() -> dict[str, str]:
    """Versions of the codecs that pixels of this type depend on (kept beside a data set)."""
    return {
        "pillow": PIL.__version__,
        "libjpeg_turbo": str(PIL.features.version_feature("libjpeg_turbo")),
        "webp": str(PIL.features.version_module("webp")),
    }


VARIANTS = (
    Variant("compression", "jpeg", _jpeg, lambda s: {"quality": float(round(95 - 94 * s))}),
    Variant("compression", "webp", _webp, lambda s: {"quality": float(round(100 - 100 * s))}),
)
