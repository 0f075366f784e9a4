"""Mixup (Zhang et al. 2018) of regions: between two regions of known quality lie made-up ones, judged in between.

A training set of a few photographs holds a few hundred different regions, each under many distortions, and an extractor
soon knows them by heart. Mixed regions cannot be recognised.

Legend: R regions of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

MIXED_FIELDS = ("maps", "image", "geometry", "native", "coverage", "context")
"""Statistics of regions that are mixed; those of whole pictures (``grid``, ``counts``) stay."""

PARTNER, SHARE = "mixed_with", "mixed_share"
"""Batch entries: the row that each region is mixed with, int64 (R,); its own share, float32 ()."""


def mixing(alpha: float) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that mixes the regions of a batch; it draws from torch's own generator, which a resumed run restores.

    Args:
        alpha: of the symmetric beta distribution that the shares come from, > 0; small values mix little.
    """
    shares = torch.distributions.Beta(torch.tensor(alpha), torch.tensor(alpha))

    def mix(batch: dict[str, Any]) -> dict[str, Any]:
        statistics = batch["statistics"]
        share = shares.sample()
        share = torch.maximum(share, 1.0 - share)  # a region stays mostly itself, so its own row is its own
        partner = torch.randperm(len(statistics["maps"]))
        there = [name for name in MIXED_FIELDS if name in statistics]
        mixed = {name: torch.lerp(statistics[name][partner], statistics[name], share) for name in there}
        return {**batch, "statistics": {**statistics, **mixed}, PARTNER: partner, SHARE: share}

    return mix


def mixed_losses(
    losses: Callable[[Mapping[str, Tensor]], dict[str, Tensor]], batch: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Losses against the targets of both regions that were mixed, by their shares; the plain ones where none were.

    Args:
        losses: target entries of a batch, one row per region -> named losses.
        batch: with or without the entries of :func:`mixing`.
    """
    own = losses(batch)
    if PARTNER not in batch:
        return own
    names = ("quality_target", "importance_target", "severity_target")
    other = losses({name: batch[name][batch[PARTNER]] for name in names})
    return {name: torch.lerp(other[name], own[name], batch[SHARE]) for name in own}
