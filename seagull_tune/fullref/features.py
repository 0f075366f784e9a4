"""What the measure looks at: local features of one image, the same for the reference and for the distorted side.

Legend: H, W image size; h, w working size (H, W divided by the working factor).

The ideas, each in our own arithmetic (no code of the original authors):

- local mean and standard deviation of the luminance (Wang et al., "Image quality assessment: from error visibility to
  structural similarity", IEEE TIP 2004);
- gradient magnitude of the luminance (Xue et al., "Gradient magnitude similarity deviation", IEEE TIP 2014), here on
  two scales;
- opponent chroma in the channels of the Gaussian colour model (Geusebroek et al., "Color invariance", IEEE TPAMI 2001),
  as VSI and MDSI have it (Zhang et al., "VSI: a visual saliency-induced index", IEEE TIP 2014; Nafchi et al., "Mean
  deviation similarity index", IEEE Access 2016). Grey keeps a little chroma there (-0.01 and -0.09 of its level), alike
  on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seagull_tune.errors import DataError

# Rows: luminance (Rec. 601); yellow against blue and red against green, first and second spectral derivative of the
# Gaussian colour model.
_OPPONENT = np.array([[0.299, 0.587, 0.114], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]], dtype=np.float32)

MIN_SIDE_AT_FULL_SIZE = 384
"""The short side that is measured at full size; longer ones are reduced by the integer nearest to short / 384."""

MEAN_WINDOW = (7, 7)
"""Window of the local mean and standard deviation, in working pixels."""

CHROMA_WINDOW = (3, 3)
"""Window in which chroma is averaged: the eye resolves colour more coarsely than light."""


@dataclass(frozen=True)
class Features:
    """Local features of one image at working size, all float32.

    Attributes:
        gradients: gradient magnitude of the luminance at working size (h, w) and at half of it, grey levels per pixel.
        mean: local mean of the luminance, (h, w), 0..255.
        deviation: local standard deviation of the luminance, (h, w), >= 0.
        chroma: locally averaged yellow-blue and red-green opponent channels, (h, w) each, -89.3..86.7 and -153..130.1.
    """

    gradients: tuple[np.ndarray, np.ndarray]
    mean: np.ndarray
    deviation: np.ndarray
    chroma: tuple[np.ndarray, np.ndarray]


def working_factor(height: int, width: int) -> int:
    """The integer by which both sides are reduced before measuring, so that scores refer to a usual viewing size."""
    return max(1, round(min(height, width) / MIN_SIDE_AT_FULL_SIZE))


def check_image(image: np.ndarray, what: str) -> None:
    """Raise DataError unless ``image`` is a uint8 RGB array of shape (H, W, 3) with at least one pixel."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(
            f"The {what} image has shape {image.shape} and type {image.dtype}; "
            "allowed: uint8 RGB of shape (H, W, 3). Convert it with seagull_tune.images.read_image."
        )


def vector_length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """sqrt(x^2 + y^2), float32 (h, w). Not cv2.magnitude: its last bit depends on where the arrays lie in memory."""
    return np.sqrt(x * x + y * y)


def gradient_magnitude(plane: np.ndarray) -> np.ndarray:
    """Scharr gradient magnitude, normalised so that a unit ramp has magnitude one: float32 (h, w) -> float32 (h, w)."""
    gx = cv2.Scharr(plane, cv2.CV_32F, 1, 0, scale=1.0 / 32.0)
    gy = cv2.Scharr(plane, cv2.CV_32F, 0, 1, scale=1.0 / 32.0)
    return vector_length(gx, gy)


def half_size(plane: np.ndarray) -> np.ndarray:
    """Half of both sides by area averaging, at least one pixel: float32 (h, w) -> (ceil(h / 2), ceil(w / 2))."""
    height, width = plane.shape[:2]
    return cv2.resize(plane, ((width + 1) // 2, (height + 1) // 2), interpolation=cv2.INTER_AREA)


def extract(image: np.ndarray) -> Features:
    """Features of one image.

    Args:
        image: uint8 RGB, (H, W, 3).

    Returns:
        The features at working size.
    """
    height, width = image.shape[:2]
    factor = working_factor(height, width)
    if factor > 1:
        size = (max(1, round(width / factor)), max(1, round(height / factor)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    luminance, yellow_blue, red_green = cv2.split(cv2.transform(image.astype(np.float32), _OPPONENT))
    mean = cv2.blur(luminance, MEAN_WINDOW)
    square: np.ndarray = cv2.sqrBoxFilter(luminance, cv2.CV_32F, MEAN_WINDOW)
    return Features(
        gradients=(gradient_magnitude(luminance), gradient_magnitude(half_size(luminance))),
        mean=mean,
        deviation=np.sqrt(np.maximum(square - mean * mean, np.float32(0.0))),
        chroma=(cv2.blur(yellow_blue, CHROMA_WINDOW), cv2.blur(red_green, CHROMA_WINDOW)),
    )
