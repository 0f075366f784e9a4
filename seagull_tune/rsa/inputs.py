"""What the scorer reads of a picture: its cells, its regions, what is known of them; and pictures as a padded batch.

Legend: B pictures, N cells (padded), R regions (padded), C channels, S semantics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from seagull_tune.config.rsa import RsaSpec, Semantics
from seagull_tune.errors import ConfigError
from seagull_tune.infer.describer import NUMBERS, Description, RegionDescriber, cover_of
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.rsa.features import CellExtractor, CellFeatures, region_shares
from seagull_tune.segment import Segmenter


@dataclass(frozen=True)
class PictureInputs:
    """One picture.

    Attributes:
        features: statistics of its N cells.
        regions: R, a cover of the picture.
        shares: float32 (R, N), share of every cell inside every region; columns sum to 1.
        semantics: float32 (R, S), what is known of each region; S is 0 where nothing is read.
        description: what the describer said; None where it was not asked.
    """

    features: CellFeatures
    regions: tuple[Region, ...]
    shares: np.ndarray
    semantics: np.ndarray
    description: Description | None = None


def semantics_width(kind: Semantics, describer: RegionDescriber | None) -> int:
    """S, values that are known of each region.

    Raises:
        ConfigError: something should be known, and there is no describer.
    """
    if kind == "none":
        return 0
    if describer is None:
        raise ConfigError(f"scorer.semantics is {kind!r}, which needs a describer: a tuned model (describer.model).")
    tokens = describer.token_width if kind in ("tokens", "text") else 0
    return len(NUMBERS) + tokens + (describer.embedding_width if kind == "text" else 0)


def semantics_of(description: Description, kind: Semantics) -> np.ndarray:
    """What a scorer of this kind reads of a description, float32 (R, S)."""
    count = len(description.regions)
    if kind == "none":
        return np.zeros((count, 0), np.float32)
    parts = [description.numbers()]
    if kind in ("tokens", "text"):
        parts.append(description.tokens.reshape(count, -1))
    if kind == "text":
        parts.append(description.embedding)
    return np.concatenate(parts, axis=1)


class PictureReader:
    """Photograph -> what the scorer reads of it.

    Args:
        spec: the scorer's parts.
        extractor: features of cells.
        describer: knows the regions, and finds them; None where the scorer reads no semantics.
        segmenter: finds the regions where there is no describer.

    Raises:
        ConfigError: the scorer reads semantics, and there is no describer.
    """

    def __init__(
        self,
        spec: RsaSpec,
        extractor: CellExtractor,
        describer: RegionDescriber | None = None,
        segmenter: Segmenter | None = None,
    ) -> None:
        self.spec, self.extractor, self.describer, self.segmenter = spec, extractor, describer, segmenter
        self.width = semantics_width(spec.semantics, describer)

    def __call__(self, image: np.ndarray, name: str = "the image") -> PictureInputs:
        """Reads one photograph uint8 (H, W, 3), sRGB; ``name`` is what errors call it.

        Raises:
            DataError: it is too small, or its features are not finite.
        """
        features = self.extractor(image, name)
        description = self.describer(image, name) if self.describer is not None else None
        regions = description.regions if description is not None else self._cover(image)
        semantics = (
            semantics_of(description, self.spec.semantics)
            if description is not None
            else np.zeros((len(regions), 0), np.float32)
        )
        return PictureInputs(features, regions, region_shares(regions, features.grid, name), semantics, description)

    def narrowed(self, inputs: PictureInputs) -> PictureInputs:
        """A picture as this reader reads it, from what one of the same backbone and regions read, who reads more."""
        kind = self.spec.semantics
        if kind == "none" or inputs.description is None:
            return replace(inputs, semantics=np.zeros((len(inputs.regions), 0), np.float32))
        return replace(inputs, semantics=semantics_of(inputs.description, kind))

    def _cover(self, image: np.ndarray) -> tuple[Region, ...]:
        if self.spec.attention != "global" and self.segmenter is not None:
            return cover_of(image, self.segmenter)
        height, width = image.shape[:2]
        return (box_region((0, 0, width, height), height, width, "all"),)


@dataclass(frozen=True)
class RsaBatch:
    """Pictures as tensors; what is padded is 0.

    Attributes:
        mean, log_variance: (B, N, C) float32.
        shares: (B, R, N) float32; 0 says what is padded.
        semantics: (B, R, S) float32; None where S is 0.
    """

    mean: Tensor
    log_variance: Tensor
    shares: Tensor
    semantics: Tensor | None

    def to(self, device: torch.device | str) -> RsaBatch:
        """The same batch on another device."""
        semantics = None if self.semantics is None else self.semantics.to(device)
        return RsaBatch(self.mean.to(device), self.log_variance.to(device), self.shares.to(device), semantics)


def to_batch(pictures: Sequence[PictureInputs]) -> RsaBatch:
    """Pictures of any sizes and numbers of regions as one padded batch."""
    count = len(pictures)
    n_cells = max(item.shares.shape[1] for item in pictures)
    n_regions = max(item.shares.shape[0] for item in pictures)
    channels, width = pictures[0].features.mean.shape[1], pictures[0].semantics.shape[1]
    mean, log_variance = torch.zeros(count, n_cells, channels), torch.zeros(count, n_cells, channels)
    shares, semantics = torch.zeros(count, n_regions, n_cells), torch.zeros(count, n_regions, width)
    for row, item in enumerate(pictures):
        regions, cells = item.shares.shape
        mean[row, :cells] = torch.from_numpy(item.features.mean.astype(np.float32))
        log_variance[row, :cells] = torch.from_numpy(item.features.log_variance.astype(np.float32))
        shares[row, :regions, :cells] = torch.from_numpy(item.shares)
        semantics[row, :regions] = torch.from_numpy(item.semantics)
    return RsaBatch(mean, log_variance, shares, semantics if width else None)
