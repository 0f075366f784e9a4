"""Region-aware Semantic Attention: cells look at cells of their own region only, and the regions make one map.

After RSFIQA (arXiv 2508.07818): attention is confined to regions and knows what each region is (here: what our tuned
model says of it); the regions' representations are weighed against each other, and their weights make one attention map
over the image, by which the features of all levels are pooled before the head.

Where a cell lies on a border, two rules hold:

- *Who looks at whom* is decided hard: a cell belongs to the region that covers most of it. Soft confinement would leak
  from every border into the region beside it, and "confined" would mean nothing. Of an exact tie the cell belongs to
  both, so that the order of regions never matters.
- *What a region is made of* is soft: a cell counts by the share of it that the region covers. So a region too small to
  own a cell still has a representation, and all pixels count once.

Before it has learnt anything (both scales of its map are 0) the map is even: exactly global average pooling.

Legend: B images, N cells of an image (padded), R regions (padded), D width, S semantics, K heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Attended:
    """What the attention gives. Padded cells and regions are 0 in all but ``cells``, where they mean nothing.

    Attributes:
        cells: (B, N, D) float, cells after attention inside their regions.
        regions: (B, R, D) float, the regions' representations.
        weights: (B, R) float >= 0, how much each region counts; sums to 1 over an image's regions.
        focus: (B, R, N) float >= 0, where each region is looked at; sums to 1 over the cells.
        map: (B, N) float >= 0, the global attention map ``weights @ focus``; sums to 1 over the cells.
    """

    cells: Tensor
    regions: Tensor
    weights: Tensor
    focus: Tensor
    map: Tensor


def confinement(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Which cells may look at which, and to which regions each belongs.

    Args:
        shares: (B, R, N) float in [0, 1], share of every cell inside every region; 0 where padded.

    Returns:
        allowed: bool (B, N, N), whether the row's cell may look at the column's; padded cells look at themselves, since
        a softmax needs something.
        belongs: (B, R, N) float, sums to 1 over the regions of a real cell: one region, or those of an exact tie.
    """
    most = shares.amax(dim=1, keepdim=True)
    owner = ((shares == most) & (most > 0)).to(shares.dtype)  # (B, R, N)
    allowed = owner.transpose(1, 2) @ owner > 0
    itself = torch.eye(shares.shape[2], dtype=torch.bool, device=shares.device)
    return allowed | itself, owner / owner.sum(dim=1, keepdim=True).clamp_min(1.0)


def area_shares(shares: Tensor) -> Tensor:
    """Share of the image that each region covers, (B, R) float, of ``shares`` (B, R, N); sums to 1 for a cover."""
    area = shares.sum(dim=2)
    return area / area.sum(dim=1, keepdim=True).clamp_min(torch.finfo(shares.dtype).tiny)


class ConfinedBlock(nn.Module):
    """Multi-head attention among the cells of a region, then an MLP; both added to what came in.

    Args:
        width: D.
        heads: K, divides D.
        semantics: S, width of what is known of each region; 0: nothing is.
        dropout: of both additions.
    """

    def __init__(self, width: int, heads: int, semantics: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = nn.Dropout(dropout)
        self.condition = nn.Linear(semantics, 2 * width) if semantics else None
        if self.condition is not None:
            # At first it says nothing, so that a describer can only add.
            nn.init.zeros_(self.condition.weight)
            nn.init.zeros_(self.condition.bias)

    def forward(self, cells: Tensor, allowed: Tensor, meaning: Tensor | None = None) -> Tensor:
        """Args:
            cells: (B, N, D).
            allowed: bool (B, N, N) from :func:`confinement`.
            meaning: (B, N, S), what is known of each cell's region; needed where the block was built with semantics.

        Returns:
            (B, N, D). A cell's row depends on the cells of its own region alone.
        """
        batch, count, width = cells.shape
        inner = self.norm(cells)
        if self.condition is not None and meaning is not None:
            scale, shift = self.condition(meaning).chunk(2, dim=-1)  # (B, N, D) each
            inner = inner * (1.0 + scale) + shift
        split = self.project(inner).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, K, N, D / K) each
        seen = scaled_dot_product_attention(query, key, value, attn_mask=allowed[:, None])
        cells = cells + self.drop(self.merge(seen.transpose(1, 2).reshape(batch, count, width)))
        return cells + self.drop(self.mlp(self.norm_mlp(cells)))


class RegionSemanticAttention(nn.Module):
    """Blocks of confined attention, and one attention map made of the regions.

    Args:
        width: D of the cells.
        heads: K, divides D.
        blocks: attention blocks; 0 leaves the cells as they are.
        semantics: S of the regions' vectors; 0: regions are known by their cells alone.
        dropout: inside the blocks.
        learned: whether the map learns which regions count and where to look in them; otherwise all regions count the
            same, and all of a region.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        blocks: int = 1,
        semantics: int = 0,
        dropout: float = 0.0,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}.")
        self.semantics, self.learned = semantics, learned
        self.blocks = nn.ModuleList(ConfinedBlock(width, heads, semantics, dropout) for _ in range(blocks))
        self.look = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1)) if learned else None
        self.weigh = (
            nn.Sequential(nn.Linear(width + semantics, width), nn.GELU(), nn.Linear(width, 1)) if learned else None
        )
        # Scales of what the map has learnt: 0 is global average pooling, and what is learnt begins from there.
        self.looking, self.weighing = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))

    def forward(self, cells: Tensor, shares: Tensor, semantics: Tensor | None = None) -> Attended:
        """Args:
            cells: (B, N, D) float; padded ones may hold anything finite.
            shares: (B, R, N) float in [0, 1], share of every cell inside every region. Over the regions of an image it
                sums to 1 in every real cell, and is 0 for padded cells and padded regions: it says what is padded.
            semantics: (B, R, S) float, what is known of each region; needed where the module was built with semantics.

        Raises:
            ValueError: semantics are missing, or were not expected.
        """
        if (semantics is not None) != bool(self.semantics):
            raise ValueError(
                f"The attention was built for semantics of width {self.semantics}, got {semantics is not None}."
            )
        allowed, belongs = confinement(shares)
        meaning = None if semantics is None else belongs.transpose(1, 2) @ semantics  # (B, N, S)
        for block in self.blocks:
            cells = block(cells, allowed, meaning)
        focus = self._focus(cells, shares)
        regions = focus @ cells
        weights = self._weights(regions, shares, semantics)
        return Attended(cells, regions, weights, focus, (weights[:, None] @ focus)[:, 0])

    def _focus(self, cells: Tensor, shares: Tensor) -> Tensor:
        """Where to look in each region, (B, R, N): its cells by their shares, and by what was learnt."""
        logits = shares.log()  # -inf where the region is not
        if self.look is not None:
            logits = logits + self.looking * self.look(cells).transpose(1, 2)
        return _softmax_where(logits, shares > 0)

    def _weights(self, regions: Tensor, shares: Tensor, semantics: Tensor | None) -> Tensor:
        """How much each region counts, (B, R): its area, and by what was learnt; or all the same."""
        real = shares.sum(dim=2) > 0
        if self.weigh is None:
            return real / real.sum(dim=1, keepdim=True).clamp_min(1)
        known = regions if semantics is None else torch.cat([regions, semantics], dim=-1)
        logits = area_shares(shares).log() + self.weighing * self.weigh(known)[..., 0]
        return _softmax_where(logits, real)


def _softmax_where(logits: Tensor, real: Tensor) -> Tensor:
    """Softmax over the last axis among what is real; 0 elsewhere, also in rows where nothing is.

    Args:
        logits: (..., M) float; anything where not real.
        real: bool (..., M).
    """
    # Filled with a number, not with -inf: the gradient of a row of -inf is not a number.
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(~real, lowest).softmax(dim=-1) * real


def weighted_statistics(mean: Tensor, log_variance: Tensor, weights: Tensor, floor: float) -> Tensor:
    """Mean and log-variance of features under weights, from those of the cells: exact, whatever the weights.

    The variance of a mixture is the mean of the variances plus the variance of the means, so maps need not be kept at
    their own resolution to be re-weighted at it.

    Args:
        mean, log_variance: (B, N, C) of the pixels of each level inside each cell; ``floor`` is in the variance.
        weights: (B, M, N), each row of sum 1 (or 0, where padded).
        floor: added to the variance before the logarithm.

    Returns:
        (B, M, 2C): means, then log-variances.
    """
    # Centred on the even mean first, so that E[x^2] - E[x]^2 does not cancel where the mean dwarfs the spread.
    centre = mean.mean(dim=1, keepdim=True)
    offset = mean - centre
    found = weights @ offset  # (B, M, C)
    total = weights.sum(dim=2, keepdim=True)
    spread = weights @ ((log_variance.exp() - floor).clamp_min(0.0) + offset.square()) - found.square()
    return torch.cat([found + centre * total, torch.log(spread.clamp_min(0.0) + floor)], dim=2)
