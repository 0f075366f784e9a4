"""What turns vision-side vectors into language-model inputs, and the region tokens' own head.

Legend: B images, N image tokens, R regions, T tokens per region, D width of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES
from seagull_tune.model.mfe import Standardizer


class EmbeddingScale(nn.Module):
    """Brings vectors to the scale of the language model's own embeddings: RMS norm times a learned gain.

    A token that is much louder or quieter than a word is read badly by a pre-trained model with small adapters.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.gain = nn.Parameter(torch.ones(1))  # not a scalar: engines that shard or broadcast parameters refuse those

    @torch.no_grad()
    def match(self, embeddings: Tensor) -> None:
        """Sets the gain to the root mean square of ``embeddings`` (V, D)."""
        self.gain.fill_(float(embeddings.float().square().mean().sqrt()))

    def forward(self, values: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = self.norm(values) * self.gain
        return out


class ImageProjector(nn.Module):
    """Image grid (B, N, C) -> image tokens (B, N, D)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.standardize = Standardizer(channels)
        self.layers = nn.Sequential(nn.Linear(channels, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, grid: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, D)."""
        out: Tensor = self.layers(self.standardize(grid))
        return out


@dataclass
class DirectLogits:
    """The direct head's logits: quality (R, 5), importance (R, 5), severity (R, 8, 6)."""

    quality: Tensor
    importance: Tensor
    severity: Tensor


class DirectHead(nn.Module):
    """Reads level and severity logits from the region tokens: the training signal that shapes the tokens, and the
    yardstick for what the language model makes of them."""

    def __init__(self, tokens_per_region: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(tokens_per_region * width, hidden), nn.GELU(), nn.Dropout(dropout))
        self.quality = nn.Linear(hidden, len(QUALITY_LEVELS))
        self.importance = nn.Linear(hidden, len(IMPORTANCE_LEVELS))
        self.severity = nn.Linear(hidden, len(DISTORTION_TYPES) * len(SEVERITY_NAMES))

    def forward(self, tokens: Tensor) -> DirectLogits:
        """Args:
            tokens: (R, T, D) normalised region tokens.
        """
        hidden = self.trunk(tokens.flatten(1))
        severity = self.severity(hidden).view(-1, len(DISTORTION_TYPES), len(SEVERITY_NAMES))
        return DirectLogits(self.quality(hidden), self.importance(hidden), severity)
