"""Statistics of feature maps under masks: the raw material of the global token.

Distortions move the *spread* of a feature at least as much as its mean (blur removes variance, noise adds it), so every
channel is pooled to its mean and its log-variance under the area-weighted mask.

Legend: R regions, C channels, h, w map size, H, W mask size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

VARIANCE_FLOOR = 1e-6
"""Added to variances before the logarithm; far below the variance of any live channel of a normalised network."""


def area_resize(masks: Tensor, height: int, width: int) -> Tensor:
    """Share of each output cell that lies inside the mask.

    Args:
        masks: (R, H, W), float in [0, 1].
        height, width: output size.

    Returns:
        (R, height, width), float in [0, 1].
    """
    if height <= masks.shape[-2] and width <= masks.shape[-1]:
        return adaptive_avg_pool2d(masks[:, None], (height, width))[:, 0]
    return interpolate(masks[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def masked_statistics(maps: Sequence[Tensor], masks: Tensor) -> Tensor:
    """Mean and log-variance of every channel of every level under every mask, and over the whole image.

    Args:
        maps: levels, each float (C_l, h_l, w_l).
        masks: (R, H, W), float in [0, 1]; every mask has weight somewhere.

    Returns:
        (R + 1, 2 * sum(C_l)) float32; the last row is the whole image.
    """
    everything = torch.ones_like(masks[:1])
    weights = torch.cat([masks, everything])  # (R + 1, H, W)
    pooled = []
    for level in maps:
        values = level.float().flatten(1).T  # (h * w, C)
        share = area_resize(weights, *level.shape[-2:]).flatten(1)  # (R + 1, h * w)
        share = share / share.sum(dim=1, keepdim=True).clamp_min(1e-12)
        mean = share @ values  # (R + 1, C)
        # Centring on the image mean first keeps E[x^2] - E[x]^2 from cancelling where the mean dwarfs the spread.
        centre = values.mean(dim=0)
        offset = mean - centre
        variance = (share @ (values - centre).square() - offset.square()).clamp_min(0)
        pooled += [mean, torch.log(variance + VARIANCE_FLOOR)]
    return torch.cat(pooled, dim=1)


def image_grid(level: Tensor, side: int) -> Tensor:
    """Average-pools the coarsest map to a grid of image tokens.

    Args:
        level: (C, h, w) float.
        side: rows and columns of the grid.

    Returns:
        (side * side, C) float32, row-major.
    """
    grid = adaptive_avg_pool2d(level.float()[None], (side, side))[0]  # (C, side, side)
    return grid.flatten(1).T.contiguous()
