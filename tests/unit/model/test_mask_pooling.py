"""Pooling under masks against loops over cells."""

from __future__ import annotations

import math

import numpy as np
import torch

from seagull_tune.model.mask_pooling import VARIANCE_FLOOR, area_resize, image_grid, masked_statistics


def _masks(height: int, width: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    masks = np.zeros((3, height, width), np.float32)
    masks[0, 3:11, 5:20] = 1
    masks[1] = rng.random((height, width)) < 0.3
    masks[2] = rng.random((height, width))
    return torch.from_numpy(masks)


def _share(mask: np.ndarray, row: int, column: int, h: int, w: int) -> float:
    """Mean of the mask in the cells that adaptive pooling takes for one output cell."""
    height, width = mask.shape
    y0, y1 = row * height // h, math.ceil((row + 1) * height / h)
    x0, x1 = column * width // w, math.ceil((column + 1) * width / w)
    return float(mask[y0:y1, x0:x1].mean())


def test_area_resize_is_the_mean_of_each_cell() -> None:
    masks = _masks(32, 24)
    small = area_resize(masks, 8, 5)
    for region in range(len(masks)):
        for row in range(8):
            for column in range(5):
                expected = _share(masks[region].numpy(), row, column, 8, 5)
                assert abs(float(small[region, row, column]) - expected) < 1e-6


def test_statistics_equal_a_loop_over_cells() -> None:
    masks = _masks(32, 24)
    generator = torch.Generator().manual_seed(1)
    # A mean far above the spread would cancel in E[x^2] - E[x]^2 in float32.
    maps = [torch.randn(4, 8, 6, generator=generator) + 1000.0, torch.randn(3, 4, 3, generator=generator)]
    out = masked_statistics(maps, masks)
    assert out.shape == (4, 2 * 7) and out.dtype == torch.float32
    everything = np.concatenate([masks.numpy(), np.ones((1, 32, 24), np.float32)])
    for region, mask in enumerate(everything):
        expected: list[float] = []
        for level in maps:
            channels, h, w = level.shape
            weights = np.array([[_share(mask, i, j, h, w) for j in range(w)] for i in range(h)])
            values = level.double().numpy()
            means = [(weights * values[c]).sum() / weights.sum() for c in range(channels)]
            spreads = [(weights * (values[c] - means[c]) ** 2).sum() / weights.sum() for c in range(channels)]
            expected += means + [math.log(v + VARIANCE_FLOOR) for v in spreads]
        np.testing.assert_allclose(out[region].numpy(), expected, rtol=2e-4, atol=2e-4)


def test_a_region_is_not_moved_by_what_lies_outside_it() -> None:
    mask = torch.zeros(1, 16, 16)
    mask[0, :8] = 1
    level = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(2))
    other = level.clone()
    other[:, 4:] += 50
    inside, outside = masked_statistics([level], mask), masked_statistics([other], mask)
    torch.testing.assert_close(inside[0], outside[0], rtol=1e-4, atol=1e-3)
    assert float((inside[1] - outside[1]).abs().max()) > 1, "the whole-image row must see it"


def test_a_single_pixel_and_a_map_finer_than_the_mask_stay_finite() -> None:
    mask = torch.zeros(2, 9, 7)
    mask[0, 8, 6] = 1
    mask[1, :, 0] = 1
    maps = [torch.randn(3, 20, 16), torch.randn(3, 2, 2), torch.randn(3, 1, 1)]
    out = masked_statistics(maps, mask)
    assert bool(torch.isfinite(out).all())
    torch.testing.assert_close(out[0, 6:9], maps[1][:, 1, 1])  # the last cell of the 2x2 map holds the pixel


def test_order_of_regions_does_not_matter() -> None:
    masks, level = _masks(32, 24), torch.randn(5, 8, 6)
    there = masked_statistics([level], masks)
    back = masked_statistics([level], masks.flip(0))
    torch.testing.assert_close(there[:3], back[:3].flip(0))


def test_image_grid_is_row_major() -> None:
    level = torch.zeros(2, 4, 4)
    level[0, :2, 2:] = 1  # upper right quarter
    level[1, 2:, :2] = 1  # lower left quarter
    grid = image_grid(level, 2)
    assert grid.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert image_grid(torch.randn(2, 1, 3), 2).shape == (4, 2), "a map smaller than the grid still fills it"
