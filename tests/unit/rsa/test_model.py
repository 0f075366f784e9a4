"""Attention and heads: a new scorer is global pooling, and what it reads is standardised by constants of its kind."""

from __future__ import annotations

import pytest
import torch

from seagull_tune.config.rsa import RsaSpec
from seagull_tune.rsa.attention import weighted_statistics
from seagull_tune.rsa.features import FLOOR
from seagull_tune.rsa.inputs import RsaBatch
from seagull_tune.rsa.model import RsaModel

CHANNELS, SEMANTICS = 6, 5
GLOBAL = {"attention": "global", "head": "pooled", "semantics": "none"}


def _batch(seed: int = 0, regions: int = 3) -> RsaBatch:
    """Two pictures of 12 and 9 cells; every cell lies in one region."""
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, 2, 12, CHANNELS, generator=generator)
    shares = torch.zeros(2, regions, 12)
    for row, cells in enumerate((12, 9)):
        shares[row, torch.arange(cells) % regions, torch.arange(cells)] = 1.0
    return RsaBatch(mean, log_variance, shares, torch.rand(2, regions, SEMANTICS, generator=generator))


def _model(**parts: object) -> RsaModel:
    torch.manual_seed(7)
    spec = RsaSpec.model_validate({"semantics": "numbers", "width": 16, "heads": 2, **parts})
    model = RsaModel(spec, CHANNELS, SEMANTICS if spec.semantics != "none" else 0).eval()
    model.measure([_batch(seed) for seed in range(4)], 0.4)
    return model


@pytest.mark.parametrize("parts", [{}, {"head": "pooled"}, {"attention": "uniform"}, {"semantics": "none"}])
def test_with_the_whole_image_a_new_scorer_is_global_pooling(parts: dict[str, str]) -> None:
    batch = _batch(9)
    with torch.no_grad():
        expected, found = _model(**GLOBAL)(batch), _model(**parts)(batch)
    torch.testing.assert_close(found.score, expected.score, rtol=0, atol=1e-6)
    assert float((found.score[0] - found.score[1]).abs()) > 1e-3, "and it says something"


def test_without_it_the_regions_alone_decide() -> None:
    model = _model(whole=False)
    assert model.whole is None and model.parts is not None
    with torch.no_grad():
        assert float((model(_batch(9)).score - _model(**GLOBAL)(_batch(9)).score).abs().max()) > 1e-3


@pytest.mark.parametrize("whole", [True, False])
def test_contributions_and_bias_are_the_score(whole: bool) -> None:
    model = _model(whole=whole)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        found = model(_batch(9))
    torch.testing.assert_close(model.bias + found.contributions.sum(dim=1), found.score, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.contributions, found.weights * found.region_values, rtol=0, atol=1e-6)


def test_the_regions_learn_from_the_first_step() -> None:
    model = _model()
    model(_batch(9)).score.sum().backward()
    assert model.parts is not None
    last = model.parts.decide[-1]
    assert isinstance(last, torch.nn.Linear) and last.weight.grad is not None and bool(last.weight.grad.any())


def test_statistics_of_regions_are_standardised_as_regions() -> None:
    # Regions of one cell have no spread between cells: by constants of whole images they would all be far out.
    batch = _batch(0, regions=9)
    model = _model()
    model.measure([batch], 0.4)
    assert model.parts is not None and model.whole is not None
    inside = batch.shares / batch.shares.sum(dim=2, keepdim=True).clamp_min(1e-9)
    read = weighted_statistics(batch.mean, batch.log_variance, inside, FLOOR)[batch.shares.sum(dim=2) > 0]
    standard = model.parts.norm(read)
    torch.testing.assert_close(standard.mean(dim=0), torch.zeros(2 * CHANNELS), rtol=0, atol=1e-4)
    assert float(standard.abs().mean()) < 1.0 < float(model.whole.norm(read).abs().mean())
