"""Losses on the scores of a batch of pictures. Correlations need many: a batch of 4 says little about an order.

With several processes, the pictures of all of them are one batch: two with 16 each learn what one with 32 learns.

Legend: B pictures. Every function takes predicted and true qualities and the trust in the true ones, float (B,).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed
from torch.nn.functional import softplus

from seagull_tune.config.rsa import RsaLosses
from seagull_tune.rsa.model import RsaOutput

_SHARPNESS = 10.0
"""Of the ranking: a tenth of the range apart is about the distance at which an order counts as learnt."""


def plcc_loss(predicted: Tensor, true: Tensor, trust: Tensor) -> Tensor:
    """``(1 - r) / 2`` with Pearson's weighted r, in [0, 1]; 0 where the true qualities of the batch are all equal."""
    share = trust / trust.sum()
    left, right = (values - (share * values).sum() for values in (predicted, true))
    spread = (share * left.square()).sum() * (share * right.square()).sum()
    if float(right.detach().abs().max()) == 0.0:
        return 0.0 * predicted.sum()
    return (1.0 - (share * left * right).sum() / (spread + 1e-12).sqrt()) / 2.0


def rank_loss(predicted: Tensor, true: Tensor, trust: Tensor) -> Tensor:
    """Logistic loss over the pairs of the batch whose true qualities differ, by how far they do; 0 without one."""
    gap = true[:, None] - true[None, :]  # (B, B)
    weight = gap.clamp_min(0.0) * trust[:, None] * trust[None, :]
    pairs = softplus(-_SHARPNESS * (predicted[:, None] - predicted[None, :]))
    return (weight * pairs).sum() / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)


def l1_loss(predicted: Tensor, true: Tensor, trust: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (trust * (predicted - true).abs()).sum() / trust.sum()


_LOSSES = {"plcc": plcc_loss, "rank": rank_loss, "l1": l1_loss}


def rsa_losses(weights: RsaLosses, output: RsaOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
    """Name -> (weight, loss) of a batch; those of weight 0 are not computed."""
    assert output.score is not None
    everything, processes = _of_all_processes(torch.stack([output.score, batch["quality"], batch["trust"]]))
    found = {}
    for name, loss_of in _LOSSES.items():
        weight = float(getattr(weights, name))
        if weight > 0:
            loss = loss_of(*everything)
            # Every process knows the whole loss, but only the gradient of its own pictures; data parallel takes the
            # mean of gradients over the processes, where the sum is meant.
            found[name] = (weight, loss.detach() + processes * (loss - loss.detach()))
    return found


def _of_all_processes(rows: Tensor) -> tuple[Tensor, int]:
    """The pictures of all processes that train together, and how many processes these are.

    Args:
        rows: (K, B) of this process; B is the same everywhere, since incomplete batches are dropped.

    Returns:
        (K, B of all), in the order of the processes; gradients flow into this process's own part.
    """
    together = torch.is_grad_enabled() and distributed.is_available() and distributed.is_initialized()
    processes = distributed.get_world_size() if together else 1
    if processes == 1:
        return rows, 1
    parts = [torch.zeros_like(rows) for _ in range(processes)]
    distributed.all_gather(parts, rows.detach().contiguous())
    parts[distributed.get_rank()] = rows
    return torch.cat(parts, dim=1), processes
