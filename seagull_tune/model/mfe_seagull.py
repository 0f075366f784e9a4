"""The released SEAGULL model's feature extractor (Chen et al., arXiv 2411.10161), rebuilt from its description.

    four maps, masks -> per level: mean under the mask -> basic token --+-> sums over levels -> mixed -> global token
                                   map, channel by channel -> keys -> attended token --+
    crop of the region's box -> two 1x1 convolutions, pooled to 1/16 -> attention -> MLP -> local token

Names and shapes of its tensors are those of the release, so that its weights load strictly; its outputs are proven
equal (``tests/unit/model/test_mfe_seagull.py``). What we do otherwise is in :mod:`seagull_tune.model.mfe`.

Legend: B images, R regions of one image, C channels of a level, h, w its map's size, E inner width, D width of the
language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu, scaled_dot_product_attention

from seagull_tune.errors import DataError, RegionError

LEVELS = ("res2", "res3", "res4", "res5")
"""Names of the maps, finest first, as the release calls the stages of its tower."""

CHANNELS = (192, 384, 768, 1536)
MAP_SIDES = (128, 64, 32, 16)
LOCAL_STRIDE = 16
"""Crop pixels per side of one number that the local branch reads: two average pools of 4."""


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the outer one.

    Args:
        width: of queries, keys and results.
        heads: they divide the inner width.
        shrink: outer width over inner width.
    """

    def __init__(self, width: int, heads: int, shrink: int = 1) -> None:
        super().__init__()
        inner = width // shrink
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(..., Q, width) asks (..., K, width), which are keys and values; (..., Q, width)."""
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2)  # (..., heads, Q or K, inner / heads)
            for layer, x in ((self.q_proj, queries), (self.k_proj, keys), (self.v_proj, keys))
        )
        out: Tensor = self.out_proj(scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2))
        return out


class Perceptron(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, values: Tensor) -> Tensor:
        """(..., widths[0]) -> (..., widths[-1])."""
        for layer in self.layers[:-1]:
            values = relu(layer(values))
        out: Tensor = self.layers[-1](values)
        return out


class _FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, 2 * width)
        self.lin2 = nn.Linear(2 * width, width)

    def forward(self, values: Tensor) -> Tensor:
        out: Tensor = self.lin2(relu(self.lin1(values)))
        return out


class RegionAttention(nn.Module):
    """Regions of one image look at each other, then at a whole map; one block serves all levels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads, shrink=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _FeedForward(width)

    def forward(self, regions: Tensor, keys: Tensor) -> Tensor:
        """(R, E) and the map's channels (C, E) -> (R, E)."""
        regions = self.norm1(regions + self.self_attn(regions, regions))
        regions = self.norm2(regions + self.cross_attn(regions, keys))
        out: Tensor = regions + self.mlp(regions)
        return out


class _Kept(nn.Module):
    """Weights that the release holds and never reads: buffers, so that nothing trains them, under their own names."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for inputs, outputs in pairwise(widths):
            layer = nn.Module()
            layer.register_buffer("weight", torch.zeros(outputs, inputs))
            layer.register_buffer("bias", torch.zeros(outputs))
            self.layers.append(layer)


class SeagullMaskExtractor(nn.Module):
    """Global and local tokens of regions, as the release computes them. The defaults are its sizes.

    Args:
        channels, map_sides: of the maps, finest first; the maps are square, since the release squashes photographs.
        width: E.
        text_width: D.
        heads: of every attention.
        crop_side: side of the square crops; the local branch reads ``(crop_side / 16) ** 2`` numbers.
        local_width: width inside the local branch's MLP.
        kept_inputs: inputs of a layer stack that the release stores and never reads; 0 leaves it out.
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        map_sides: Sequence[int] = MAP_SIDES,
        width: int = 1024,
        text_width: int = 4096,
        heads: int = 8,
        crop_side: int = 512,
        local_width: int = 512,
        kept_inputs: int = 112 * 112,
    ) -> None:
        super().__init__()
        self.map_sides, self.crop_side = tuple(map_sides), crop_side
        self.feat_linear = nn.Linear(width, text_width)
        self.cross_feat_linear = nn.Linear(width, text_width)
        if kept_inputs:
            self.mask_linear = _Kept((kept_inputs, width, width, text_width))
        self.cross_att_res = RegionAttention(width, heads)
        for name, depth, side in zip(LEVELS, channels, map_sides, strict=True):
            self.add_module(name, nn.Linear(depth, width))
            self.add_module(f"g_{name}", nn.Linear(side * side, width))
        self.final_mlp = nn.Linear(2 * text_width, text_width)
        self.global_vit = nn.Sequential(
            nn.Conv2d(3, 5, 1), nn.GELU(), nn.AvgPool2d(4), nn.Conv2d(5, 1, 1), nn.GELU(), nn.AvgPool2d(4)
        )
        numbers = (crop_side // LOCAL_STRIDE) ** 2
        self.sa = Attention(numbers, heads)
        self.mlp = Perceptron((numbers, local_width, local_width, text_width))

    def forward(
        self, features: Mapping[str, Tensor], masks: Sequence[Tensor], crops: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of the regions of B images.

        Args:
            features: by the names of :data:`LEVELS`, float (B, C, h, w), ``h = w`` the level's map side.
            masks: per image, (R, H, W), not zero inside the region; any size.
            crops: per image, float (R, 3, crop_side, crop_side), normalised: the box of each region.

        Returns:
            Global and local tokens, each per image (R, D).

        Raises:
            RegionError: an empty mask, or masks and crops that do not belong together.
            DataError: a map or a crop of another size than the extractor's.
        """
        self._check(features, masks, crops)
        image_tokens = [
            self.global_tokens({name: features[name][image] for name in LEVELS}, regions)
            for image, regions in enumerate(masks)
        ]
        return image_tokens, [self.local_tokens(regions) for regions in crops]

    def global_tokens(self, maps: Mapping[str, Tensor], masks: Tensor) -> Tensor:
        """Maps (C, h, w) of one image and its masks (R, H, W) -> (R, D)."""
        basic: list[Tensor] = []
        attended: list[Tensor] = []
        for name in LEVELS:
            level = maps[name]
            basic.append(self.get_submodule(name)(masked_mean(level, masks)))  # (R, E)
            keys = self.get_submodule(f"g_{name}")(level.flatten(1))  # (C, E)
            attended.append(self.cross_att_res(basic[-1], keys))
        whole = self.cross_feat_linear(torch.stack(attended).sum(dim=0))
        own = self.feat_linear(torch.stack(basic).sum(dim=0))
        out: Tensor = self.final_mlp(torch.cat([whole, own], dim=-1))
        return out

    def local_tokens(self, crops: Tensor) -> Tensor:
        """Crops (R, 3, crop_side, crop_side) -> (R, D)."""
        numbers = self.global_vit(crops).flatten(1)[:, None]  # (R, 1, (crop_side / 16) ** 2)
        # Every region is a sequence of one and can only look at itself. Its queries and keys change nothing, but a
        # training over several processes wants every weight to take part.
        out: Tensor = self.mlp(self.sa(numbers, numbers))[:, 0]
        return out

    def _check(self, features: Mapping[str, Tensor], masks: Sequence[Tensor], crops: Sequence[Tensor]) -> None:
        for name, side in zip(LEVELS, self.map_sides, strict=True):
            if tuple(features[name].shape[-2:]) != (side, side):
                seen = "x".join(map(str, features[name].shape[-2:]))
                raise DataError(f"The map {name} is {seen}; this extractor was built for {side}x{side} maps.")
        for image, (regions, boxes) in enumerate(zip(masks, crops, strict=True)):
            if len(regions) != len(boxes):
                raise RegionError(f"Image {image + 1} has {len(regions)} masks and {len(boxes)} crops; one per region.")
            if tuple(boxes.shape[1:]) != (3, self.crop_side, self.crop_side):
                raise DataError(
                    f"The crops of image {image + 1} are {tuple(boxes.shape[1:])}; "
                    f"allowed: (3, {self.crop_side}, {self.crop_side})."
                )
            empty = (~(regions != 0).flatten(1).any(dim=1)).nonzero()
            if len(empty):
                raise RegionError(
                    f"Region {int(empty[0]) + 1} of image {image + 1} is empty: a region needs at least one pixel."
                )


def masked_mean(level: Tensor, masks: Tensor) -> Tensor:
    """Mean of a map under masks that are first resized to it; a cell counts wherever the resized mask is above zero.

    Args:
        level: (C, h, w).
        masks: (R, H, W), not zero inside the region.

    Returns:
        (R, C); zeros, as in the release, where a region is so small that no cell of the map sees it.
    """
    resized = interpolate(masks[:, None].to(level.dtype), level.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    inside = (resized > 0).to(level.dtype).flatten(1)  # (R, h * w)
    cells = inside.sum(dim=1, keepdim=True)
    out: Tensor = inside @ level.flatten(1).T / (cells + 1e-8)
    return out
