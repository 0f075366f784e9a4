"""The extractor: one region at a time or many, and constants that are measured once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.model.mfe import RegionStatistics, Standardizer
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from tests.tiny import our_branches, our_statistics
from tests.unit.model.conftest import Picture

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]


@pytest.fixture
def statistics(tiny: Tiny, visual: dict[str, Any]) -> RegionStatistics:
    return our_statistics(tiny[0], visual)


def test_front_shapes(tiny: Tiny, statistics: RegionStatistics) -> None:
    channels = sum(tiny[0].vision_tower.channels)
    assert statistics.counts.tolist() == [3, 3]
    assert statistics.grid.shape == (2, 4, tiny[0].vision_tower.channels[-1])
    assert statistics.maps.shape == statistics.image.shape == (6, 2 * channels)
    assert statistics.native.shape[:2] == statistics.coverage.shape == (6, 3)
    # The last region of each photograph is everything, so its statistics are the whole image's.
    for last in (2, 5):
        torch.testing.assert_close(statistics.maps[last], statistics.image[last])
    assert statistics.context is None
    assert not any(value.requires_grad for value in vars(statistics).values() if value is not None)


def test_a_photograph_alone_equals_one_in_a_batch(
    tiny: Tiny, statistics: RegionStatistics, pictures: list[Picture]
) -> None:
    model, processor = tiny
    together = model.encode_regions(statistics)
    for index, picture in enumerate(pictures):
        for region in range(3):
            inputs = visual_tensors([processor.visual(picture.image, picture.masks[region : region + 1])])
            alone = model.encode_regions(model.encode_front(**inputs))
            torch.testing.assert_close(alone[0], together[3 * index + region], rtol=1e-4, atol=1e-4)


def test_patches_that_are_not_there_do_not_matter(tiny: Tiny, statistics: RegionStatistics) -> None:
    coverage = statistics.coverage.clone()
    coverage[:, 1:] = 0
    garbage = statistics.native.clone()
    garbage[:, 1:] = 1e4 * torch.randn_like(garbage[:, 1:])
    clean = tiny[0].mfe(replace(statistics, coverage=coverage))
    dirty = tiny[0].mfe(replace(statistics, coverage=coverage, native=garbage))
    torch.testing.assert_close(clean, dirty)
    alone = replace(statistics, native=statistics.native[:, :1], coverage=statistics.coverage[:, :1])
    torch.testing.assert_close(clean, tiny[0].mfe(alone), rtol=1e-4, atol=1e-5)


def test_patches_and_maps_do_matter(tiny: Tiny, statistics: RegionStatistics) -> None:
    before = tiny[0].mfe(statistics)
    for name in ("maps", "image", "geometry", "native"):
        moved = replace(statistics, **{name: getattr(statistics, name) + 1.0})
        assert float((tiny[0].mfe(moved) - before).abs().max()) > 1e-3, name


def test_tokens_have_root_mean_square_one_and_train_the_extractor(fresh: Tiny, visual: dict[str, Any]) -> None:
    model, _ = fresh
    tokens = model.region_norm.norm(model.encode_regions(model.encode_front(**visual)))
    assert tokens.shape == (6, 2, model.config.text_width)
    torch.testing.assert_close(tokens.square().mean(dim=-1).sqrt(), torch.ones(6, 2), rtol=1e-3, atol=1e-3)
    (tokens * torch.randn_like(tokens)).sum().backward()
    without = [name for name, p in model.mfe.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert without == []


def test_measured_constants(fresh: Tiny, visual: dict[str, Any]) -> None:
    model, _ = fresh
    statistics = our_statistics(model, visual)
    assert not model.mfe.measured
    statistics.coverage[0, 1:] = 0
    statistics.native[0, 1:] = 1e6  # no patch is there, so nothing of it may enter the constants
    model.mfe.measure(statistics)
    assert model.mfe.measured
    branch = our_branches(model)[1].standardize
    there = branch(statistics.native[statistics.coverage > 0])
    clipped = there.abs() >= branch.limit
    live = (branch.spread > 1e-3) & ~clipped.any(dim=0)
    torch.testing.assert_close(there.mean(dim=0)[live], torch.zeros(int(live.sum())), rtol=0, atol=1e-3)
    torch.testing.assert_close(there.std(dim=0)[live], torch.ones(int(live.sum())), rtol=1e-3, atol=1e-3)


def test_standardizer_against_hand_computation() -> None:
    standardizer = Standardizer(2, limit=3.0)
    standardizer.measure(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))
    torch.testing.assert_close(standardizer.mean, torch.tensor([2.0, 7.0]))
    torch.testing.assert_close(standardizer.spread, torch.tensor([2.0**0.5, 1e-3]))
    out = standardizer(torch.tensor([[2.0 + 2.0**0.5, 7.0], [1e9, 7.1]]))
    torch.testing.assert_close(out, torch.tensor([[1.0, 0.0], [3.0, 3.0]]))
    assert set(standardizer.state_dict()) == {"mean", "spread", "measured"}, "the constants must travel in checkpoints"
    assert not list(standardizer.parameters())
