"""Published full-reference measures as per-pixel maps: SSIM, MS-SSIM, GMSD, VSI.

Each is written from its paper's formulas, in numpy and OpenCV. What is summed over pixels in the paper stays a map
here, at image size, so that one computation serves every region; what the paper does after averaging is ``score``.

- SSIM: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, eq. 13;
  Gaussian window of 11 pixels, sigma 1.5; both sides reduced by round(short side / 256), as its authors advise.
- MS-SSIM: Wang et al., "Multiscale structural similarity for image quality assessment", Asilomar 2003, eq. 7.
- GMSD: Xue et al., "Gradient magnitude similarity deviation", IEEE TIP 2014, eq. 3 and 5; here 1 - GMSD.
- VSI: Zhang et al., "VSI: a visual saliency-induced index for perceptual image quality assessment", IEEE TIP 2014,
  eq. 6 to 11; saliency by SDSP (Zhang et al., ICIP 2013) with the constants of the VSI paper.

Edges: pictures are mirrored at their border where the papers cut the border off or take it as black.

Legend: H, W image size; h, w working size; K planes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

SSIM_SIGMA, SSIM_WINDOW = 1.5, (11, 11)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
GMSD_T = 170.0
_VSI_C = (1.27, 386.0, 130.0)
_VSI_ALPHA, _VSI_BETA = 0.4, 0.02
_LUMA = np.array([[0.299, 0.587, 0.114]], dtype=np.float32)
_LMN = np.array([[0.06, 0.63, 0.27], [0.30, 0.04, -0.35], [0.34, -0.60, 0.17]], dtype=np.float32)
_SDSP_SIZE, _SDSP_OMEGA, _SDSP_SIGMA_F, _SDSP_SIGMA_D, _SDSP_SIGMA_C = 256, 0.021, 1.34, 145.0, 0.001
_COLOURLESS = 0.5  # units of Lab


@dataclass(frozen=True)
class MetricMaps:
    """Maps of one image pair, float32 (H, W) each.

    Attributes:
        planes: K maps; ``score`` takes their weighted means.
        weights: >= 0.
        similarity: [0, 1], 1 where the two sides agree; its loss is what importance shares out.
    """

    planes: tuple[np.ndarray, ...]
    weights: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class MapMetric:
    """A measure as maps and what is done with their means.

    Attributes:
        name: of the measure.
        maps: (reference, distorted), uint8 RGB (H, W, 3) each, one size -> maps.
        score: means of the planes, float64 (R, K) -> raw values (R,), higher is better, 1 where both sides agree.
    """

    name: str
    maps: Callable[[np.ndarray, np.ndarray], MetricMaps]
    score: Callable[[np.ndarray], np.ndarray]


def ssim_planes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM, and its contrast-structure part alone, of two planes: float32 (h, w), 0..255 -> float32 (h, w) each."""

    def smooth(plane: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(plane, SSIM_WINDOW, SSIM_SIGMA, borderType=cv2.BORDER_REFLECT_101)

    # In double precision: variances are small differences of large squares.
    x, y = x.astype(np.float64), y.astype(np.float64)
    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y = smooth(x * x) - mean_x * mean_x, smooth(y * y) - mean_y * mean_y
    covariance = smooth(x * y) - mean_x * mean_y
    structure = (2.0 * covariance + _C2) / (var_x + var_y + _C2)
    full = structure * (2.0 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1)
    return full.astype(np.float32), structure.astype(np.float32)


def ssim_maps(reference: np.ndarray, distorted: np.ndarray) -> MetricMaps:
    """SSIM of the luminance."""
    factor = max(1, round(min(reference.shape[:2]) / 256))
    full = ssim_planes(_reduced(_luminance(reference), factor), _reduced(_luminance(distorted), factor))[0]
    plane = _to_size(full, reference)
    return MetricMaps((plane,), np.ones_like(plane), np.clip(plane, 0.0, 1.0))


def ms_ssim_maps(reference: np.ndarray, distorted: np.ndarray) -> MetricMaps:
    """Contrast-structure at four scales, and SSIM at the fifth and coarsest."""
    x, y = _luminance(reference), _luminance(distorted)
    planes = []
    for scale in range(len(MS_WEIGHTS)):
        full, structure = ssim_planes(x, y)
        planes.append(_to_size(full if scale == len(MS_WEIGHTS) - 1 else structure, reference))
        x, y = _reduced(x, 2), _reduced(y, 2)
    similarity = np.ones_like(planes[0])
    for plane, weight in zip(planes, MS_WEIGHTS, strict=True):
        similarity *= np.clip(plane, 0.0, 1.0) ** np.float32(weight)
    return MetricMaps(tuple(planes), np.ones_like(similarity), similarity)


def gmsd_maps(reference: np.ndarray, distorted: np.ndarray) -> MetricMaps:
    """One minus the gradient magnitude similarity at half size, and its square."""
    a, b = (_prewitt(_reduced(_luminance(image), 2)) for image in (reference, distorted))
    # Rounding may take a quotient above 1 by the last bit.
    loss = _to_size(np.maximum(1.0 - _similar(a, b, GMSD_T), np.float32(0.0)), reference)
    return MetricMaps((loss, loss * loss), np.ones_like(loss), 1.0 - loss)


def vsi_maps(reference: np.ndarray, distorted: np.ndarray) -> MetricMaps:
    """Similarity of saliency, gradient and chroma, weighted by the larger saliency of both sides."""
    factor = max(1, round(min(reference.shape[:2]) / 256))
    salience = [_reduced(saliency(image), factor) for image in (reference, distorted)]
    lmn = [
        cv2.split(_reduced(cv2.transform(image.astype(np.float32), _LMN), factor)) for image in (reference, distorted)
    ]
    gradients = [_scharr(planes[0]) for planes in lmn]
    chroma = _similar(lmn[0][1], lmn[1][1], _VSI_C[2]) * _similar(lmn[0][2], lmn[1][2], _VSI_C[2])
    # A negative product has a complex power; its real part is |c|^b cos(pi b).
    chroma = np.abs(chroma) ** _VSI_BETA * np.where(
        chroma < 0.0, np.float32(np.cos(np.pi * _VSI_BETA)), np.float32(1.0)
    )
    found = _similar(salience[0], salience[1], _VSI_C[0]) * chroma
    found *= _similar(gradients[0], gradients[1], _VSI_C[1]) ** _VSI_ALPHA
    plane = _to_size(found.astype(np.float32), reference)
    # A region without any saliency still has a mean.
    weights = _to_size(np.maximum(salience[0], salience[1]) + np.float32(1e-6), reference)
    return MetricMaps((plane,), weights, np.clip(plane, 0.0, 1.0))


def saliency(image: np.ndarray) -> np.ndarray:
    """SDSP saliency of a uint8 RGB (H, W, 3) picture: frequency, warm colour and centre priors; float32 (H, W), [0, 1].

    Computed at 256 x 256 pixels, as in the paper.
    """
    size = (_SDSP_SIZE, _SDSP_SIZE)
    small = cv2.resize(image.astype(np.float32) / 255.0, size, interpolation=cv2.INTER_LINEAR)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float64)
    frequency = np.fft.fftfreq(_SDSP_SIZE)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    radius[0, 0] = 1.0
    passed = np.exp(-(np.log(radius / _SDSP_OMEGA) ** 2) / (2.0 * _SDSP_SIGMA_F**2)) * (radius <= 0.5)
    passed[0, 0] = 0.0
    filtered = np.fft.ifft2(np.fft.fft2(lab, axes=(0, 1)) * passed[:, :, None], axes=(0, 1)).real
    offsets = np.arange(_SDSP_SIZE) - _SDSP_SIZE / 2 + 1.0
    centre = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / _SDSP_SIGMA_D**2)
    found = np.sqrt((filtered**2).sum(axis=2)) * centre * _warmth(lab)
    height, width = image.shape[:2]
    return _stretched(cv2.resize(found.astype(np.float32), (width, height))).astype(np.float32)


def _warmth(lab: np.ndarray) -> np.ndarray | float:
    """The prior for warm colours of a Lab picture (h, w, 3); 1 for a colourless one: its chroma is rounding noise."""
    if max(np.ptp(lab[:, :, 1]), np.ptp(lab[:, :, 2])) < _COLOURLESS:
        return 1.0
    warm = _stretched(lab[:, :, 1]) ** 2 + _stretched(lab[:, :, 2]) ** 2
    return np.asarray(1.0 - np.exp(-warm / _SDSP_SIGMA_C**2))


def _ms_score(means: np.ndarray) -> np.ndarray:
    return np.asarray(np.prod(np.maximum(means, 0.0) ** np.array(MS_WEIGHTS), axis=1))


def _deviation_score(means: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 - np.sqrt(np.maximum(means[:, 1] - means[:, 0] ** 2, 0.0)))


def _first(means: np.ndarray) -> np.ndarray:
    return np.asarray(means[:, 0])


METRICS: Mapping[str, MapMetric] = {
    metric.name: metric
    for metric in (
        MapMetric("ssim", ssim_maps, _first),
        MapMetric("ms_ssim", ms_ssim_maps, _ms_score),
        MapMetric("gmsd", gmsd_maps, _deviation_score),
        MapMetric("vsi", vsi_maps, _first),
    )
}
"""The measures by name."""


def _luminance(image: np.ndarray) -> np.ndarray:
    """Rec. 601 luminance, float32 (H, W), 0..255."""
    return cv2.transform(image.astype(np.float32), _LUMA)


def _reduced(plane: np.ndarray, factor: int) -> np.ndarray:
    """Both sides divided by a whole number, by area averaging; at least one pixel stays."""
    height, width = plane.shape[:2]
    size = (max(1, -(-width // factor)), max(1, -(-height // factor)))
    return plane if factor == 1 else cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def _to_size(plane: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A map at image size: every pixel takes the value of the working pixel that it lies in, so no mean changes."""
    height, width = image.shape[:2]
    if plane.shape == (height, width):
        return plane
    return cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _similar(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    return np.asarray((2.0 * a * b + np.float32(constant)) / (a * a + b * b + np.float32(constant)))


def _prewitt(plane: np.ndarray) -> np.ndarray:
    kernel = np.array([[1, 0, -1]] * 3, dtype=np.float32) / 3.0
    across, down = (cv2.filter2D(plane, cv2.CV_32F, k, borderType=cv2.BORDER_REFLECT_101) for k in (kernel, kernel.T))
    return np.sqrt(across * across + down * down)


def _scharr(plane: np.ndarray) -> np.ndarray:
    across, down = (cv2.Scharr(plane, cv2.CV_32F, dx, 1 - dx, scale=1.0 / 16.0) for dx in (1, 0))
    return np.sqrt(across * across + down * down)


def _stretched(plane: np.ndarray) -> np.ndarray:
    low, high = plane.min(), plane.max()
    return np.asarray((plane - low) / max(float(high - low), 1e-7))
