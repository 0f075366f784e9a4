"""The trained part of the scorer: cells and regions in, a score and its parts out.

    cell statistics -> confined attention -> attention map -> re-weighted statistics of all levels -> head -> score
    describer's vectors ------^-------------------------------------------------------^

    statistics of the whole image ------------------------------------------> its own value --^

With ``whole``, what global pooling says of the image is a term of every region's value: nothing of it is lost, the
scorer begins as it, and the regions learn what they add.

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
        region_values: (B, R), what each region's own score would be, less the bias. None of the pooled head.
        weights: (B, R), how much each region counts.
        map: (B, N), the attention map.
    """

    score: Tensor | None = None
    contributions: Tensor | None = None
    region_values: Tensor | None = None
    weights: Tensor | None = None
    map: Tensor | None = None


class Value(nn.Module):
    """Statistics of features under a map, with what else is known there -> a value.

    Args:
        channels: C.
        others: width of what else is known; 0: nothing is.
        spec: the scorer's parts.
    """

    def __init__(self, channels: int, others: int, spec: RsaSpec) -> None:
        super().__init__()
        self.norm = Standardizer(2 * channels)
        self.read = nn.Sequential(nn.Dropout(spec.input_dropout), nn.Linear(2 * channels, spec.width))
        self.decide = nn.Sequential(
            nn.GELU(), nn.Dropout(spec.dropout),
            nn.Linear(spec.width + others, spec.width), nn.GELU(), nn.Dropout(spec.dropout),
            nn.Linear(spec.width, 1),
        )  # fmt: skip

    def silence(self) -> None:
        """Lets it say 0 of everything, until it has learnt."""
        last = self.decide[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, statistics: Tensor, *others: Tensor | None) -> Tensor:
        """(..., 2C), and what else is known, (..., width) each -> (...)."""
        parts = [self.read(self.norm(statistics)), *(part for part in others if part is not None)]
        value: Tensor = self.decide(torch.cat(parts, dim=-1))[..., 0]
        return value


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
        regional = spec.attention != "global"
        # First, so that with one seed it begins the same with and without regions beside it.
        self.whole = Value(channels, 0, spec) if spec.whole or not regional else None
        self.cells_norm = Standardizer(2 * channels)
        self.known_norm = Standardizer(semantics) if semantics else None
        self.known_in = (
            nn.Sequential(nn.Dropout(spec.input_dropout), nn.Linear(semantics, known), nn.GELU()) if semantics else None
        )
        self.cells_in = nn.Linear(2 * channels, spec.width) if regional else None
        self.attention = (
            RegionSemanticAttention(
                spec.width, spec.heads, spec.blocks, known, spec.dropout, learned=spec.attention == "rsa"
            )
            if regional
            else None
        )
        self.parts = Value(channels, spec.width + known, spec) if regional else None
        if self.parts is not None and self.whole is not None:
            self.parts.silence()
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
        cells, whole, parts, known = [], [], [], []
        for batch in batches:
            real = batch.shares.sum(dim=1) > 0  # (B, N)
            there = batch.shares.sum(dim=2) > 0  # (B, R)
            cells.append(torch.cat([batch.mean, batch.log_variance], dim=2)[real])
            whole.append(self._under(batch, _even_map(batch)[:, None])[:, 0])
            # Regions differ more than images do: few cells have little spread. The constants are of what is read.
            inside = batch.shares / batch.shares.sum(dim=2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
            parts.append(self._under(batch, inside)[there] if self.spec.head == "additive" else whole[-1])
            if batch.semantics is not None:
                known.append(batch.semantics[there])
        self.cells_norm.measure(torch.cat(cells))
        if self.whole is not None:
            self.whole.norm.measure(torch.cat(whole))
        if self.parts is not None:
            self.parts.norm.measure(torch.cat(parts))
        if self.known_norm is not None:
            self.known_norm.measure(torch.cat(known))
        self.bias.fill_(mean_quality)

    def forward(self, batch: RsaBatch) -> RsaOutput:
        """Scores of a padded batch."""
        known = None
        if self.known_norm is not None and self.known_in is not None:
            assert batch.semantics is not None, "a scorer of semantics is given them by its reader"
            known = self.known_in(self.known_norm(batch.semantics))  # (B, R, known)
        even = _even_map(batch)
        whole = None if self.whole is None else self.whole(self._under(batch, even[:, None]))  # (B, 1)
        if self.attention is None or self.cells_in is None or self.parts is None:
            assert whole is not None, "a scorer without regions reads the whole image"
            return RsaOutput(score=self.bias + whole[:, 0], map=even)
        cells = self.cells_in(self.cells_norm(torch.cat([batch.mean, batch.log_variance], dim=2)))
        seen: Attended = self.attention(cells, batch.shares, known)
        base = 0.0 if whole is None else whole
        if self.spec.head == "pooled":
            weights = seen.weights[:, None]  # (B, 1, R)
            under = self._under(batch, seen.map[:, None])
            value = base + self.parts(under, weights @ seen.regions, None if known is None else weights @ known)
            return RsaOutput(score=self.bias + value[:, 0], weights=seen.weights, map=seen.map)
        values = base + self.parts(self._under(batch, seen.focus), seen.regions, known)  # (B, R)
        contributions = seen.weights * values
        return RsaOutput(
            score=self.bias + contributions.sum(dim=1), contributions=contributions, region_values=values,
            weights=seen.weights, map=seen.map,
        )  # fmt: skip

    def _under(self, batch: RsaBatch, weights: Tensor) -> Tensor:
        """Statistics of all levels under M maps, (B, M, 2C)."""
        return weighted_statistics(batch.mean, batch.log_variance, weights, FLOOR)


def _even_map(batch: RsaBatch) -> Tensor:
    """The map of global average pooling, (B, N)."""
    real = (batch.shares.sum(dim=1) > 0).float()
    return real / real.sum(dim=1, keepdim=True)
