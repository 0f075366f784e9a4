"""Features of cells: exact statistics of any backbone's maps, kept on disk, refused where they are no numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seagull_tune.config.rsa import BackboneSettings
from seagull_tune.data.array_cache import ArrayCache
from seagull_tune.errors import ConfigError, DataError, RegionError
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import encode
from seagull_tune.rsa.attention import weighted_statistics
from seagull_tune.rsa.features import FLOOR, CellExtractor, TimmBackbone, cell_statistics, region_shares


class Mine(nn.Module):
    """Somebody's own module: pixels as they are, and their means over 4x4."""

    identity, channels, stride = "mine-v1", (3, 3), 4
    value = 1.0

    def forward(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        self.calls = getattr(self, "calls", 0) + 1
        return [[image * self.value, nn.functional.avg_pool2d(image, 4)] for image in images]


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_vit", "swin_tiny_patch4_window7_224"])
def test_any_timm_backbone(name: str, image: np.ndarray) -> None:
    extractor = CellExtractor(BackboneSettings(name=name, weights=None, max_side=96))
    found = extractor(image)
    assert found.grid == (2, 3) or found.grid == (3, 3)
    assert found.mean.shape == found.log_variance.shape == (found.grid[0] * found.grid[1], extractor.channels)
    assert found.mean.dtype == np.float16 and bool(np.isfinite(found.mean).all())
    assert float(np.ptp(found.mean.astype(np.float32), axis=0).max()) > 0, "cells differ"


def test_embedded_weights(efficientnet_dir: Path, image: np.ndarray) -> None:
    extractor = CellExtractor(BackboneSettings(max_side=96))
    assert extractor.channels == 16 + 24 + 40 + 112 + 320
    assert extractor.backbone.identity.startswith("efficientnet_lite0=embedded:efficientnet-lite0@")
    assert extractor(image).mean.shape[1] == extractor.channels


def test_statistics_of_cells_are_those_of_the_maps() -> None:
    level = 10.0 + torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(0))
    mean, log_variance = cell_statistics(level, (2, 3))
    blocks = level.reshape(3, 2, 4, 3, 4).permute(1, 3, 0, 2, 4).reshape(6, 3, 16)
    torch.testing.assert_close(mean, blocks.mean(2), rtol=0, atol=1e-5)
    torch.testing.assert_close(log_variance.exp(), blocks.var(2, correction=0) + FLOOR, rtol=1e-3, atol=1e-4)
    whole = weighted_statistics(mean[None], log_variance[None], torch.full((1, 1, 6), 1 / 6), FLOOR)[0, 0]
    torch.testing.assert_close(whole[:3], level.mean((1, 2)), rtol=0, atol=1e-4)
    torch.testing.assert_close(whole[3:].exp(), level.var((1, 2), correction=0), rtol=1e-3, atol=1e-3)


def test_a_map_coarser_than_the_grid_has_no_spread_inside_a_cell() -> None:
    mean, log_variance = cell_statistics(torch.arange(4.0).reshape(1, 2, 2), (4, 4))
    assert mean.shape == (16, 1) and bool((log_variance.exp() < 1.01 * FLOOR).all())


def test_a_module_of_your_own_and_the_cache(image: np.ndarray, tmp_path: Path) -> None:
    mine = Mine()
    extractor = CellExtractor(BackboneSettings(name="mine", max_side=96), mine, ArrayCache(tmp_path))
    first, second = extractor(image), extractor(image)
    assert mine.calls == 1, "the second time it is read"
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.log_variance, second.log_variance)
    assert first.grid == second.grid == (2, 3)
    others = [
        CellExtractor(BackboneSettings(name="mine", max_side=64), mine),
        CellExtractor(BackboneSettings(name="mine", max_side=96, levels=(1,)), mine),
        CellExtractor(BackboneSettings(name="mine", max_side=96, cell=16), mine),
    ]
    assert len({extractor.key(image), extractor.key(image[1:]), *(other.key(image) for other in others)}) == 5
    assert others[1](image).mean.shape[1] == 3


def test_a_damaged_entry_is_computed_anew(image: np.ndarray, tmp_path: Path) -> None:
    mine = Mine()
    extractor = CellExtractor(BackboneSettings(name="mine", max_side=96), mine, ArrayCache(tmp_path))
    first = extractor(image)
    (path,) = tmp_path.rglob("*.safetensors")
    for damage in (path.read_bytes()[:-3], path.read_bytes()[:-1] + b"\x7f", b"", b"\xff" * 40):
        path.write_bytes(damage)
        with pytest.warns(UserWarning, match="computed anew"):
            again = extractor(image)
        np.testing.assert_array_equal(first.mean, again.mean)
    assert extractor(image).grid == first.grid, "the entry was written again"


def test_features_that_are_no_numbers_name_the_image(image: np.ndarray, tmp_path: Path) -> None:
    for value in (float("nan"), 1e6):
        mine = Mine()
        mine.value = value
        extractor = CellExtractor(BackboneSettings(name="mine"), mine, ArrayCache(tmp_path))
        with pytest.raises(DataError, match=r"cat\.png: 3 of 6 features are not finite"):
            extractor(image, "cat.png")
    assert not list(tmp_path.rglob("*.safetensors")), "nothing of it is kept"


def test_too_small_an_image_is_named(backbone: BackboneSettings, image: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"tiny\.png: 40x20 pixels .* at least 32"):
        CellExtractor(backbone)(image[:20, :40], "tiny.png")
    strip = CellExtractor(backbone)(np.ascontiguousarray(np.tile(image[:32], (1, 20, 1))), "strip.png")
    assert strip.grid == (1, 3)


def test_levels_and_names_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="has 2 maps, allowed: some of 0 to 1"):
        CellExtractor(BackboneSettings(name="mine", levels=(2,)), Mine())
    with pytest.raises(ConfigError, match="timm has no model 'efficientnet_lite9'"):
        TimmBackbone(BackboneSettings(name="efficientnet_lite9", weights=None))
    with pytest.raises(ConfigError, match="not a reference"):
        TimmBackbone(BackboneSettings(name="test_vit", weights="my.pth"))


def _stripes(count: int, height: int = 90, width: int = 300) -> list[Region]:
    edges = np.linspace(0, width, count + 1).astype(int)
    return [box_region((int(a), 0, int(b), height), height, width) for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("count", [1, 7, 300])
def test_shares_of_a_cover_sum_to_one(count: int) -> None:
    shares = region_shares(_stripes(count), (3, 10))
    assert shares.shape == (count, 30) and bool((shares.sum(1) > 0).all())
    np.testing.assert_allclose(shares.sum(0), 1.0, rtol=0, atol=1e-6)
    np.testing.assert_allclose(shares.sum(1) / 30, [1 / count] * count, rtol=0, atol=4e-3)


def test_regions_that_do_not_cover_are_refused() -> None:
    stripes = _stripes(3)
    with pytest.raises(RegionError, match=r"a\.png: 2 regions leave 9,000 pixels out and share 0 of 27,000"):
        region_shares(stripes[:2], (3, 10), "a.png")
    with pytest.raises(RegionError, match="leave 0 pixels out and share 9,000"):
        region_shares([*stripes, stripes[0]], (3, 10))
    with pytest.raises(RegionError, match="no region was given"):
        region_shares([], (3, 10))
    with pytest.raises(RegionError, match="sizes seen"):
        region_shares([stripes[0], encode(np.ones((4, 4), bool))], (3, 10))
