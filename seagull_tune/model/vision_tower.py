"""The vision tower: any timm backbone with ``features_only``, over images of any size.

Legend: B images, C channels, h, w the size of one map.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from seagull_tune.errors import ConfigError

# Transformers of timm take one image size only, unless they are built with the first of these that they know.
_ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False})


class VisionTower(nn.Module):
    """Multi-level feature maps of images whose sizes may differ.

    Images of one size run as one batch; nothing is padded, so an image's features do not depend on its neighbours.

    Args:
        name: timm model name.
        frozen: no gradients. Trained or not, the tower is never in training mode: no drop path, no batch statistics.

    Raises:
        ConfigError: timm has no such model, or it gives no feature maps.
    """

    def __init__(self, name: str, frozen: bool = True) -> None:
        super().__init__()
        self.backbone, patched = build_backbone(name)
        info: Any = self.backbone.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        # Windowed transformers of timm give their maps as (B, h, w, C).
        self._channels_last = str(getattr(self.backbone, "output_fmt", "NCHW")).endswith("NHWC")
        self.multiple: int = max(info.reduction()) if patched else 1
        self.frozen = frozen
        self.requires_grad_(not frozen)
        self.eval()

    @staticmethod
    def channels_of(name: str) -> tuple[int, ...]:
        """Channels of a backbone's maps, finest first, without building its weights."""
        with torch.device("meta"):
            info: Any = build_backbone(name)[0].feature_info
            return tuple(info.channels())

    @staticmethod
    def map_sides(name: str, side: int) -> tuple[int, ...]:
        """Sides of a backbone's maps of a square image, finest first, without building its weights."""
        with torch.device("meta"):
            backbone, _ = build_backbone(name)
            maps = backbone.eval()(torch.zeros(1, 3, side, side))
        last = str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC")
        return tuple(level.shape[1 if last else 2] for level in maps)

    def train(self, mode: bool = True) -> VisionTower:
        """Stays in evaluation mode: what the tower sees in a picture must not depend on the pictures beside it."""
        super().train(False)
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
                batch = self._whole_patches(torch.stack([images[i] for i in indices]))
                for level in self.backbone(batch.contiguous(memory_format=torch.channels_last)):
                    level = level.permute(0, 3, 1, 2) if self._channels_last else level  # (B, C, h, w)
                    for row, index in enumerate(indices):
                        maps[index].append(level[row])
        return maps

    def _whole_patches(self, batch: Tensor) -> Tensor:
        """(B, 3, H, W), scaled by less than a patch where the backbone needs sides of whole patches."""
        height, width = (max(1, round(side / self.multiple)) * self.multiple for side in batch.shape[-2:])
        if (height, width) == tuple(batch.shape[-2:]):
            return batch
        return interpolate(batch, size=(height, width), mode="bilinear", align_corners=False)


def build_backbone(name: str, **weights: object) -> tuple[nn.Module, bool]:
    """A timm backbone that gives feature maps, and whether it reads an image in whole patches.

    Args:
        name: timm model name.
        weights: where its weights come from, as ``timm.create_model`` takes it; random weights where nothing is said.

    Raises:
        ConfigError: timm has no such model, or it gives no feature maps.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise ConfigError(f"timm has no model {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
    try:
        for options in _ANY_SIZE:
            try:
                return timm.create_model(name, features_only=True, **options, **weights), True
            except TypeError:  # an option that this architecture does not have
                continue
        return timm.create_model(name, features_only=True, **weights), False
    except (RuntimeError, AttributeError) as error:
        raise ConfigError(f"The timm model {name!r} gives no feature maps ({error}); choose another one.") from error
