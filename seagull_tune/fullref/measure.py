"""Quality and importance of regions from one similarity map per image pair.

    reference, distorted -> features -> SimilarityMap (similarity, visual weights) -> pooled under every mask

Draft of the constants: they will be fixed by calibration.

Legend: H, W image size; R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seagull_tune.errors import DataError, RegionError
from seagull_tune.fullref.features import Features, check_image, extract

MEASURE_VERSION = "seagull-fr-0"

# Stability constants of the similarity terms, in units of their features squared (grey levels of 0..255).
_C_GRADIENT = 30.0
_C_MEAN = 400.0
_C_DEVIATION = 60.0
_C_CHROMA = 300.0
# Weights of the terms in the exponent.
_W_GRADIENT = (1.0, 1.0)
_W_MEAN = 3.0
_W_DEVIATION = 1.0
_W_CHROMA = 1.0

UNSCORED_ABOVE = 0.999
"""Whole-image similarity above which importance is not scored: there is no loss to share out."""

_KNOTS_SIMILARITY = (0.0, 0.30, 0.50, 0.68, 0.84, 1.0)
_KNOTS_QUALITY = (0.0, 0.10, 0.30, 0.50, 0.70, 1.0)


@dataclass(frozen=True)
class SimilarityMap:
    """The measure's map of one image pair.

    Attributes:
        similarity: float32 (H, W), (0, 1]; exactly 1 where the two images agree.
        weights: float32 (H, W), > 0; visual weights taken from the reference alone.
    """

    similarity: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class RegionMeasures:
    """Labels of R regions.

    Attributes:
        quality: float64 (R,), [0, 1].
        importance: float64 (R,), [0, 1]; NaN where not scored.
        image_quality: the linear pooled similarity Q of the whole image, [0, 1].
    """

    quality: np.ndarray
    importance: np.ndarray
    image_quality: float


def _distance(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    """(a - b)^2 / (a^2 + b^2 + constant): one minus the usual similarity quotient; exactly 0 where a equals b."""
    difference = a - b
    return difference * difference / (a * a + b * b + np.float32(constant))


def _visual_weights(features: Features) -> np.ndarray:
    chroma = cv2.magnitude(features.chroma[:, :, 0].copy(), features.chroma[:, :, 1].copy())
    salience = features.gradients[0] + 0.5 * features.deviation + 0.25 * chroma
    return np.float32(8.0) + cv2.blur(salience, (9, 9))


class Reference:
    """One photograph's side of the measure, computed once for many distorted versions.

    Args:
        image: uint8 RGB, (H, W, 3).

    Raises:
        DataError: not a uint8 RGB image.
    """

    def __init__(self, image: np.ndarray) -> None:
        check_image(image, "reference")
        self.height, self.width = image.shape[:2]
        self._features = extract(image)
        self._weights = self._to_image_size(_visual_weights(self._features))

    def _to_image_size(self, plane: np.ndarray) -> np.ndarray:
        if plane.shape == (self.height, self.width):
            return plane
        return cv2.resize(plane, (self.width, self.height), interpolation=cv2.INTER_LINEAR)

    def compare(self, distorted: np.ndarray) -> SimilarityMap:
        """The similarity map between this photograph and a distorted version of it.

        Args:
            distorted: uint8 RGB, (H, W, 3), same size as the reference.

        Raises:
            DataError: not a uint8 RGB image, or of another size.
        """
        check_image(distorted, "distorted")
        if distorted.shape[:2] != (self.height, self.width):
            raise DataError(
                f"The distorted image is {distorted.shape[1]}x{distorted.shape[0]} pixels, its reference "
                f"{self.width}x{self.height}; both must have one size."
            )
        ref, dist = self._features, extract(distorted)
        loss = _W_GRADIENT[0] * _distance(ref.gradients[0], dist.gradients[0], _C_GRADIENT)
        coarse = _W_GRADIENT[1] * _distance(ref.gradients[1], dist.gradients[1], _C_GRADIENT)
        loss += cv2.resize(coarse, (loss.shape[1], loss.shape[0]), interpolation=cv2.INTER_LINEAR)
        loss += _W_MEAN * _distance(ref.mean, dist.mean, _C_MEAN)
        loss += _W_DEVIATION * _distance(ref.deviation, dist.deviation, _C_DEVIATION)
        difference = ref.chroma - dist.chroma
        power = ref.chroma * ref.chroma + dist.chroma * dist.chroma
        loss += _W_CHROMA * (difference * difference).sum(2) / (power.sum(2) + np.float32(_C_CHROMA))
        similarity = cv2.exp(-loss.astype(np.float32))
        return SimilarityMap(self._to_image_size(similarity), self._weights)


def similarity_map(reference: np.ndarray, distorted: np.ndarray) -> SimilarityMap:
    """The similarity map of one image pair; see :class:`Reference` for many versions of one photograph."""
    return Reference(reference).compare(distorted)


def quality_from_similarity(similarity: np.ndarray) -> np.ndarray:
    """Calibrated quality in [0, 1] of pooled similarities, monotone; exactly 1 at 1."""
    return np.interp(similarity, _KNOTS_SIMILARITY, _KNOTS_QUALITY)


def _check_masks(masks: np.ndarray, shape: tuple[int, ...]) -> None:
    if masks.ndim != 3 or masks.dtype != np.bool_ or masks.shape[1:] != shape:
        raise RegionError(
            f"Masks have shape {masks.shape} and type {masks.dtype}; allowed: bool (R, {shape[0]}, {shape[1]}), "
            "the size of the image."
        )
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    if empty.size:
        raise RegionError(f"Region {int(empty[0])} is empty: a region needs at least one pixel.")


def measure_regions(similarity: SimilarityMap, masks: np.ndarray) -> RegionMeasures:
    """Quality and importance of every region from one map, in one pass.

    Args:
        similarity: from :meth:`Reference.compare`.
        masks: bool (R, H, W), each with at least one pixel; may overlap.

    Raises:
        RegionError: wrong type or size, or an empty mask.
    """
    _check_masks(masks, similarity.similarity.shape)
    weights = similarity.weights.astype(np.float64).ravel()
    loss = (1.0 - similarity.similarity.astype(np.float64).ravel()) * weights
    flat = masks.reshape(masks.shape[0], -1).astype(np.float64)
    sums = flat @ np.stack([weights, loss], axis=1)
    total_weight, total_loss = weights.sum(), loss.sum()
    image_quality = float(1.0 - total_loss / total_weight)
    quality = quality_from_similarity(1.0 - sums[:, 1] / sums[:, 0])
    if image_quality > UNSCORED_ABOVE:
        importance = np.full(len(masks), np.nan)
    else:
        importance = np.clip(sums[:, 1] / total_loss, 0.0, 1.0)
    return RegionMeasures(quality=quality, importance=importance, image_quality=image_quality)


def label_regions(reference: np.ndarray, distorted: np.ndarray, masks: np.ndarray) -> RegionMeasures:
    """Quality and importance of regions of one image pair.

    Args:
        reference, distorted: uint8 RGB, (H, W, 3), one size.
        masks: bool (R, H, W).

    Raises:
        DataError: an image cannot be used.  RegionError: a mask cannot be used.
    """
    return measure_regions(similarity_map(reference, distorted), masks)
