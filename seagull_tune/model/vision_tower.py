"""The vision tower: any timm backbone with ``features_only``, over images of any size.

Legend: B images, C channels, h, w the size of one map.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn


class VisionTower(nn.Module):
    """Multi-level feature maps of images whose sizes may differ.

    Images of one size run as one batch; nothing is padded, so an image's features do not depend on its neighbours.

    Args:
        name: timm model name.
        frozen: no gradients, and never in training mode (no drop path, no batch statistics).
    """

    def __init__(self, name: str, frozen: bool = True) -> None:
        super().__init__()
        self.backbone = timm.create_model(name, features_only=True, pretrained=False)
        self.channels: tuple[int, ...] = tuple(self.backbone.feature_info.channels())
        self.frozen = frozen
        if frozen:
            self.requires_grad_(False)
            self.eval()

    @staticmethod
    def channels_of(name: str) -> tuple[int, ...]:
        """Channels of a backbone's maps, finest first, without building its weights."""
        with torch.device("meta"):
            return tuple(timm.create_model(name, features_only=True, pretrained=False).feature_info.channels())

    def train(self, mode: bool = True) -> VisionTower:
        """Training mode, unless frozen: a frozen tower stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self

    def forward(self, images: Sequence[Tensor]) -> list[list[Tensor]]:
        """Args:
            images: B tensors (3, H_i, W_i), float, normalised.

        Returns:
            Per image the tower's maps, finest first: float (C_l, h_l, w_l).
        """
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            groups[tuple(image.shape)].append(index)
        maps: list[list[Tensor]] = [[] for _ in images]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            for indices in groups.values():
                batch = torch.stack([images[i] for i in indices])
                for level in self.backbone(batch.contiguous(memory_format=torch.channels_last)):
                    for row, index in enumerate(indices):
                        maps[index].append(level[row])
        return maps
