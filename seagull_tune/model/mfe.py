"""The mask-based feature extractor (MFE): statistics of a region -> its global and its local token.

    maps under the mask, whole image, geometry -> standardise -> global branch \\
                                                                                 mixer -> <global> <local>
    native-resolution patches under the mask   -> standardise -> local branch  /

Two extractors share the interface :class:`RegionEncoder`: this one, and the faithful one of the paper
(:mod:`seagull_tune.model.released_encoder`). Nothing here uses statistics of the batch: inputs are standardised by
constants measured once on the training set and stored in the checkpoint, so that a region's tokens do not depend on
what else is in the batch.

Legend: B images, R regions of all images together, P patches, D width of the language model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from seagull_tune.data.visual import GEOMETRY
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mask_pooling import masked_statistics
from seagull_tune.model.native_statistics import NATIVE_STATISTICS, native_statistics


@dataclass
class RegionStatistics:
    """What the frozen front (tower and pixel statistics) says of a batch of images; everything trained comes after it.

    Attributes:
        grid: (B, image_grid ** 2, C) image grid of the coarsest map.
        maps: (R, 2 * sum(C_l)) mean and log-variance of the tower's maps under the mask.
        image: (R, 2 * sum(C_l)) the same over the region's whole image.
        geometry: (R, GEOMETRY) position and size.
        native: (R, P, NATIVE_STATISTICS) statistics of the patches.
        coverage: (R, P) share of each patch inside the mask; 0 where there is no patch.
        counts: (B,) int64, regions of each image.
    """

    grid: Tensor
    maps: Tensor
    image: Tensor
    geometry: Tensor
    native: Tensor
    coverage: Tensor
    counts: Tensor

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> RegionStatistics:
        """A copy on ``device``; floating tensors in ``dtype`` where it is given."""
        moved = {}
        for item in fields(self):
            value: Tensor = getattr(self, item.name)
            moved[item.name] = value.to(device, dtype if value.is_floating_point() else None)
        return RegionStatistics(**moved)


class RegionEncoder(nn.Module):
    """What the model asks of an extractor: what it keeps of the frozen tower's maps, and tokens made of that.

    Called with what :meth:`observe` returned, it gives region tokens (R, tokens per region, D), at its own scale.
    """

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
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.standardize = Standardizer(NATIVE_STATISTICS)
        self.embed = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(2 * NATIVE_STATISTICS, width), nn.GELU(), ResidualMlp(width, dropout)
        )

    def forward(self, native: Tensor, coverage: Tensor) -> Tensor:
        """(R, P, NATIVE_STATISTICS), (R, P) -> (R, width)."""
        patches = self.standardize(native)
        share = (coverage / coverage.sum(dim=1, keepdim=True).clamp_min(1e-6)).unsqueeze(-1)  # (R, P, 1)
        mean = (patches * share).sum(dim=1)
        variance = ((patches - mean.unsqueeze(1)).square() * share).sum(dim=1)
        out: Tensor = self.embed(torch.cat([mean, (variance + 1e-6).sqrt()], dim=-1))
        return out


class GlobalBranch(nn.Module):
    """Map statistics of the region and of its whole image, and its geometry -> one vector."""

    def __init__(self, map_width: int, width: int, dropout: float) -> None:
        super().__init__()
        self.standardize = Standardizer(map_width)
        self.embed_region = nn.Sequential(nn.Dropout(dropout), nn.Linear(map_width, width))
        # The difference to the whole image tells a local distortion from a photograph that is like that everywhere.
        self.embed_contrast = nn.Sequential(nn.Dropout(dropout), nn.Linear(map_width, width))
        self.embed_geometry = nn.Linear(GEOMETRY, width)
        self.mix = nn.Sequential(nn.GELU(), ResidualMlp(width, dropout))

    def forward(self, maps: Tensor, image: Tensor, geometry: Tensor) -> Tensor:
        """(R, map_width), (R, map_width), (R, GEOMETRY) -> (R, width)."""
        region, whole = self.standardize(maps), self.standardize(image)
        hidden = self.embed_region(region) + self.embed_contrast(region - whole) + self.embed_geometry(geometry)
        out: Tensor = self.mix(hidden)
        return out


class MaskFeatureExtractor(RegionEncoder):
    """Our extractor: global and local token per region, each aware of the other.

    Args:
        config: sizes.
    """

    def __init__(self, config: SeagullConfig) -> None:
        super().__init__()
        width, dropout = config.mfe_hidden, config.mfe_dropout
        self.global_branch = GlobalBranch(2 * sum(config.vision_channels), width, dropout)
        self.local_branch = LocalBranch(width, dropout)
        self.mixer = nn.Sequential(ResidualMlp(2 * width, dropout), nn.LayerNorm(2 * width))
        self.to_global = nn.Linear(2 * width, config.text_width)
        self.to_local = nn.Linear(2 * width, config.text_width)

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
        pooled, whole = [], []
        for levels, masks in zip(maps, region_masks, strict=True):
            statistics = masked_statistics(levels, masks)  # (R_i + 1, 2 * sum(C))
            pooled.append(statistics[:-1])
            whole.append(statistics[-1:].expand(len(masks), -1))
        return RegionStatistics(
            grid=grid,
            maps=torch.cat(pooled),
            image=torch.cat(whole),
            geometry=region_geometry.float(),
            native=native_statistics(patches.float() / 255.0, patch_masks),
            coverage=patch_masks.float().mean(dim=(-1, -2)),
            counts=torch.tensor([len(m) for m in region_masks], device=region_geometry.device),
        )

    def forward(self, statistics: RegionStatistics) -> Tensor:
        """Region tokens (R, 2, D): global first."""
        both = torch.cat(
            [
                self.global_branch(statistics.maps, statistics.image, statistics.geometry),
                self.local_branch(statistics.native, statistics.coverage),
            ],
            dim=-1,
        )
        mixed = self.mixer(both)  # (R, 2 * width)
        return torch.stack([self.to_global(mixed), self.to_local(mixed)], dim=1)

    def measure(self, statistics: RegionStatistics) -> None:
        """Measures the standardising constants on the statistics of a training set (once, before training)."""
        self.global_branch.standardize.measure(statistics.maps)
        self.local_branch.standardize.measure(statistics.native[statistics.coverage > 0])

    @property
    def measured(self) -> bool:
        """Whether the standardising constants were set."""
        return bool(self.global_branch.standardize.measured) and bool(self.local_branch.standardize.measured)
