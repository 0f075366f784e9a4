"""The losses: what they are at known scores, and that they fall where scores get better."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seagull_tune.config.rsa import RsaLosses
from seagull_tune.rsa.losses import l1_loss, plcc_loss, rank_loss, rsa_losses
from seagull_tune.rsa.model import RsaOutput

TRUE = torch.tensor([0.1, 0.4, 0.5, 0.9])
EVEN = torch.ones(4)


def test_plcc() -> None:
    predicted = torch.tensor([0.3, 0.2, 0.6, 0.7])
    expected = (1 - np.corrcoef(predicted, TRUE)[0, 1]) / 2
    assert float(plcc_loss(predicted, TRUE, EVEN)) == pytest.approx(expected, abs=1e-6)
    assert float(plcc_loss(2 * TRUE - 5, TRUE, EVEN)) == pytest.approx(0.0, abs=1e-5)
    assert float(plcc_loss(-TRUE, TRUE, EVEN)) == pytest.approx(1.0, abs=1e-5)
    twice = torch.tensor([2.0, 1.0, 1.0, 1.0])
    doubled = plcc_loss(torch.cat([predicted[:1], predicted]), torch.cat([TRUE[:1], TRUE]), torch.ones(5))
    assert float(plcc_loss(predicted, TRUE, twice)) == pytest.approx(float(doubled), abs=1e-6)


def test_a_batch_of_one_quality_has_no_correlation_and_no_order() -> None:
    same = torch.full((4,), 0.5)
    predicted = torch.randn(4, requires_grad=True)
    for loss in (plcc_loss, rank_loss):
        value = loss(predicted, same, EVEN)
        value.backward()
        assert value.item() == 0.0
    assert predicted.grad is not None and bool((predicted.grad == 0).all())
    flat = torch.full((4,), 0.2, requires_grad=True)
    plcc_loss(flat, TRUE, EVEN).backward()
    assert flat.grad is not None and bool(flat.grad.isfinite().all()), "scores that are all equal can still be learnt"


def test_rank() -> None:
    right, wrong = rank_loss(TRUE, TRUE, EVEN), rank_loss(-TRUE, TRUE, EVEN)
    assert float(right) < 0.1 < 1.0 < float(wrong)
    assert float(rank_loss(TRUE + 3.0, TRUE, EVEN)) == pytest.approx(float(right), abs=1e-6)


def test_only_weighted_losses_are_computed() -> None:
    output, batch = RsaOutput(score=TRUE + 0.1), {"quality": TRUE, "trust": EVEN}
    named = rsa_losses(RsaLosses(plcc=0, rank=0.5, l1=2), output, batch)
    assert {name: weight for name, (weight, _) in named.items()} == {"rank": 0.5, "l1": 2.0}
    assert float(named["l1"][1]) == pytest.approx(0.1, abs=1e-6)
    assert float(l1_loss(TRUE, TRUE, EVEN)) == 0.0
    with pytest.raises(ValueError, match="nothing would be trained"):
        RsaLosses(plcc=0, rank=0, l1=0)
