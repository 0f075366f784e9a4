"""Quality and importance of regions from one similarity map per image pair.

    reference, distorted -> features -> SimilarityMap (similarity S, visual weights w) -> pooled under every mask

The map. Five distances, each 0 where the two sides agree, are added and turned into a similarity in (0, 1]:

    S = exp(-(3.2 D_gradient + 0.4 D_coarse_gradient + 0.7 D_mean + 0.5 D_deviation + 1.0 D_chroma))
    D(a, b) = (a - b)^2 / (a^2 + b^2 + C)

``D`` is one minus the similarity quotient of Wang et al. (SSIM, 2004). D_gradient compares gradient magnitudes (idea:
Xue et al., GMSD, 2014) at full and half working size, times ``1 + 0.6 (b - a) / (a + b + sqrt(C))``: an edge that was
added (noise, blocking, ringing) costs more than one that was lost. D_mean and D_deviation compare the local mean and
standard deviation of the luminance (Wang et al.); D_chroma the opponent chroma vectors, in the channels of VSI and MDSI
(ideas: Zhang et al., VSI, 2014; Nafchi et al., MDSI, 2016). The constants are ours: tuned for rank agreement with VSI
and MDSI together on region crops (``benchmarks/label_validity.py``) within bounds that keep every term at work.

Visual weights come from the reference alone, as in VSI: ``1 + (gradient + chroma, 9x9 mean) / 16``, so detail and
colour count more than flat grey, and nothing counts zero.

Quality of a region. The loss 1 - S is pooled with a quartic mean, ``P = 1 - (sum w (1 - S)^4 / sum w)^(1/4)``. Strong
local damage thus weighs more than its area (what the deviation pooling of GMSD and MDSI is after), yet, unlike a
deviation, P never rises when any pixel gets worse. A piecewise-linear map takes P to quality in [0, 1]. Its inner knots
are the borders between the five levels, set so that on the default mixture of recipes every level has the share of the
labels that it had with ``seagull-fr-1``, which used them evenly; 1 stays 1.

Importance of a region. Q is the plain weighted mean of S over the image, so loss is additive: with the map set to 1
inside the region, Q grows by exactly the region's share of the loss, importance = (Q' - Q) / (1 - Q), and the
importances of a partition of the image add to 1. It is not scored (NaN) where Q > 0.999.

The map, the pooling and the calibration are final for this MEASURE_VERSION; changing any constant needs a new version,
since labels and the severity table depend on it.

Legend: H, W image size; R regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from seagull_tune.errors import DataError
from seagull_tune.fullref.features import Features, check_image, extract, vector_length
from seagull_tune.regions.windows import MaskWindows

MEASURE_VERSION = "seagull-fr-2"
"""Names the map, the pooling and the calibration; stored with every data set."""

# Stability constants: squares of the magnitude (grey levels of 0..255, or grey levels per pixel) below which a
# difference hardly shows.
_C_GRADIENT = 60.0
_C_MEAN = 2000.0
_C_DEVIATION = 500.0
_C_CHROMA = 500.0

# Weights of the distances in the exponent; gradients at full and at half working size.
_W_GRADIENT = (3.2, 0.4)
_W_MEAN = 0.7
_W_DEVIATION = 0.5
_W_CHROMA = 1.0

_ADDED_EDGES = 0.6
_SALIENCE_WINDOW = (9, 9)
_SALIENCE_SCALE = 16.0

UNSCORED_ABOVE = 0.999
"""Whole-image similarity Q above which importance is not scored: there is no loss to share out."""

_KNOTS_POOLED = (0.0, 0.272, 0.446, 0.569, 0.67, 0.844, 1.0)
_KNOTS_QUALITY = (0.0, 0.03, 0.125, 0.375, 0.625, 0.875, 1.0)


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
        image_quality: Q, the weighted mean similarity of the whole image, [0, 1]; not calibrated.
    """

    quality: np.ndarray
    importance: np.ndarray
    image_quality: float


def _quotient(squared_difference: np.ndarray, power: np.ndarray, constant: float) -> np.ndarray:
    """squared_difference / (power + constant), in place of ``squared_difference``."""
    power += np.float32(constant)
    squared_difference /= power
    return squared_difference


def _distance(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    """(a - b)^2 / (a^2 + b^2 + constant): one minus the usual similarity quotient; exactly 0 where a equals b."""
    difference = a - b
    power = a * a
    power += b * b
    return _quotient(np.square(difference, out=difference), power, constant)


def _gradient_distance(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    """The distance of gradient magnitudes, larger where the distorted side ``b`` has an edge that ``a`` has not."""
    relative = a + b
    relative += np.float32(constant**0.5)
    np.divide(b - a, relative, out=relative)
    relative *= np.float32(_ADDED_EDGES)
    relative += np.float32(1.0)
    relative *= _distance(a, b, constant)
    return relative


def _chroma_distance(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The distance of two-dimensional chroma vectors: |a - b|^2 / (|a|^2 + |b|^2 + constant)."""
    difference = np.square(a[0] - b[0])
    difference += np.square(a[1] - b[1])
    power = a[0] * a[0]
    for plane in (a[1], b[0], b[1]):
        power += plane * plane
    return _quotient(difference, power, _C_CHROMA)


def _visual_weights(features: Features) -> np.ndarray:
    salience = features.gradients[0] + vector_length(*features.chroma)
    return np.float32(1.0) + cv2.blur(salience, _SALIENCE_WINDOW) / np.float32(_SALIENCE_SCALE)


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
        # Negative exponent: the distances, weighted and added.
        coarse = _W_GRADIENT[1] * _gradient_distance(ref.gradients[1], dist.gradients[1], _C_GRADIENT)
        exponent = cv2.resize(coarse, ref.mean.shape[::-1], interpolation=cv2.INTER_LINEAR)
        for weight, distance in (
            (_W_GRADIENT[0], _gradient_distance(ref.gradients[0], dist.gradients[0], _C_GRADIENT)),
            (_W_MEAN, _distance(ref.mean, dist.mean, _C_MEAN)),
            (_W_DEVIATION, _distance(ref.deviation, dist.deviation, _C_DEVIATION)),
            (_W_CHROMA, _chroma_distance(ref.chroma, dist.chroma)),
        ):
            distance *= np.float32(weight)
            exponent += distance
        similarity = cv2.exp(np.negative(exponent, out=exponent))
        return SimilarityMap(self._to_image_size(similarity), self._weights)


def similarity_map(reference: np.ndarray, distorted: np.ndarray) -> SimilarityMap:
    """The similarity map of one image pair; see :class:`Reference` for many versions of one photograph."""
    return Reference(reference).compare(distorted)


def calibrated_quality(pooled: np.ndarray) -> np.ndarray:
    """Quality in [0, 1] of quartic-mean pooled similarities in [0, 1]: strictly rising, exactly 1 at 1."""
    return np.interp(pooled, _KNOTS_POOLED, _KNOTS_QUALITY)


def measure_regions(similarity: SimilarityMap, masks: np.ndarray | MaskWindows) -> RegionMeasures:
    """Quality and importance of every region from one map, in one pass.

    Args:
        similarity: from :meth:`Reference.compare`.
        masks: bool (R, H, W), each with at least one pixel, may overlap; or, where many maps of one image are measured,
            the same masks prepared once.

    Raises:
        RegionError: wrong type or size, or an empty mask.
    """
    windows = MaskWindows.of(masks)
    windows.check_size(similarity.similarity.shape)
    loss = 1.0 - similarity.similarity
    weighted = similarity.weights * loss
    terms = cv2.merge([similarity.weights, weighted, weighted * loss * loss * loss])  # (H, W, 3)
    everything = cv2.mean(terms)
    image_quality = 1.0 - everything[1] / everything[0]
    means = windows.means(terms)  # (R, 3)
    quality = calibrated_quality(1.0 - np.sqrt(np.sqrt(means[:, 2] / means[:, 0])))
    if image_quality > UNSCORED_ABOVE:
        importance = np.full(len(windows), np.nan)
    else:
        share = windows.areas / loss.size
        importance = np.clip(means[:, 1] * share / everything[1], 0.0, 1.0)
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
