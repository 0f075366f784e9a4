"""The losses: what they are at known scores, and that they fall where scores get better."""

from __future__ import annotations

from pathlib import Path

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


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    score, batch = _batch(slice(0, 4) if rank == 0 else slice(4, 8))
    found = rsa_losses(RsaLosses(), RsaOutput(score=score), batch)
    torch.stack([weight * loss for weight, loss in found.values()]).sum().backward()
    values = {name: float(loss.detach()) for name, (_, loss) in found.items()}
    torch.save({"losses": values, "gradient": score.grad}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def _batch(part: slice) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Eight pictures, of which a process has its part."""
    score, quality, trust = torch.rand(3, 8, generator=torch.Generator().manual_seed(0))
    return score[part].clone().requires_grad_(), {"quality": quality[part], "trust": 0.5 + trust[part]}


def test_two_processes_have_the_losses_of_one_batch(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    score, batch = _batch(slice(0, 8))
    found = rsa_losses(RsaLosses(), RsaOutput(score=score), batch)
    torch.stack([weight * loss for weight, loss in found.values()]).sum().backward()
    for part in parts:
        assert part["losses"] == pytest.approx({name: float(loss) for name, (_, loss) in found.items()}, abs=1e-6)
    # Data parallel takes the mean of gradients over the processes; a score's own is in one of them.
    gradient = torch.cat([part["gradient"] for part in parts]) / 2
    torch.testing.assert_close(gradient, score.grad, rtol=0, atol=1e-6)
