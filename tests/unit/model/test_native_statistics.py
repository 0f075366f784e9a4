"""Native-resolution statistics: the transform itself, and that they move as distortions say."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import scipy.fft
import skimage.data
import torch

from seagull_tune.model.native_statistics import NATIVE_STATISTICS, dct_matrix, native_statistics

S = 32
HIGH = [8 * u + v - 1 for u in range(8) for v in range(8) if u + v >= 9]
"""Columns of the log mean energies of high frequencies (the mean coefficient is left out)."""


def _patches(image: np.ndarray, count: int = 6) -> torch.Tensor:
    """(1, count, 3, S, S) in [0, 1], from the middle of the photograph."""
    patches = [image[128 + 8 * i : 128 + 8 * i + S, 160 + 24 * i : 160 + 24 * i + S] for i in range(count)]
    return torch.from_numpy(np.stack(patches).transpose(0, 3, 1, 2).copy())[None].float() / 255


def _statistics(image: np.ndarray) -> torch.Tensor:
    patches = _patches(image)
    return native_statistics(patches, torch.ones(*patches.shape[:2], S, S))[0]


def test_dct_is_the_orthonormal_one() -> None:
    matrix = dct_matrix().double().numpy()
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-6)
    block = np.random.default_rng(0).random((8, 8))
    np.testing.assert_allclose(matrix @ block @ matrix.T, scipy.fft.dctn(block, norm="ortho"), atol=1e-6)


@pytest.mark.parametrize("size", [16, 24, 32])
def test_shape_and_finite_for_extreme_pixels(size: int) -> None:
    rng = torch.Generator().manual_seed(0)
    shape = (2, 3, 3, size, size)
    cases = [torch.zeros(shape), torch.ones(shape), torch.rand(shape, generator=rng)]
    masks = torch.ones(2, 3, size, size)
    masks[:, 1:] = 0
    masks[0, 2, 5, 5] = 1  # a single pixel
    masks[1, 1, :, 0] = 1  # a region one pixel wide, at the border of its patch
    masks[1, 2, 0, 0] = 1
    for patches in cases:
        out = native_statistics(patches, masks)
        assert out.shape == (2, 3, NATIVE_STATISTICS) and out.dtype == torch.float32
        assert bool(torch.isfinite(out).all())


def test_noise_raises_and_blur_lowers_high_frequencies() -> None:
    image = skimage.data.astronaut()
    clean = _statistics(image)[:, HIGH].mean(dim=1)
    noise = np.random.default_rng(0).normal(0, 12, image.shape)
    noisy = _statistics(np.clip(image + noise, 0, 255).astype(np.uint8))[:, HIGH].mean(dim=1)
    blurred = _statistics(cv2.GaussianBlur(image, (0, 0), 2.0))[:, HIGH].mean(dim=1)
    assert bool((noisy > clean + 0.3).all())
    assert bool((blurred < clean - 0.2).all())


def test_a_known_spectrum_gives_known_energies() -> None:
    """Luma of a pure basis function of amplitude a has energy (4 a)^2 in its coefficient: 8x8 terms have norm 4."""
    y, x = np.mgrid[:S, :S]
    wave = np.cos(np.pi * (2 * (x % 8) + 1) * 3 / 16) * np.cos(np.pi * (2 * (y % 8) + 1) * 2 / 16)
    pixels = torch.from_numpy((0.5 + 0.1 * wave).astype(np.float32)).expand(1, 1, 3, S, S)
    out = native_statistics(pixels, torch.ones(1, 1, S, S))[0, 0]
    assert abs(float(out[8 * 2 + 3 - 1]) - np.log((25.5 * 4) ** 2)) < 1e-2
    assert float(out[8 * 5 + 6 - 1]) < np.log(0.06), "an empty coefficient lies at the floor"


def test_block_grid_sees_a_jpeg_file() -> None:
    """High coefficients that the codec has set to zero lie at the floor on its grid, and not off it."""
    image = skimage.data.astronaut()
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])
    assert ok
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    gap = [2 * 63 + column for column in HIGH]  # mean log energy on the grid minus off it
    assert abs(float(_statistics(image)[:, gap].mean())) < 0.3
    assert float(_statistics(decoded)[:, gap].mean()) < -1.2
    assert float(_statistics(np.roll(decoded, (4, 4), (0, 1)))[:, gap].mean()) > 1.2, "half a block off the grid"


def test_pixels_outside_the_mask_do_not_matter_for_levels_and_blocks_without_mask_weigh_nothing() -> None:
    image = skimage.data.astronaut()
    patches = _patches(image)
    weights = torch.zeros(*patches.shape[:2], S, S)
    weights[..., :16, :] = 1
    other = patches.clone()
    other[..., 24:, :] = torch.rand_like(other[..., 24:, :])
    first, second = native_statistics(patches, weights), native_statistics(other, weights)
    columns = [*range(2 * 63), *range(NATIVE_STATISTICS - 15, NATIVE_STATISTICS)]  # block energies and colour
    torch.testing.assert_close(first[..., columns], second[..., columns])


def test_clipping_is_counted() -> None:
    patches = torch.full((1, 1, 3, S, S), 0.5)
    patches[..., :8] = 1.0
    out = native_statistics(patches, torch.ones(1, 1, S, S))[0, 0, -15:]
    torch.testing.assert_close(out[6:9], torch.full((3,), 0.25))
    torch.testing.assert_close(out[9:12], torch.zeros(3))
    assert float(out[-1]) == 1.0, "grey"
