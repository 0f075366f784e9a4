"""The released extractor behind the interface that the model asks of any extractor.

The release squashes a photograph to a square and resizes the box of each region to a square of its own (the processor's
view ``square``); its extractor then reads the tower's last four maps whole, not statistics of them.

Legend: B images, R regions of all images, R_i of one, C channels of a level, h, w its map's size, S side of a crop,
D width of the language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from seagull_tune.errors import ConfigError
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mfe import RegionEncoder
from seagull_tune.model.mfe_seagull import LEVELS, SeagullMaskExtractor


@dataclass
class RegionViews:
    """What the frozen tower says of a batch of images, for an extractor that reads whole maps.

    Attributes:
        grid: (B, image_grid ** 2, C) image grid of one map.
        maps: by the names of ``LEVELS``, (B, C, h, w).
        masks: per image (R_i, H, W), above 0 inside the region.
        crops: per image (R_i, 3, S, S), normalised.
        counts: (B,) int64, regions of each image.
    """

    grid: Tensor
    maps: dict[str, Tensor]
    masks: list[Tensor]
    crops: list[Tensor]
    counts: Tensor


class ReleasedEncoder(RegionEncoder):
    """Region tokens of :class:`~seagull_tune.model.mfe_seagull.SeagullMaskExtractor`.

    Args:
        config: sizes; ``mfe_map_sides`` and ``mfe_crop_side`` are those of the photographs' view.

    Raises:
        ConfigError: the tower has fewer than four maps, or sizes are missing.
    """

    mixes_regions: ClassVar[bool] = True  # its regions attend to each other

    def __init__(self, config: SeagullConfig) -> None:
        super().__init__()
        levels = len(LEVELS)
        if len(config.vision_channels) < levels or len(config.mfe_map_sides) != levels or not config.mfe_crop_side:
            raise ConfigError(
                f"The extractor 'seagull' reads {levels} maps of square photographs: {config.vision_tower} has "
                f"{len(config.vision_channels)} maps, mfe_map_sides is {tuple(config.mfe_map_sides)}, mfe_crop_side "
                f"{config.mfe_crop_side}. Choose a tower with {levels} maps, and let `assemble` measure the sizes."
            )
        self.extractor = SeagullMaskExtractor(
            channels=config.vision_channels[-levels:], map_sides=config.mfe_map_sides, width=config.mfe_hidden,
            text_width=config.text_width, crop_side=config.mfe_crop_side, local_width=config.mfe_hidden // 2,
            kept_inputs=config.mfe_kept_inputs,
        )  # fmt: skip

    def observe(
        self,
        maps: Sequence[Sequence[Tensor]],
        grid: Tensor,
        region_masks: Sequence[Tensor],
        region_geometry: Tensor,
        patches: Tensor,
        patch_masks: Tensor,
    ) -> RegionViews:
        """See :meth:`RegionEncoder.observe`; ``patches`` are the regions' crops, float (R, 1, 3, S, S)."""
        counts = [len(masks) for masks in region_masks]
        last = [levels[-len(LEVELS) :] for levels in maps]
        return RegionViews(
            grid=grid,
            maps={name: torch.stack([levels[i] for levels in last]).float() for i, name in enumerate(LEVELS)},
            masks=list(region_masks),
            crops=list(patches[:, 0].float().split(counts)),
            counts=torch.tensor(counts, device=grid.device),
        )

    def forward(self, views: RegionViews) -> Tensor:
        """Region tokens (R, 2, D): global first."""
        overall, local = self.extractor(views.maps, views.masks, views.crops)
        return torch.stack([torch.cat(overall), torch.cat(local)], dim=1)
