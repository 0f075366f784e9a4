"""Pooling under masks against loops over cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from seagull_tune.model.mask_pooling import (
    VARIANCE_FLOOR,
    area_resize,
    cell_shares,
    image_grid,
    masked_statistics,
    ring,
)


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
    pooled = masked_statistics([maps], [masks])
    assert pooled.context is None
    out = torch.cat([pooled.regions, pooled.image[:1]])
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
    here, there = masked_statistics([[level]], [mask]), masked_statistics([[other]], [mask])
    torch.testing.assert_close(here.regions, there.regions, rtol=1e-4, atol=1e-3)
    assert float((here.image - there.image).abs().max()) > 1, "the statistics of the whole image must see it"


def test_a_single_pixel_and_a_map_finer_than_the_mask_stay_finite() -> None:
    mask = torch.zeros(2, 9, 7)
    mask[0, 8, 6] = 1
    mask[1, :, 0] = 1
    maps = [torch.randn(3, 20, 16), torch.randn(3, 2, 2), torch.randn(3, 1, 1)]
    out = masked_statistics([maps], [mask]).regions
    assert bool(torch.isfinite(out).all())
    torch.testing.assert_close(out[0, 6:9], maps[1][:, 1, 1])  # the last cell of the 2x2 map holds the pixel


def test_order_of_regions_does_not_matter() -> None:
    masks, level = _masks(32, 24), torch.randn(5, 8, 6)
    there = masked_statistics([[level]], [masks]).regions
    back = masked_statistics([[level]], [masks.flip(0)]).regions
    torch.testing.assert_close(there, back.flip(0))


def _ragged() -> tuple[list[list[Tensor]], list[Tensor]]:
    """Maps and masks of four images of different sizes and numbers of regions, and of two of one size."""
    generator = torch.Generator().manual_seed(3)
    maps, masks = [], []
    for (height, width), count in zip(((64, 96), (77, 45), (96, 64), (33, 33), (64, 96)), (3, 1, 5, 2, 4), strict=True):
        sizes = [(-(-height // s), -(-width // s)) for s in (2, 4, 8, 32)]
        maps.append([
            torch.randn(c, *size, generator=generator) * 3 + 5 for c, size in zip((4, 6, 8, 10), sizes, strict=True)
        ])  # fmt: skip
        regions = torch.zeros(count, height, width)
        for region in regions:
            y, x = torch.randint(0, 20, (2,), generator=generator).tolist()
            region[y : y + 13, x : x + 11] = torch.rand(13, min(11, width - x), generator=generator)
        masks.append(regions)
    return maps, masks


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("context", [0.0, 0.25])
def test_images_of_any_sizes_together_equal_each_alone(
    spread: bool, context: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, masks = _ragged()
    monkeypatch.setattr("seagull_tune.model.mask_pooling._CHUNK_VALUES", 30_000)  # chunks of 2 to all channels
    together = masked_statistics(maps, masks, spread=spread, context=context)
    alone = [masked_statistics([m], [r], spread=spread, context=context) for m, r in zip(maps, masks, strict=True)]
    assert together.regions.shape == (15, 28 * (1 + spread))
    for name in ("regions", "image", "context") if context else ("regions", "image"):
        expected = torch.cat([getattr(one, name) for one in alone])
        torch.testing.assert_close(getattr(together, name), expected, rtol=1e-5, atol=1e-5)


def test_every_statistic_equals_a_loop_over_images_and_regions() -> None:
    maps, masks = _ragged()
    found = masked_statistics(maps, masks, context=0.25)
    assert found.context is not None
    row = 0
    for levels, regions in zip(maps, masks, strict=True):
        finest = ring(area_resize(regions, *levels[0].shape[1:]), 0.25)
        for region in range(len(regions)):
            rows: dict[str, list[Tensor]] = {"regions": [], "image": [], "context": []}
            for level in levels:
                values = level.double()
                weights = {
                    "regions": area_resize(regions, *level.shape[1:])[region],
                    "image": torch.ones(level.shape[1:]),
                    "context": area_resize(finest, *level.shape[1:])[region],
                }
                for name, weight in weights.items():
                    share = weight.double() / weight.double().sum()
                    mean = (values * share).sum(dim=(1, 2))
                    variance = ((values - mean[:, None, None]).square() * share).sum(dim=(1, 2))
                    rows[name] += [mean, torch.log(variance + VARIANCE_FLOOR)]
            for name, expected in rows.items():
                # Where one cell holds a region the variance is 0, and its logarithm shows float32's rounding of it.
                actual = getattr(found, name)[row]
                torch.testing.assert_close(actual, torch.cat(expected).float(), rtol=1e-4, atol=2e-3)
                means = torch.cat(expected[::2]).float()
                torch.testing.assert_close(
                    torch.cat([part[: part.shape[0] // 2] for part in actual.split([8, 12, 16, 20])]), means,
                    rtol=1e-5, atol=1e-5,
                )  # fmt: skip
            row += 1


def test_shares_of_coarser_cells_come_from_finer_ones_only_where_cells_are_even() -> None:
    for height, width in ((64, 96), (77, 45), (72, 96), (60, 40)):
        masks = torch.rand(2, height, width, generator=torch.Generator().manual_seed(4))
        sizes = [(-(-height // s), -(-width // s)) for s in (2, 4, 8, 16, 32)]
        for size, share in zip(sizes, cell_shares(masks, sizes), strict=True):
            torch.testing.assert_close(share, area_resize(masks, *size), rtol=1e-5, atol=1e-6)


def test_a_ring_is_the_grown_region_less_the_region() -> None:
    shares = torch.zeros(3, 12, 16)
    shares[0, 4:8, 6:10] = 1  # area 16: a quarter of its root is one cell
    shares[1, 0, 0] = 0.5  # at the border, covered by half: at least one cell
    shares[2] = 1  # the whole image has nothing around it
    rings = ring(shares, 0.25)
    expected = torch.zeros(12, 16)
    expected[3:9, 5:11] = 1
    expected[4:8, 6:10] = 0
    assert torch.equal(rings[0], expected)
    assert rings[1, :2, :2].tolist() == [[0.5, 1], [1, 1]] and float(rings[1].sum()) == 3.5
    assert torch.equal(rings[2], shares[2])
    assert float(ring(shares[:1], 0.5)[0].sum()) == 8 * 8 - 16, "twice the share grows by two cells"


def test_gradients_reach_the_maps_of_a_trained_tower() -> None:
    maps, masks = _ragged()
    levels = [[level.double().float().requires_grad_() for level in image] for image in maps]
    masked_statistics(levels, masks, context=0.25).regions.square().sum().backward()
    again = [[level.detach().clone().requires_grad_() for level in image] for image in maps]
    for image, regions in zip(again, masks, strict=True):
        for level in image:
            share = area_resize(regions, *level.shape[1:]).flatten(1)
            share = share / share.sum(dim=1, keepdim=True)
            mean = share @ level.flatten(1).T
            variance = (share[:, None] * (level.flatten(1)[None] - mean[..., None]).square()).sum(dim=2)
            (mean.square().sum() + torch.log(variance + VARIANCE_FLOOR).square().sum()).backward()
    for image, expected in zip(levels, again, strict=True):
        for level, plain in zip(image[:3], expected[:3], strict=True):
            assert level.grad is not None and plain.grad is not None
            torch.testing.assert_close(level.grad, plain.grad, rtol=2e-3, atol=2e-3)


def test_an_image_without_regions_beside_others() -> None:
    maps, masks = _ragged()
    found = masked_statistics(maps[:2], [masks[0], masks[1][:0]], context=0.2)
    expected = masked_statistics(maps[:1], masks[:1], context=0.2)
    torch.testing.assert_close(found.regions, expected.regions)
    assert masked_statistics(maps[:1], [masks[0][:0]]).regions.shape == (0, 56)


def test_autocast_does_not_make_variances_of_rounded_numbers() -> None:
    maps, masks = _ragged()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = masked_statistics(maps, masks).regions
    torch.testing.assert_close(found, masked_statistics(maps, masks).regions)


def test_image_grid_is_row_major() -> None:
    level = torch.zeros(2, 4, 4)
    level[0, :2, 2:] = 1  # upper right quarter
    level[1, 2:, :2] = 1  # lower left quarter
    grid = image_grid(level, 2)
    assert grid.tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert image_grid(torch.randn(2, 1, 3), 2).shape == (4, 2), "a map smaller than the grid still fills it"
