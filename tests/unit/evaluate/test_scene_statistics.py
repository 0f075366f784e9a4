"""Scene statistics: known distributions, locality, degenerate regions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from seagull_tune.errors import DataError, RegionError
from seagull_tune.evaluate.scene_statistics import FEATURE_NAMES, fit_aggd, region_features

RNG = np.random.default_rng(0)


def _column(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, FEATURE_NAMES.index(name)]


@pytest.mark.parametrize(
    ("values", "shape", "left", "right"),
    [
        (RNG.normal(size=200_000), 2.0, 1.0, 1.0),
        (RNG.laplace(size=200_000), 1.0, 2.0, 2.0),
        # Two half-normals of spread 1 and 2, weighted by their spreads, are an asymmetric Gaussian.
        (np.r_[-abs(RNG.normal(size=100_000)), 2 * abs(RNG.normal(size=200_000))], 2.0, 1.0, 4.0),
    ],
)
def test_known_distributions_are_recovered(values: np.ndarray, shape: float, left: float, right: float) -> None:
    found_shape, mean, found_left, found_right = fit_aggd(values)
    assert found_shape == pytest.approx(shape, rel=0.02)
    assert (found_left, found_right) == pytest.approx((left, right), rel=0.03)
    assert mean == pytest.approx(values.mean(), abs=0.02)


@pytest.mark.parametrize("values", [np.empty(0), np.array([1.0]), np.zeros(50)])
def test_no_variance_gives_the_flattest_shape(values: np.ndarray) -> None:
    assert fit_aggd(values) == pytest.approx((10.0, 0.0, 0.0, 0.0), abs=0.01)


def test_features_see_only_their_region() -> None:
    image = skimage.data.chelsea()
    masks = np.zeros((2, *image.shape[:2]), bool)
    masks[0, 40:140, 40:140] = True
    masks[1, 180:280, 250:400] = True
    before = region_features(image, masks)
    changed = image.copy()
    changed[170:] = 255 - cv2.GaussianBlur(changed[170:], (0, 0), 3)
    after = region_features(changed, masks)
    np.testing.assert_allclose(after[0], before[0], rtol=1e-6, atol=1e-9)
    assert np.abs(after[1] - before[1]).max() > 0.1


def test_noise_blur_and_greying_move_the_features_that_should_see_them() -> None:
    image = skimage.data.coffee()[:200, :300]
    mask = np.zeros((1, 200, 300), bool)
    mask[0, 20:180, 20:280] = True
    noisy = np.clip(image + RNG.normal(0, 25, image.shape), 0, 255).astype(np.uint8)
    blurred = cv2.GaussianBlur(image, (0, 0), 3)
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    plain, with_noise, with_blur, without_colour = (region_features(i, mask) for i in (image, noisy, blurred, grey))
    assert _column(with_noise, "scale1.normalised.shape") > _column(plain, "scale1.normalised.shape")
    assert _column(with_blur, "scale1.normalised.variance") < 0.5 * _column(plain, "scale1.normalised.variance")
    assert _column(with_blur, "region.local_deviation") < 0.5 * _column(plain, "region.local_deviation")
    assert _column(without_colour, "region.colourfulness") == pytest.approx(0.0, abs=1e-9)
    assert _column(plain, "region.colourfulness") > 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3), (33, 47)])
@pytest.mark.parametrize("value", [None, 0, 255])
def test_tiny_and_flat_photographs_have_finite_features(shape: tuple[int, int], value: int | None) -> None:
    image = np.full((*shape, 3), 0 if value is None else value, np.uint8)
    if value is None:
        image = skimage.data.astronaut()[: shape[0], : shape[1]].copy()
    masks = np.ones((2, *shape), bool)
    masks[1] = False
    masks[1, -1, -1] = True
    features = region_features(image, masks)
    assert features.shape == (2, len(FEATURE_NAMES)) and np.isfinite(features).all()


def test_bad_input_is_refused() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(DataError, match="uint8"):
        region_features(image.astype(float), np.ones((1, 20, 30), bool))
    with pytest.raises(RegionError, match=r"\(R, 20, 30\)"):
        region_features(image, np.ones((1, 30, 20), bool))
    with pytest.raises(RegionError, match="Region 1 is empty"):
        region_features(image, np.stack([np.ones((20, 30), bool), np.zeros((20, 30), bool)]))
