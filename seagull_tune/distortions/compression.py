"""Compression: JPEG (4:2:0), lossy WebP, AVIF (4:2:0), and JPEG again and again; coded by Pillow in memory.

Always computed on the whole picture, since blocks lie on its grid. The result depends on the versions of libjpeg-turbo,
libwebp and libavif that Pillow carries (:func:`codec_versions`).

Params: ``quality`` of the encoder, a whole number, JPEG 1..95, WebP and AVIF 0..100; ``generations`` (jpeg_repeated)
how often the picture is coded. Between two generations its place on the block grid is drawn anew, as when it is cropped
and saved: without that the second generation would change next to nothing.
"""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL.features
import PIL.Image

from seagull_tune.distortions.base import Image, Params, Variant
from seagull_tune.errors import MissingDependencyError

_WEBP_METHOD = 2
"""Effort of the WebP encoder; higher ones cost more time for little."""
_AVIF_SPEED = 8
"""Speed of the AVIF encoder, 0..10; slower ones cost much more time for little."""
_GENERATIONS = 5
_BLOCK = 16
"""Side of a JPEG unit with 4:2:0 chroma, in pixels."""


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


def _jpeg_repeated(image: Image, params: Params, rng: np.random.Generator) -> Image:
    height, width = image.shape[:2]
    for top, left in rng.integers(_BLOCK, size=(round(params["generations"]), 2)).tolist():
        placed = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REPLICATE)
        image = _jpeg(np.asarray(placed, dtype=np.uint8), params, rng)[top : top + height, left : left + width]
    return np.ascontiguousarray(image)


def _avif(image: Image, params: Params, rng: np.random.Generator) -> Image:
    if not PIL.features.check("avif"):
        raise MissingDependencyError(
            f"This Pillow ({PIL.__version__}) was built without AVIF, and a recipe asks for compression/avif. Install "
            "Pillow's own wheel (pip install 'pillow>=11.3'), or leave avif out of mix.variants.compression."
        )
    data = io.BytesIO()
    # One thread: the encoder's result must not depend on how many processors there are.
    PIL.Image.fromarray(image).save(
        data, "AVIF", quality=round(params["quality"]), subsampling="4:2:0", speed=_AVIF_SPEED, max_threads=1
    )
    return _decode(data)


def codec_versions() -> dict[str, str]:
    """Versions of the codecs that pixels of this type depend on (kept beside a data set)."""
    return {
        "pillow": PIL.__version__,
        "libjpeg_turbo": str(PIL.features.version_feature("libjpeg_turbo")),
        "webp": str(PIL.features.version_module("webp")),
        "avif": str(PIL.features.version_module("avif")),
    }


VARIANTS = (
    Variant("compression", "jpeg", _jpeg, lambda s: {"quality": float(round(95 - 94 * s))}),
    Variant("compression", "webp", _webp, lambda s: {"quality": float(round(100 - 100 * s))}),
    Variant("compression", "avif", _avif, lambda s: {"quality": float(round(100 - 100 * s))}),
    Variant(
        "compression",
        "jpeg_repeated",
        _jpeg_repeated,
        lambda s: {"quality": float(round(95 - 94 * s)), "generations": float(_GENERATIONS)},
    ),
)
