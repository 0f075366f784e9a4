"""What turns vision-side vectors into language-model inputs, and the region tokens' own head.

Legend: B images, N image tokens, R regions, T tokens per region, D width of the language model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid, normalize
from transformers.utils import ModelOutput

from seagull_tune.levels import DISTORTION_TYPES, QUALITY_LEVELS, SEVERITY_NAMES
from seagull_tune.model.mfe import Standardizer


class EmbeddingScale(nn.Module):
    """Brings vectors to the scale of the language model's own embeddings: RMS norm times a learned gain.

    A token that is much louder or quieter than a word is read badly by a pre-trained model with small adapters.

    Args:
        width: D.
        own: leave vectors at their own scale, for a language model that was tuned with them.
    """

    gain: nn.Parameter

    def __init__(self, width: int, own: bool = False) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.own = own
        # Not a scalar: engines that shard or broadcast parameters refuse those.
        self.register_parameter("gain", None if own else nn.Parameter(torch.ones(1)))

    @torch.no_grad()
    def match(self, embeddings: Tensor, multiplier: float = 1.0) -> None:
        """Sets the gain to the root mean square of ``embeddings`` (V, D), times a multiplier."""
        if not self.own:
            self.gain.fill_(float(embeddings.float().square().mean().sqrt()) * multiplier)

    def forward(self, values: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        if self.own:
            return values
        out: Tensor = self.norm(values) * self.gain
        return out


class ImageProjector(nn.Module):
    """Image grid (B, N, C) -> image tokens (B, N, D): linear layers with GELU between them.

    Args:
        channels, width: C and D.
        depth: linear layers.
        standardized: whether the grid is standardised first, by constants that are measured once.
    """

    def __init__(self, channels: int, width: int, depth: int = 2, standardized: bool = True) -> None:
        super().__init__()
        self.standardize = Standardizer(channels) if standardized else None
        later = [layer for _ in range(depth - 1) for layer in (nn.GELU(), nn.Linear(width, width))]
        self.layers = nn.Sequential(nn.Linear(channels, width), *later)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, D)."""
        out: Tensor = self.layers(grid if self.standardize is None else self.standardize(grid))
        return out


@dataclass
class DirectLogits(ModelOutput):
    """The direct head's logits: quality (R, 5), importance (R, 5), severity (R, 8, 6), none first.

    A mapping too: an engine that gathers weights for a backward pass looks for tensors in those only.
    """

    quality: Tensor = None  # type: ignore[assignment]
    importance: Tensor = None  # type: ignore[assignment]
    severity: Tensor = None  # type: ignore[assignment]


class BeliefWords(nn.Module):
    """Adds to region tokens what their own head believes of the region, in directions of the words for it.

    A severity is a product of two readings: which type, and how much of it. The head multiplies them; a language model
    with small adapters would have to learn to. What it is told here is the product itself, a weight for every pair of
    type and severity, each with a direction that starts as the severity's word; and so for the levels.

    The head's belief enters as a given: what the language model makes of it does not change the head.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        values = 2 * len(QUALITY_LEVELS) + len(DISTORTION_TYPES) * (len(SEVERITY_NAMES) - 1)
        self.said = nn.Linear(values, width, bias=False)

    @torch.no_grad()
    def set_lexicon(self, quality: Tensor, importance: Tensor, severities: Tensor) -> None:
        """Takes the directions of the words from the language model.

        Args:
            quality, importance, severities: (5, D) embeddings of the words, in the order of ``levels``, severities from
                the slightest. What the words of one vocabulary share is taken out: it says nothing about the value.
                The longest direction of each is as long as its words are.
        """
        told = []
        for words in (quality.float(), importance.float(), severities.float()):
            apart = words - words.mean(dim=0)
            told.append(apart * words.norm(dim=1).mean() / apart.norm(dim=1).max())
        self.said.weight.copy_(torch.cat([*told[:2], told[2].repeat(len(DISTORTION_TYPES), 1)]).T)

    def forward(self, tokens: Tensor, belief: DirectLogits) -> Tensor:
        """(R, T, D) at the language model's scale -> the same with what the head believes, in every token."""
        levels = [logits.detach().float().softmax(dim=1) for logits in (belief.quality, belief.importance)]
        severities = belief.severity.detach().float().softmax(dim=2)[:, :, 1:].flatten(1)
        said: Tensor = self.said(torch.cat([*levels, severities], dim=1).to(self.said.weight.dtype))
        return tokens + said[:, None].to(tokens.dtype)


# Likeness (cosine) of the global token to the name of a type that is there, by its severity 1..5. Two types at the end
# of the scale leave two thirds of a token's energy to everything else.
SEVERITY_PLACES = (0.0, 0.1, 0.2, 0.3, 0.4)
# Starts, as logarithms: they move by few tenths in a training, so they begin where they have their effect.
_PRESENCE_SCALE = 3.3  # odds of 20 to 1 at a likeness of 0.22, of 1 to 20 at 0
_PRESENCE_BIAS = -3.0
_SEVERITY_PRECISION = 5.3  # a step of 0.1 between severities is worth odds of 7 to 1


class DirectHead(nn.Module):
    """Reads level and severity logits from the region tokens: the training signal that shapes the tokens, and the
    yardstick for what the language model makes of them.

    Everything is read as the likeness of the tokens to the language model's own words: quality and importance of the
    global token to their level words; whether a type is there of the local token to the type's name, and how severe it
    is, if there, of the global token to the same name. Trained this way, a region token already holds the words that
    answer for it, and the adapters need only learn to look words up, not to decode a code of our own.

    Presence and severity have a likeness each: one for both would call slight what is only unsure.

    Where a region has several global or local tokens, their mean is read; where it has none of a kind, the others are.

    Args:
        width: D.
        counts: global and local tokens per region.
    """

    levels: Tensor
    types: Tensor
    places: Tensor

    def __init__(self, width: int, counts: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.counts = counts
        # Directions of words; drawn at random until `set_lexicon`.
        self.register_buffer("levels", normalize(torch.randn(2, len(QUALITY_LEVELS), width), dim=-1))
        self.register_buffer("types", normalize(torch.randn(len(DISTORTION_TYPES), width), dim=-1))
        self.register_buffer("places", torch.tensor(SEVERITY_PLACES), persistent=False)
        self.level_scale = nn.Parameter(torch.ones(2, 1))
        self.level_bias = nn.Parameter(torch.zeros(2, len(QUALITY_LEVELS)))
        n_types = len(DISTORTION_TYPES)
        self.presence_scale = nn.Parameter(torch.full((n_types,), _PRESENCE_SCALE))
        self.presence_bias = nn.Parameter(torch.full((n_types,), _PRESENCE_BIAS))
        self.severity_precision = nn.Parameter(torch.full((n_types, 1), _SEVERITY_PRECISION))
        self.severity_bias = nn.Parameter(torch.zeros(n_types, len(SEVERITY_PLACES)))

    @torch.no_grad()
    def set_lexicon(self, quality: Tensor, importance: Tensor, types: Tensor) -> None:
        """Takes the directions of the words from the language model.

        Args:
            quality, importance: (5, D) word embeddings, in the order of ``levels``.
            types: (8, D) embeddings of the type names. What the words of one vocabulary share is taken out: it says
                nothing about the value.
        """
        words = torch.stack([quality, importance]).float()
        self.levels.copy_(normalize(words - words.mean(dim=1, keepdim=True), dim=-1))
        self.types.copy_(normalize(types.float() - types.float().mean(dim=0), dim=-1))

    def forward(self, tokens: Tensor) -> DirectLogits:
        """Logits from normalised region tokens (R, T, D): global ones first, local ones last."""
        n_global, n_local = (count or tokens.shape[1] for count in self.counts)
        overall, local = tokens[:, :n_global].mean(dim=1), tokens[:, -n_local:].mean(dim=1)
        levels = torch.einsum("rd,vld->rvl", overall, self.levels.to(tokens.dtype)) * self.level_scale + self.level_bias
        presence = self.presence_scale.exp() * self._likeness(local) + self.presence_bias  # (R, 8)
        # An ordinal model per type: a normal density around each severity's place, of one learned precision.
        distance = (self._likeness(overall).unsqueeze(-1) - self.places).square()  # (R, 8, 5)
        severity = log_softmax(self.severity_bias - distance * self.severity_precision.exp(), dim=-1)
        absent, present = logsigmoid(-presence).unsqueeze(-1), logsigmoid(presence).unsqueeze(-1)
        return DirectLogits(levels[:, 0], levels[:, 1], torch.cat([absent, present + severity], dim=-1))

    def _likeness(self, tokens: Tensor) -> Tensor:
        """Cosine of tokens (R, D) to the names of the types, float32 (R, 8)."""
        cosine: Tensor = (
            torch.einsum("rd,td->rt", tokens, self.types.to(tokens.dtype)) / tokens.shape[-1] ** 0.5
        ).float()
        return cosine
