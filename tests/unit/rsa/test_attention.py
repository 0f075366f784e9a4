"""Confined attention: what a cell may see, what the map is made of; order, padding and batches do not matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from seagull_tune.rsa.attention import (
    Attended,
    RegionSemanticAttention,
    area_shares,
    confinement,
    weighted_statistics,
)

torch.set_num_threads(1)
WIDTH, SEMANTICS = 16, 5


def _random_shares(n_regions: int, n_cells: int, seed: int = 0, soft: bool = True) -> Tensor:
    """(1, R, N): every region owns a cell at least where there are enough, and cells are shared where ``soft``."""
    rng = np.random.default_rng(seed)
    owner = np.concatenate([np.arange(min(n_regions, n_cells)), rng.integers(n_regions, size=n_cells)])[:n_cells]
    shares = np.zeros((n_regions, n_cells))
    shares[owner, np.arange(n_cells)] = 1.0
    if soft:
        other = rng.integers(n_regions, size=n_cells)
        part = rng.uniform(0.05, 0.45, n_cells)
        shares[:, :] *= 1 - part
        shares[other, np.arange(n_cells)] += part
    return torch.tensor(shares[None], dtype=torch.float32)


@pytest.fixture(scope="module")
def attention() -> RegionSemanticAttention:
    """One that has learnt something: all its parts matter."""
    torch.manual_seed(0)
    module = RegionSemanticAttention(WIDTH, heads=4, blocks=2, semantics=SEMANTICS).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        module.looking.fill_(1.0)
        module.weighing.fill_(1.0)
    return module


def _inputs(n_regions: int, n_cells: int, seed: int = 0, soft: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randn(1, n_cells, WIDTH, generator=generator)
    semantics = torch.randn(1, n_regions, SEMANTICS, generator=generator)
    return cells, _random_shares(n_regions, n_cells, seed, soft), semantics


def _run(module: RegionSemanticAttention, inputs: tuple[Tensor, Tensor, Tensor]) -> Attended:
    with torch.no_grad():
        return module(*inputs)


def test_a_cell_never_sees_another_region(attention: RegionSemanticAttention) -> None:
    cells, shares, semantics = _inputs(4, 40)
    _, belongs = confinement(shares)
    mine = belongs[0, 1] > 0
    assert 0 < int(mine.sum()) < 40
    before = _run(attention, (cells, shares, semantics)).cells
    changed = torch.where(mine[None, :, None], cells, 100.0 * torch.randn_like(cells))
    others = semantics.clone()
    others[:, [0, 2, 3]] = 9.0
    after = _run(attention, (changed, shares, others)).cells
    assert torch.equal(before[0, mine], after[0, mine]), "not close: equal, bit for bit"
    assert not torch.allclose(before[0, ~mine], after[0, ~mine])


def test_a_cell_sees_its_own_region_and_knows_what_it_is(attention: RegionSemanticAttention) -> None:
    cells, shares, semantics = _inputs(4, 40)
    mine = (confinement(shares)[1][0, 1] > 0).nonzero()[:, 0]
    before = _run(attention, (cells, shares, semantics)).cells
    moved = cells.clone()
    moved[0, mine[0], 0] += 3.0  # one channel: a constant over all is what the layer norm takes away
    seen = (_run(attention, (moved, shares, semantics)).cells - before)[0, mine[1:]]
    assert bool((seen.abs().amax(dim=1) > 1e-4).all())
    meant = semantics.clone()
    meant[0, 1] += 1.0
    assert bool(((_run(attention, (cells, shares, meant)).cells - before)[0, mine].abs().amax(dim=1) > 1e-4).all())


@pytest.mark.parametrize("n_regions", [1, 3, 300])
def test_weights_focus_and_map_sum_to_one(attention: RegionSemanticAttention, n_regions: int) -> None:
    found = _run(attention, _inputs(n_regions, 64))
    for values in (found.weights, found.focus, found.map):
        assert bool((values >= 0).all())
    torch.testing.assert_close(found.weights.sum(1), torch.ones(1), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.map.sum(1), torch.ones(1), rtol=0, atol=1e-5)
    covered = (_inputs(n_regions, 64)[1].sum(2) > 0).float()
    torch.testing.assert_close(found.focus.sum(2), covered, rtol=0, atol=1e-5)
    assert all(bool(values.isfinite().all()) for values in (found.cells, found.regions))


@pytest.mark.parametrize("n_regions", [3, 300])
def test_the_order_of_regions_does_not_matter(attention: RegionSemanticAttention, n_regions: int) -> None:
    cells, shares, semantics = _inputs(n_regions, 64)
    order = torch.randperm(n_regions, generator=torch.Generator().manual_seed(1))
    first, second = (
        _run(attention, (cells, shares, semantics)),
        _run(attention, (cells, shares[:, order], semantics[:, order])),
    )
    torch.testing.assert_close(first.cells, second.cells, rtol=0, atol=1e-5)
    torch.testing.assert_close(first.map, second.map, rtol=0, atol=1e-6)
    torch.testing.assert_close(first.weights[:, order], second.weights, rtol=0, atol=1e-6)


def test_a_tie_belongs_to_both_in_any_order() -> None:
    shares = torch.tensor([[[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]])
    allowed, belongs = confinement(shares)
    assert allowed[0].tolist() == [[True, True, False], [True, True, True], [False, True, True]]
    assert belongs[0, :, 1].tolist() == [0.5, 0.5]
    assert torch.equal(confinement(shares.flip(1))[0], allowed)


def test_a_region_too_small_to_own_a_cell_is_still_represented(attention: RegionSemanticAttention) -> None:
    cells, _, semantics = _inputs(2, 4)
    shares = torch.tensor([[[1.0, 1.0, 1.0, 0.9], [0.0, 0.0, 0.0, 0.1]]])
    found = _run(attention, (cells, shares, semantics))
    assert found.focus[0, 1].tolist() == [0.0, 0.0, 0.0, 1.0]
    torch.testing.assert_close(found.regions[0, 1], found.cells[0, 3])
    assert float(found.weights[0, 1]) > 0


def test_a_batch_equals_its_images(attention: RegionSemanticAttention) -> None:
    """Images of other sizes and numbers of regions, padded with values that would be seen if they were read."""
    singles = [_inputs(1, 9, 1), _inputs(5, 30, 2), _inputs(12, 21, 3)]
    cells = torch.full((3, 30, WIDTH), 7.0)
    shares, semantics = torch.zeros(3, 12, 30), torch.full((3, 12, SEMANTICS), -3.0)
    for row, (c, s, v) in enumerate(singles):
        cells[row, : c.shape[1]], semantics[row, : v.shape[1]] = c[0], v[0]
        shares[row, : s.shape[1], : s.shape[2]] = s[0]
    together = _run(attention, (cells, shares, semantics))
    for row, single in enumerate(singles):
        alone, (n_regions, n_cells) = _run(attention, single), single[1].shape[1:]
        for name in ("cells", "map"):
            found = getattr(together, name)[row, :n_cells]
            torch.testing.assert_close(found, getattr(alone, name)[0], rtol=0, atol=1e-5)
        for name in ("regions", "weights"):
            found = getattr(together, name)[row, :n_regions]
            torch.testing.assert_close(found, getattr(alone, name)[0], rtol=0, atol=1e-5)
        assert float(together.weights[row, n_regions:].sum()) == 0.0 == float(together.map[row, n_cells:].sum())


def test_it_begins_as_global_average_pooling() -> None:
    torch.manual_seed(0)
    cells, shares, _ = _inputs(5, 30)
    found = _run(RegionSemanticAttention(WIDTH).eval(), (cells, shares, None))  # type: ignore[arg-type]
    torch.testing.assert_close(found.map, torch.full((1, 30), 1 / 30), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.weights, area_shares(shares), rtol=0, atol=1e-6)


def test_without_learning_all_regions_count_the_same() -> None:
    cells, shares, _ = _inputs(5, 30)
    found = _run(RegionSemanticAttention(WIDTH, learned=False).eval(), (cells, shares, None))  # type: ignore[arg-type]
    assert found.weights[0].tolist() == pytest.approx([0.2] * 5)
    torch.testing.assert_close(found.focus, shares / shares.sum(2, keepdim=True), rtol=0, atol=1e-6)


def test_gradients_are_finite_where_cells_and_regions_are_padded() -> None:
    torch.manual_seed(0)
    module = RegionSemanticAttention(WIDTH, semantics=SEMANTICS)
    cells, shares, semantics = _inputs(3, 10)
    cells, shares, semantics = (
        torch.nn.functional.pad(cells, (0, 0, 0, 4)),
        torch.nn.functional.pad(shares, (0, 4, 0, 2)),
        torch.nn.functional.pad(semantics, (0, 0, 0, 2)),
    )
    found = module(cells.requires_grad_(), shares, semantics)
    (found.map.square().sum() + found.regions.square().sum()).backward()
    assert cells.grad is not None and bool(cells.grad.isfinite().all())
    for name, parameter in module.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name
    assert float(module.looking.grad or 0) != 0.0


def test_semantics_are_wanted_or_not() -> None:
    cells, shares, semantics = _inputs(2, 4)
    with pytest.raises(ValueError, match="semantics of width 0"):
        RegionSemanticAttention(WIDTH)(cells, shares, semantics)
    with pytest.raises(ValueError, match="semantics of width 5"):
        RegionSemanticAttention(WIDTH, semantics=SEMANTICS)(cells, shares)
    with pytest.raises(ValueError, match="3 heads do not divide"):
        RegionSemanticAttention(WIDTH, heads=3)


def test_statistics_of_cells_give_those_of_the_pixels() -> None:
    """Re-weighting cells equals re-weighting the pixels in them, mean and variance alike."""
    generator = torch.Generator().manual_seed(0)
    pixels = 50.0 + torch.randn(1, 6, 16, 3, generator=generator)  # (B, cells, pixels of a cell, C)
    weights = torch.rand(1, 2, 6, generator=generator)
    weights /= weights.sum(2, keepdim=True)
    floor = 1e-6
    mean, variance = pixels.mean(2), pixels.var(2, correction=0)
    found = weighted_statistics(mean, torch.log(variance + floor), weights, floor)
    each = (weights[:, :, :, None] / 16).expand(-1, -1, -1, 16).reshape(1, 2, 96)
    flat = pixels.reshape(1, 96, 3)
    true_mean = each @ flat
    true_variance = each @ flat.square() - true_mean.square()
    torch.testing.assert_close(found[..., :3], true_mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(found[..., 3:].exp(), true_variance, rtol=2e-3, atol=2e-3)
