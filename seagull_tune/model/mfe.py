"""The mask-based feature extractor (MFE): statistics of a region -> its global and its local token.

    maps under the mask, whole image, geometry (, ring) -> standardise -> global branch \\
                                                                                          mixer -> <global> <local>
    native-resolution patches under the mask            -> standardise -> local branch  /    (+ attention to the grid)

What stands in brackets is off unless the configuration asks for it, and either branch can be left out with its tokens.

Two extractors share the interface :class:`RegionEncoder`: this one, and the faithful one of the paper
(:mod:`seagull_tune.model.released_encoder`). Nothing here uses statistics of the batch: inputs are standardised by
constants measured once on the training set and stored in the checkpoint, so that a region's tokens do not depend on
what else is in the batch.

Legend: B images, R regions of all images together, P patches, N cells of the image grid, C channels, S statistics of
the maps, T tokens per region, D width of the language model.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from seagull_tune.config.model import ATTENTION_HEADS, extractor_problems
from seagull_tune.data.visual import GEOMETRY
from seagull_tune.errors import ConfigError
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mask_pooling import masked_statistics
from seagull_tune.model.native_statistics import NATIVE_STATISTICS, native_statistics


@dataclass
class RegionStatistics:
    """What the frozen front (tower and pixel statistics) says of a batch of images; everything trained comes after it.

    Attributes:
        grid: (B, image_grid ** 2, C) image grid of the coarsest map.
        maps: (R, S) mean and log-variance of the tower's maps under the mask (S = 2 * sum(C_l)), or the mean only.
        image: (R, S) the same over the region's whole image.
        geometry: (R, GEOMETRY) position and size.
        native: (R, P, NATIVE_STATISTICS) statistics of the patches.
        coverage: (R, P) share of each patch inside the mask; 0 where there is no patch.
        counts: (B,) int64, regions of each image.
        context: (R, S) the same as ``maps`` in the ring around the region; None where the extractor reads none.
    """

    grid: Tensor
    maps: Tensor
    image: Tensor
    geometry: Tensor
    native: Tensor
    coverage: Tensor
    counts: Tensor
    context: Tensor | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> RegionStatistics:
        """A copy on ``device``; floating tensors in ``dtype`` where it is given."""
        moved = {}
        for item in fields(self):
            value: Tensor | None = getattr(self, item.name)
            if value is not None:
                moved[item.name] = value.to(device, dtype if value.is_floating_point() else None)
        return RegionStatistics(**moved)


class RegionEncoder(nn.Module):
    """What the model asks of an extractor: what it keeps of the frozen tower's maps, and tokens made of that.

    Called with what :meth:`observe` returned, it gives region tokens (R, tokens per region, D), at its own scale.

    Attributes:
        mixes_regions: whether the tokens of a region depend on the other regions of its image.
    """

    mixes_regions: ClassVar[bool] = False

    @abstractmethod
    def observe(
        self,
        maps: Sequence[Sequence[Tensor]],
        grid: Tensor,
        region_masks: Sequence[Tensor],
        region_geometry: Tensor,
        patches: Tensor,
        patch_masks: Tensor,
    ) -> Any:
        """What the extractor reads of a batch; nothing in it is trained, and it holds ``grid`` and ``counts``.

        Args:
            maps: per image the tower's maps, finest first, (C_l, h_l, w_l).
            grid: (B, N, C) the image tokens' grid, passed on.
            region_masks, region_geometry, patches, patch_masks: as the processor makes them
                (:class:`~seagull_tune.data.visual.VisualInputs`), images in order.
        """

    def measure(self, observed: Any) -> None:
        """Measures what is constant about a training set, once, before training; nothing, where nothing is."""

    @property
    def measured(self) -> bool:
        """Whether :meth:`measure` has nothing (more) to do."""
        return True


class Standardizer(nn.Module):
    """Subtracts a mean and divides by a spread, both constants that were measured once and travel in the checkpoint.

    Args:
        width: size of the last axis.
        limit: standardised values are clipped to +-limit, so that an odd photograph cannot blow up what follows.
    """

    mean: Tensor
    spread: Tensor
    measured: Tensor

    def __init__(self, width: int, limit: float = 6.0) -> None:
        super().__init__()
        self.limit = limit
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("measured", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def measure(self, values: Tensor) -> None:
        """Sets the constants from ``values`` (M, width), M >= 2."""
        values = values.double()
        self.mean.copy_(values.mean(dim=0))
        self.spread.copy_(values.std(dim=0).clamp_min(1e-3))
        self.measured.fill_(True)

    def forward(self, values: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        return ((values - self.mean) / self.spread).clamp(-self.limit, self.limit)


class ResidualMlp(nn.Module):
    """``x + W2 dropout(gelu(W1 norm(x)))``."""

    def __init__(self, width: int, dropout: float, expansion: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(expansion * width, width),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(..., width) -> (..., width)."""
        out: Tensor = values + self.layers(values)
        return out


class LocalBranch(nn.Module):
    """Patches of a region -> one vector: coverage-weighted mean and spread of their statistics, then embedded.

    The spread over the patches tells a region that is distorted in part, or has flat and busy places, from an even one.

    Args:
        width, dropout: of the branch.
        spread: whether the spread is read beside the mean.
    """

    def __init__(self, width: int, dropout: float, spread: bool = True) -> None:
        super().__init__()
        self.spread = spread
        self.standardize = Standardizer(NATIVE_STATISTICS)
        self.embed = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear((1 + spread) * NATIVE_STATISTICS, width),
            nn.GELU(),
            ResidualMlp(width, dropout),
        )

    def forward(self, native: Tensor, coverage: Tensor) -> Tensor:
        """(R, P, NATIVE_STATISTICS), (R, P) -> (R, width)."""
        patches = self.standardize(native)
        share = (coverage / coverage.sum(dim=1, keepdim=True).clamp_min(1e-6)).unsqueeze(-1)  # (R, P, 1)
        mean = (patches * share).sum(dim=1)
        out: Tensor
        if not self.spread:
            out = self.embed(mean)
            return out
        variance = ((patches - mean.unsqueeze(1)).square() * share).sum(dim=1)
        out = self.embed(torch.cat([mean, (variance + 1e-6).sqrt()], dim=-1))
        return out


class GlobalBranch(nn.Module):
    """Map statistics of the region and of its whole image, and its geometry -> one vector.

    Args:
        map_width: S.
        width, dropout: of the branch.
        context: whether the ring around the region is read too.
    """

    def __init__(self, map_width: int, width: int, dropout: float, context: bool = False) -> None:
        super().__init__()
        self.standardize = Standardizer(map_width)
        self.embed_region = nn.Sequential(nn.Dropout(dropout), nn.Linear(map_width, width))
        # The difference to the whole image tells a local distortion from a photograph that is like that everywhere.
        self.embed_contrast = nn.Sequential(nn.Dropout(dropout), nn.Linear(map_width, width))
        self.embed_geometry = nn.Linear(GEOMETRY, width)
        self.mix = nn.Sequential(nn.GELU(), ResidualMlp(width, dropout))
        # The difference to the ring tells a distortion that ends at the region's edge from a part of a larger one.
        self.embed_edge = nn.Sequential(nn.Dropout(dropout), nn.Linear(map_width, width)) if context else None

    def forward(self, maps: Tensor, image: Tensor, geometry: Tensor, context: Tensor | None = None) -> Tensor:
        """(R, map_width), (R, map_width), (R, GEOMETRY), (R, map_width) or None -> (R, width)."""
        region, whole = self.standardize(maps), self.standardize(image)
        hidden = self.embed_region(region) + self.embed_contrast(region - whole) + self.embed_geometry(geometry)
        if self.embed_edge is not None:
            if context is None:
                raise TypeError("This extractor reads the ring around regions; the statistics hold none (context).")
            hidden = hidden + self.embed_edge(region - self.standardize(context))
        out: Tensor = self.mix(hidden)
        return out


class GridAttention(nn.Module):
    """Region tokens ask the image grid of their own image: what else is in the picture, and where.

    It adds to tokens that are made without it, and starts by adding nothing.

    Args:
        hidden: width of what the queries are made of.
        tokens: T.
        channels: C of the grid.
        width: of queries, keys and values; a multiple of :data:`ATTENTION_HEADS`.
        text_width: D.
    """

    def __init__(self, hidden: int, tokens: int, channels: int, width: int, text_width: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.standardize = Standardizer(channels)
        self.to_queries = nn.Linear(hidden, tokens * width)
        self.to_keys = nn.Linear(channels + 2, width)
        self.to_values = nn.Linear(channels + 2, width)
        self.to_tokens = nn.Linear(width, text_width)
        nn.init.zeros_(self.to_tokens.weight)
        nn.init.zeros_(self.to_tokens.bias)

    def forward(self, hidden: Tensor, grid: Tensor, counts: Tensor) -> Tensor:
        """(R, hidden), (B, N, C) and regions per image (B,) -> what is added to the tokens, (R, T, D)."""
        image = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        rank = torch.arange(len(image), device=counts.device) - (counts.cumsum(0) - counts)[image]
        queries = self.to_queries(hidden).unflatten(-1, (self.tokens, -1))  # (R, T, width)
        # Laid out by image, so that no region sees another image's grid; images with fewer regions ask for nothing.
        asked = queries.new_zeros(len(counts), int(counts.max()), *queries.shape[1:])
        asked = asked.index_put((image, rank), queries).flatten(1, 2)  # (B, most * T, width)
        cells = self._with_places(self.standardize(grid))
        parts = (asked, self.to_keys(cells), self.to_values(cells))
        q, k, v = (part.unflatten(-1, (ATTENTION_HEADS, -1)).transpose(1, 2) for part in parts)
        found = scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, most * T, width)
        out: Tensor = self.to_tokens(found.unflatten(1, (-1, self.tokens))[image, rank])
        return out

    @staticmethod
    def _with_places(cells: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C + 2): with the cells' y and x, in units of the image side, centred on 0."""
        side = math.isqrt(cells.shape[1])
        steps = (torch.arange(side, device=cells.device, dtype=cells.dtype) + 0.5) / side - 0.5
        places = torch.cartesian_prod(steps, steps)  # (N, 2), row-major as the grid
        return torch.cat([cells, places.expand(len(cells), -1, -1)], dim=-1)


class MaskFeatureExtractor(RegionEncoder):
    """Our extractor: global and local tokens per region, each aware of the others.

    Args:
        config: sizes, and which of its parts there are.

    Raises:
        ConfigError: settings that do not go together; all of them are named.
    """

    def __init__(self, config: SeagullConfig) -> None:
        super().__init__()
        problems = extractor_problems(config)
        n_global, n_local = config.region_token_counts
        if len(config.region_token_ids) != n_global + n_local:
            problems.append(
                f"region_token_ids has {len(config.region_token_ids)} placeholders; {n_global + n_local} tokens "
                "are made per region"
            )
        if problems:
            raise ConfigError(f"This extractor cannot be built: {'; '.join(problems)}.")
        width, dropout = config.mfe_hidden, config.mfe_dropout
        self.spread, self.context = config.mfe_pooling == "statistics", config.mfe_context
        self.text_width = config.text_width
        map_width = (1 + self.spread) * sum(config.vision_channels)
        mixed = width * (config.mfe_global + config.mfe_local)
        # Parts that are off are not made, so that the others are drawn as if there were no such setting.
        self.global_branch = GlobalBranch(map_width, width, dropout, self.context > 0) if n_global else None
        self.local_branch = LocalBranch(width, dropout, self.spread) if n_local else None
        self.mixer = nn.Sequential(ResidualMlp(mixed, dropout), nn.LayerNorm(mixed))
        self.to_global = nn.Linear(mixed, n_global * self.text_width) if n_global else None
        self.to_local = nn.Linear(mixed, n_local * self.text_width) if n_local else None
        channels = config.vision_channels[config.image_level]
        self.attention = (
            GridAttention(mixed, n_global + n_local, channels, width, self.text_width) if config.mfe_attention else None
        )

    def observe(
        self,
        maps: Sequence[Sequence[Tensor]],
        grid: Tensor,
        region_masks: Sequence[Tensor],
        region_geometry: Tensor,
        patches: Tensor,
        patch_masks: Tensor,
    ) -> RegionStatistics:
        """See :meth:`RegionEncoder.observe`."""
        pooled = masked_statistics(maps, region_masks, spread=self.spread, context=self.context)
        return RegionStatistics(
            grid=grid,
            maps=pooled.regions,
            image=pooled.image,
            geometry=region_geometry.float(),
            native=native_statistics(patches.float() / 255.0, patch_masks),
            coverage=patch_masks.float().mean(dim=(-1, -2)),
            counts=torch.tensor([len(m) for m in region_masks], device=region_geometry.device),
            context=pooled.context,
        )

    def forward(self, statistics: RegionStatistics) -> Tensor:
        """Region tokens (R, T, D): global ones first."""
        seen = []
        if self.global_branch is not None:
            seen.append(self.global_branch(statistics.maps, statistics.image, statistics.geometry, statistics.context))
        if self.local_branch is not None:
            seen.append(self.local_branch(statistics.native, statistics.coverage))
        mixed = self.mixer(torch.cat(seen, dim=-1))  # (R, width * branches)
        said = [layer(mixed) for layer in (self.to_global, self.to_local) if layer is not None]
        tokens = torch.cat(said, dim=-1).unflatten(-1, (-1, self.text_width))  # (R, T, D)
        if self.attention is not None:
            tokens = tokens + self.attention(mixed, statistics.grid, statistics.counts)
        return tokens

    def measure(self, statistics: RegionStatistics) -> None:
        """Measures the standardising constants on the statistics of a training set (once, before training)."""
        if self.global_branch is not None:
            self.global_branch.standardize.measure(statistics.maps)
        if self.local_branch is not None:
            self.local_branch.standardize.measure(statistics.native[statistics.coverage > 0])
        if self.attention is not None:
            self.attention.standardize.measure(statistics.grid.flatten(0, 1))

    @property
    def measured(self) -> bool:
        """Whether the standardising constants were set."""
        parts = (self.global_branch, self.local_branch, self.attention)
        return all(bool(part.standardize.measured) for part in parts if part is not None)
