"""The trained part of the scorer: cells and regions in, a score and its parts out.

    cell statistics -> confined attention -> attention map -> re-weighted statistics of all levels -> head -> score
    describer's vectors ------^-------------------------------------------------------^

Two heads. ``additive``: each region has a value of its own, read from its own re-weighted features and from what is
known of it, and the score is a bias plus the sum of weight times value: an explanation that adds up by construction.
``pooled``: one value of the features under the whole map; nothing is lost to the explanation, and nothing adds up.

Legend: B pictures, N cells, R regions, C channels, S semantics, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from seagull_tune.config.rsa import RsaSpec
from seagull_tune.model.mfe import Standardizer
from seagull_tune.rsa.attention import Attended, RegionSemanticAttention, weighted_statistics
from seagull_tune.rsa.features import FLOOR
from seagull_tune.rsa.inputs import RsaBatch

_KNOWN_WIDTH = 64
"""Width to which what is known of a region is brought."""


@dataclass
class RsaOutput(ModelOutput):
    """What a forward pass returns; scores are qualities, 0 the worst and 1 the best of the declared range, unclipped.

    Attributes:
        score: (B,).
        contributions: (B, R), 0 where padded; with the model's bias they sum to the score. None of the pooled head.
        values: (B, R), what each region's own score would be, less the bias. None of the pooled head.
        weights: (B, R), how much each region counts.
        map: (B, N), the attention map.
    """

    score: Tensor | None = None
    contributions: Tensor | None = None
    values: Tensor | None = None
    weights: Tensor | None = None
    map: Tensor | None = None


class RsaModel(nn.Module):
    """Attention and head.

    Args:
        spec: the scorer's parts.
        channels: C of the features.
        semantics: S of what is known of each region; 0: nothing is.
    """

    def __init__(self, spec: RsaSpec, channels: int, semantics: int = 0) -> None:
        super().__init__()
        self.spec, self.channels, self.semantics = spec, channels, semantics
        known = _KNOWN_WIDTH if semantics else 0
        self.cells_norm, self.pooled_norm = Standardizer(2 * channels), Standardizer(2 * channels)
        self.known_norm = Standardizer(semantics) if semantics else None
        self.known_in = (
            nn.Sequential(nn.Dropout(spec.input_dropout), nn.Linear(semantics, known), nn.GELU()) if semantics else None
        )
        regional = spec.attention != "global"
        self.cells_in = nn.Linear(2 * channels, spec.width) if regional else None
        self.attention = (
            RegionSemanticAttention(
                spec.width, spec.heads, spec.blocks, known, spec.dropout, learned=spec.attention == "rsa"
            )
            if regional
            else None
        )
        self.pooled_in = nn.Sequential(nn.Dropout(spec.input_dropout), nn.Linear(2 * channels, spec.width))
        self.head = nn.Sequential(
            nn.GELU(), nn.Dropout(spec.dropout),
            nn.Linear((2 if regional else 1) * spec.width + known, spec.width), nn.GELU(), nn.Dropout(spec.dropout),
            nn.Linear(spec.width, 1),
        )  # fmt: skip
        self.bias = nn.Parameter(torch.zeros(()))

    @property
    def measured(self) -> bool:
        """Whether the standardising constants were measured."""
        return bool(self.cells_norm.measured)

    @torch.no_grad()
    def measure(self, batches: list[RsaBatch], mean_quality: float) -> None:
        """Measures the standardising constants on pictures of the training set (once, before training).

        Args:
            batches: of them; the more cells, the better.
            mean_quality: what the score begins with.
        """
        cells, pooled, known = [], [], []
        for batch in batches:
            real = batch.shares.sum(dim=1) > 0  # (B, N)
            cells.append(torch.cat([batch.mean, batch.log_variance], dim=2)[real])
            pooled.append(self._under(batch, _even_map(batch)[:, None])[:, 0])
            if batch.semantics is not None:
                known.append(batch.semantics[batch.shares.sum(dim=2) > 0])
        self.cells_norm.measure(torch.cat(cells))
        self.pooled_norm.measure(torch.cat(pooled))
        if self.known_norm is not None:
            self.known_norm.measure(torch.cat(known))
        self.bias.fill_(mean_quality)

    def forward(self, batch: RsaBatch) -> RsaOutput:
        """Scores of a padded batch."""
        known = None
        if self.known_norm is not None and self.known_in is not None:
            assert batch.semantics is not None, "a scorer of semantics is given them by its reader"
            known = self.known_in(self.known_norm(batch.semantics))  # (B, R, known)
        if self.attention is None or self.cells_in is None:
            even = _even_map(batch)
            return RsaOutput(score=self.bias + self._value(batch, even[:, None], None, None)[:, 0], map=even)
        cells = self.cells_in(self.cells_norm(torch.cat([batch.mean, batch.log_variance], dim=2)))
        seen: Attended = self.attention(cells, batch.shares, known)
        if self.spec.head == "pooled":
            weights = seen.weights[:, None]  # (B, 1, R)
            value = self._value(
                batch, seen.map[:, None], weights @ seen.regions, None if known is None else weights @ known
            )
            return RsaOutput(score=self.bias + value[:, 0], weights=seen.weights, map=seen.map)
        values = self._value(batch, seen.focus, seen.regions, known)
        contributions = seen.weights * values
        return RsaOutput(
            score=self.bias + contributions.sum(dim=1), contributions=contributions, values=values,
            weights=seen.weights, map=seen.map,
        )  # fmt: skip

    def _value(self, batch: RsaBatch, weights: Tensor, regions: Tensor | None, known: Tensor | None) -> Tensor:
        """Values (B, M) of M maps over the cells, and of what was learnt and is known under each."""
        parts = [self.pooled_in(self.pooled_norm(self._under(batch, weights)))]
        parts += [part for part in (regions, known) if part is not None]
        value: Tensor = self.head(torch.cat(parts, dim=-1))[..., 0]
        return value

    def _under(self, batch: RsaBatch, weights: Tensor) -> Tensor:
        """Statistics of all levels under M maps, (B, M, 2C)."""
        return weighted_statistics(batch.mean, batch.log_variance, weights, FLOOR)


def _even_map(batch: RsaBatch) -> Tensor:
    """The map of global average pooling, (B, N)."""
    real = (batch.shares.sum(dim=1) > 0).float()
    return real / real.sum(dim=1, keepdim=True)
