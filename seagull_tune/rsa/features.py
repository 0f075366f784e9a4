"""Frozen features of images, as statistics of cells: small enough to keep, exact enough to be re-weighted later.

Every map of the backbone is summed up in the cells of one grid: the mean and the log-variance of each channel inside
each cell. Any attention map over the cells then gives the mean and the variance of the *full-resolution* maps under it
(:func:`seagull_tune.rsa.attention.weighted_statistics`), so the maps themselves need not be kept: half a megabyte an
image instead of four, float16.

A module of your own takes part as it is, given a name and the sizes of its maps::

    class Mine(nn.Module):
        identity, channels, stride = "mine-v1", (64, 128), 16
        def forward(self, images):  # a list of float (3, H, W), normalised; per image its maps (C, h, w), finest first
            return [[level[0] for level in my_network(image[None])] for image in images]
    CellExtractor(BackboneSettings(name="mine"), backbone=Mine())

Legend: H, W image size; N cells; h, w size of a map or of the grid; C channels of all levels; R regions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from seagull_tune.config.rsa import BackboneSettings
from seagull_tune.data.array_cache import ArrayCache, key_of
from seagull_tune.data.visual import MIN_SIDE, fit_size, normalised
from seagull_tune.errors import CheckpointError, ConfigError, DataError, RegionError
from seagull_tune.images import image_hash, require_min_size
from seagull_tune.model.bases import load_tower_weights, pin
from seagull_tune.model.mask_pooling import VARIANCE_FLOOR, area_resize
from seagull_tune.model.vision_tower import VisionTower
from seagull_tune.records import Region
from seagull_tune.regions.masks import area_weights, decode_all

FLOOR = VARIANCE_FLOOR
_VERSION = 1
"""Of the statistics; a higher one makes cached features be computed anew."""


class Backbone(Protocol):
    """What gives feature maps.

    Attributes:
        channels: of its maps, finest first.
        stride: of its coarsest map, in pixels; smaller images are refused.
        identity: names architecture and weights; cached features belong to it.
    """

    @property
    def channels(self) -> tuple[int, ...]: ...

    @property
    def stride(self) -> int: ...

    @property
    def identity(self) -> str: ...

    def __call__(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """B images, float (3, H_i, W_i), normalised -> per image its maps, float (C_l, h_l, w_l), finest first."""
        ...


class TimmBackbone(VisionTower):
    """Any timm backbone with feature maps, with the weights that the settings name.

    Raises:
        ConfigError: timm has no such model, it gives no feature maps, or the weights are no reference.
        CheckpointError: the weights are of another architecture.
    """

    def __init__(self, settings: BackboneSettings) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            super().__init__(settings.name)
        info: Any = self.backbone.feature_info
        self.stride = int(max(info.reduction()))
        if settings.weights is None:
            self.identity = f"{settings.name}#{_digest(self)}"
            return
        reference = pin(settings.weights)
        weights = load_tower_weights(reference, settings.name)
        missing = self.backbone.load_state_dict(_fitting(weights, self.backbone, reference), strict=False).missing_keys
        # A full classifier has a head that the feature extractor lacks; the other direction would be a real loss.
        if missing:
            raise CheckpointError(f"{reference} lacks {len(missing)} tensors of {settings.name}: {missing[:3]} ...")
        self.identity = f"{settings.name}={reference}"


def _fitting(weights: dict[str, Tensor], module: torch.nn.Module, reference: str) -> dict[str, Tensor]:
    """The weights, unless one has another shape than in the module.

    Raises:
        CheckpointError: naming those that have.
    """
    own = module.state_dict()
    wrong = [name for name, tensor in weights.items() if name in own and own[name].shape != tensor.shape]
    if wrong:
        raise CheckpointError(
            f"{reference} is of another architecture: {len(wrong)} tensors have other shapes ({wrong[0]}, ...). "
            "Let backbone.name and backbone.weights name the same one."
        )
    return weights


def _digest(module: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class CellFeatures:
    """Statistics of an image's cells, row by row.

    Attributes:
        mean, log_variance: float16 (N, C), of each channel of each level inside each cell.
        grid: rows and columns of the cells; N is their product.
    """

    mean: np.ndarray
    log_variance: np.ndarray
    grid: tuple[int, int]


class CellExtractor:
    """Images -> statistics of their cells, kept on disk where a cache is given.

    Args:
        settings: backbone, size of the image and of the cells.
        backbone: a module of your own; None builds the one that the settings name.
        cache: where results are kept.
        device: where the backbone runs.

    Raises:
        ConfigError: a level that the backbone does not have, or what :class:`TimmBackbone` raises.
    """

    def __init__(
        self,
        settings: BackboneSettings,
        backbone: Backbone | None = None,
        cache: ArrayCache | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.settings, self.cache, self.device = settings, cache, torch.device(device)
        self.backbone: Backbone = backbone if backbone is not None else TimmBackbone(settings)
        if isinstance(self.backbone, torch.nn.Module):
            self.backbone.eval().to(self.device)
        count = len(self.backbone.channels)
        self.levels = settings.levels if settings.levels is not None else tuple(range(count))
        if not self.levels or max(self.levels) >= count:
            raise ConfigError(
                f"backbone.levels is {list(self.levels)}; {settings.name} has {count} maps, allowed: some of "
                f"0 to {count - 1}."
            )

    @property
    def channels(self) -> int:
        """C, over the levels that are read."""
        return sum(self.backbone.channels[level] for level in self.levels)

    def key(self, image: np.ndarray) -> str:
        """Name of an image's features: its content, the backbone, and every setting that they depend on."""
        chosen = self.settings.model_dump(mode="json", include={"max_side", "cell", "mean", "std"})
        return key_of("cells", _VERSION, image_hash(image), self.backbone.identity, list(self.levels), chosen)

    def __call__(self, image: np.ndarray, name: str = "the image") -> CellFeatures:
        """Features of one image.

        Args:
            image: uint8 (H, W, 3), sRGB.
            name: what errors call it.

        Raises:
            DataError: it is smaller than the backbone's coarsest stride, or its features are not finite.
        """
        require_min_size(image, max(MIN_SIDE, self.backbone.stride), name)
        key = self.key(image) if self.cache is not None else ""
        kept = self.cache.get(key) if self.cache is not None else None
        if kept is not None:
            arrays, grid = kept
            return CellFeatures(arrays["mean"], arrays["log_variance"], (int(grid[0]), int(grid[1])))
        features = self._compute(image, name)
        if self.cache is not None:
            arrays = {"mean": features.mean, "log_variance": features.log_variance}
            self.cache.put(key, arrays, list(features.grid))
        return features

    def _compute(self, image: np.ndarray, name: str) -> CellFeatures:
        height, width = fit_size(image.shape[0], image.shape[1], self.settings.max_side)
        # A long strip may fall below the stride when its longer side is brought to size.
        height, width = max(height, self.backbone.stride), max(width, self.backbone.stride)
        if (height, width) != image.shape[:2]:
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(normalised(image, self.settings.mean, self.settings.std)).to(self.device)
        grid = max(1, round(height / self.settings.cell)), max(1, round(width / self.settings.cell))
        with torch.inference_mode():
            maps = self.backbone([pixels])[0]
            pairs = [cell_statistics(maps[level], grid) for level in self.levels]
        mean, log_variance = (
            torch.cat([pair[part] for pair in pairs], dim=1).to("cpu", torch.float16).numpy() for part in (0, 1)
        )
        for values in (mean, log_variance):
            bad = int((~np.isfinite(values)).any(axis=0).sum())
            if bad:
                raise DataError(
                    f"{name}: {bad} of {self.channels} features are not finite (nan, or too large for float16). "
                    f"Look at the image, or at the weights of {self.backbone.identity}."
                )
        return CellFeatures(mean, log_variance, grid)


def cell_statistics(level: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of one map inside the cells of a grid.

    Args:
        level: (C, h, w) float. Where it is coarser than the grid it is interpolated, and has no spread inside a cell.
        grid: rows and columns.

    Returns:
        Two (N, C) float32, row by row.
    """
    values = level.float()
    # Centred first, so that E[x^2] - E[x]^2 does not cancel where the mean dwarfs the spread.
    centre = values.mean(dim=(1, 2), keepdim=True)
    values = values - centre
    offset = area_resize(values, *grid)
    coarser = grid[0] > level.shape[-2] or grid[1] > level.shape[-1]
    variance = torch.zeros_like(offset) if coarser else area_resize(values.square(), *grid) - offset.square()
    mean = (offset + centre).flatten(1).T
    return mean, torch.log(variance.clamp_min(0.0) + FLOOR).flatten(1).T


def region_shares(regions: Sequence[Region], grid: tuple[int, int], name: str = "the image") -> np.ndarray:
    """Share of every cell that lies inside every region of a cover.

    Args:
        regions: each pixel belongs to exactly one (:func:`seagull_tune.regions.partition.non_overlapping`).
        grid: rows and columns of the cells.
        name: what errors call the image.

    Returns:
        float32 (R, N); every column sums to 1.

    Raises:
        RegionError: there are none, or they leave pixels out or share some.
    """
    if not regions:
        raise RegionError(f"{name}: no region was given; a cover of the image has at least one.")
    masks = decode_all(regions)
    count = masks.sum(axis=0, dtype=np.int32)
    bare, shared = int((count == 0).sum()), int((count > 1).sum())
    if bare or shared:
        raise RegionError(
            f"{name}: {len(regions)} regions leave {bare:,} pixels out and share {shared:,} of {count.size:,}; each "
            "pixel belongs to exactly one. Make a cover of them: seagull_tune.regions.partition.non_overlapping."
        )
    shares = area_weights(masks, *grid).reshape(len(regions), -1)
    shares /= shares.sum(axis=0, keepdims=True)
    return shares
