"""The published measures: their global values against piq's, and what every map must be."""

from __future__ import annotations

import cv2
import numpy as np
import piq
import pytest
import skimage.data
import torch

from data_builders.labelers.maps import METRICS
from data_builders.labelers.pooled import MapLabeler

SIDE = 512
TOLERANCE = {"ssim": 0.008, "ms_ssim": 0.004, "gmsd": 0.002, "vsi": 0.002}
"""Largest difference from piq over the pairs below: piq cuts the border of SSIM off and takes that of the gradients as
black, where pictures are mirrored here. Seen: 0.0067, 0.0029, 0.0009, 0.0006."""


def blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 1.5)


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0.0, 12.0, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def coded(image: np.ndarray) -> np.ndarray:
    data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.ascontiguousarray(decoded[:, :, ::-1])


def darker(image: np.ndarray) -> np.ndarray:
    return (image * 0.6).astype(np.uint8)


def pale(image: np.ndarray) -> np.ndarray:
    """Half of the colour. Not all of it: piq's saliency of a colourless picture is stretched rounding noise."""
    return ((image + image.mean(axis=2, keepdims=True)) / 2).astype(np.uint8)


DISTORTIONS = {"blur": blurred, "noise": noisy, "blocking": coded, "darker": darker, "pale": pale}


def photographs() -> list[np.ndarray]:
    images = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea()]
    return [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]


def whole(name: str, reference: np.ndarray, distorted: np.ndarray) -> float:
    everything = np.ones((1, *reference.shape[:2]), np.bool_)
    return float(MapLabeler(METRICS[name], None).open(reference, everything).measure(distorted).quality[0])


def by_piq(name: str, reference: np.ndarray, distorted: np.ndarray) -> float:
    x, y = (torch.from_numpy(i.transpose(2, 0, 1)[None].astype(np.float64)) for i in (distorted, reference))
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    gx, gy = ((side * luma).sum(1, keepdim=True) for side in (x, y))
    if name == "ssim":
        return float(piq.ssim(gx, gy, data_range=255.0))
    if name == "ms_ssim":
        return float(piq.multi_scale_ssim(gx, gy, data_range=255.0))
    if name == "gmsd":
        return 1.0 - float(piq.gmsd(gx, gy, data_range=255.0))
    return float(piq.vsi(x, y, data_range=255.0))


@pytest.mark.parametrize("name", METRICS)
def test_global_values_are_piqs(name: str) -> None:
    worst = 0.0
    for image in photographs():
        for distort in DISTORTIONS.values():
            distorted = distort(image)
            worst = max(worst, abs(whole(name, image, distorted) - by_piq(name, image, distorted)))
    print(f"{name}: largest difference from piq {worst:.5f}")
    assert worst < TOLERANCE[name]


@pytest.mark.parametrize("name", METRICS)
def test_maps_are_of_image_size_and_range(name: str) -> None:
    image = np.ascontiguousarray(skimage.data.coffee()[:301, :403])
    maps = METRICS[name].maps(image, noisy(image))
    for plane in (*maps.planes, maps.weights, maps.similarity):
        assert plane.shape == image.shape[:2] and plane.dtype == np.float32 and np.isfinite(plane).all()
    assert maps.weights.min() > 0.0 and maps.similarity.min() >= 0.0 and maps.similarity.max() <= 1.0
    same = METRICS[name].maps(image, image.copy())
    assert (same.similarity == 1.0).all()
    assert whole(name, image, image.copy()) == 1.0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("shape", [(32, 32), (33, 200), (64, 47)])
def test_small_and_odd_pictures(name: str, shape: tuple[int, int]) -> None:
    image = np.ascontiguousarray(skimage.data.astronaut()[: shape[0], : shape[1]])
    assert 0.0 <= whole(name, image, blurred(image)) < 1.0
