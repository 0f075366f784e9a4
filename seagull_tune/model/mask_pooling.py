"""Statistics of feature maps under masks: the raw material of the global token.

Distortions move the *spread* of a feature at least as much as its mean (blur removes variance, noise adds it), so every
channel is pooled to its mean and its log-variance under the area-weighted mask. The masks of a batch become one table
of weights per level; a matrix product of it with the maps, and one with their squares, pools all images at once,
whatever their sizes: smaller maps are padded, and padding weighs nothing.

Legend: B images, R regions (of one image, or of all), K kinds of masks (the regions, and the rings around them),
C channels, h, w map size, H, W mask size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

VARIANCE_FLOOR = 1e-6
"""Added to variances before the logarithm; far below the variance of any live channel of a normalised network."""

_CHUNK_VALUES = 4 << 20  # map values that are centred and squared at a time: bounds memory, and stays in caches


@dataclass(frozen=True)
class PooledMaps:
    """Statistics of maps; levels in order, per level the mean of every channel, then (with spread) its log-variance.

    Attributes:
        regions: (R, S) under the masks, float32; S is 2 * sum(C_l), or sum(C_l) without spread.
        image: (R, S) over the whole image of each region.
        context: (R, S) in the ring around each region; None where none was asked for.
    """

    regions: Tensor
    image: Tensor
    context: Tensor | None


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


def cell_shares(masks: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
    """:func:`area_resize` to several sizes, finest first, where possible each from the one before.

    Args:
        masks: (R, H, W), float in [0, 1].
        sizes: (h, w) of every level.

    Returns:
        Per level (R, h, w).
    """
    shares: list[Tensor] = []
    source = masks
    for height, width in sizes:
        even = source.shape[-2] % height == 0 and source.shape[-1] % width == 0
        shares.append(area_resize(source if even else masks, height, width))
        # Cells of one size that tile the image: their means are as good as its pixels.
        tiles = masks.shape[-2] % height == 0 and masks.shape[-1] % width == 0
        source = shares[-1] if tiles else masks
    return shares


def ring(shares: Tensor, width: float) -> Tensor:
    """What lies around each region: the region grown by a square, less the region.

    Args:
        shares: (R, h, w) in [0, 1], share of each cell inside the region; no region is empty.
        width: how far a region grows to each side, as a share of the square root of its area; at least one cell.

    Returns:
        (R, h, w) in [0, 1]; where a region leaves nothing around it (it is the whole image), the region itself.
    """
    radius = (width * shares.sum(dim=(1, 2)).sqrt()).round().clamp_min(1).long()[:, None]  # (R, 1)
    grown = shares > 0
    for dim in (1, 2):
        side = shares.shape[dim]
        # A window holds a cell of the region if the running count (exact, in integers) rises inside it.
        count = pad(grown.cumsum(dim), (1, 0) if dim == 2 else (0, 0, 1, 0))
        index = torch.arange(side, device=shares.device)
        starts, ends = (index - radius).clamp_min(0), (index + radius + 1).clamp_max(side)  # (R, side)
        first, last = (count.gather(dim, at.unsqueeze(3 - dim).expand_as(shares)) for at in (starts, ends))
        grown = last > first
    around = grown * (1.0 - shares)
    return torch.where(around.sum(dim=(1, 2), keepdim=True) > 0, around, shares)


def masked_statistics(
    maps: Sequence[Sequence[Tensor]], masks: Sequence[Tensor], spread: bool = True, context: float = 0.0
) -> PooledMaps:
    """Mean and log-variance of every channel of every level under every mask, over whole images, and around regions.

    Args:
        maps: per image its levels, finest first, each float (C_l, h_l, w_l); sizes may differ from image to image.
        masks: per image (R_i, H_i, W_i), float in [0, 1]; every mask has weight somewhere.
        spread: whether log-variances are wanted beside the means.
        context: width of the ring around a region (see :func:`ring`, at the finest level); 0 asks for none.
    """
    kinds = 1 if context <= 0 else 2
    weights = [_weights(levels, regions, context) for levels, regions in zip(maps, masks, strict=True)]
    pooled: list[list[Tensor]] = [[] for _ in range(1 + kinds)]
    # In half precision the variance would be the difference of two roundings.
    with torch.autocast(masks[0].device.type, enabled=False):
        for index in range(len(maps[0])):
            table = _table([mine[index] for mine in weights])
            for found in _level_statistics([levels[index] for levels in maps], table, spread):  # (B, rows, C)
                for kind, rows in enumerate(_rows_of(found, [len(regions) for regions in masks], kinds)):
                    pooled[kind].append(rows)
    image, regions, *around = (torch.cat(parts, dim=1) for parts in pooled)
    return PooledMaps(regions, image, around[0] if around else None)


def _weights(levels: Sequence[Tensor], masks: Tensor, context: float) -> list[Tensor]:
    """Weights of the cells of one image, per level (1 + K * R, h, w), each row of sum 1.

    The whole image comes first, then its regions, then their rings. Masks are shrunk image by image: they have their
    image's own size, and padding them at full size costs more than it saves.
    """
    sizes = [(int(level.shape[-2]), int(level.shape[-1])) for level in levels]
    shares = cell_shares(masks.float(), sizes)
    if context > 0:
        rings = cell_shares(ring(shares[0], context), sizes)
        shares = [torch.cat(pair) for pair in zip(shares, rings, strict=True)]
    tables = []
    for share in shares:
        total = share.sum(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        height, width = share.shape[1:]
        whole = share.new_full((1, height, width), 1.0 / (height * width))
        tables.append(torch.cat([whole, share / total]))
    return tables


def _table(weights: Sequence[Tensor]) -> Tensor:
    """Weights of B images (rows_i, h_i, w_i), padded with zeros to (B, rows, h, w)."""
    shape = [max(one.shape[axis] for one in weights) for axis in range(3)]
    return torch.stack([_padded(one, shape) for one in weights])


def _padded(values: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of three axes with zeros at the end of those that are shorter than in ``shape``."""
    if list(values.shape) == list(shape):
        return values
    return pad(values, [side for axis in (2, 1, 0) for side in (0, shape[axis] - values.shape[axis])])


def _level_statistics(levels: Sequence[Tensor], table: Tensor, spread: bool) -> list[Tensor]:
    """Mean and (with spread) log-variance, each (B, rows, C), of one level (C, h_i, w_i) under (B, rows, h, w)."""
    weights = table.flatten(2)  # (B, rows, h * w)
    chunks = [_chunk_statistics(values, weights, spread) for values in _chunks(levels, table.shape)]
    return [torch.cat(parts, dim=2) for parts in zip(*chunks, strict=True)]


def _chunks(levels: Sequence[Tensor], shape: torch.Size) -> Iterator[Tensor]:
    """A level of B images, some channels at a time: float32 (B, c, h * w), each a copy."""
    batch, _, height, width = shape
    step = max(1, _CHUNK_VALUES // (batch * height * width))
    for first in range(0, levels[0].shape[0], step):
        some = [level[first : first + step] for level in levels]
        yield torch.stack([_padded(values, (len(values), height, width)) for values in some]).float().flatten(2)


def _chunk_statistics(values: Tensor, weights: Tensor, spread: bool) -> tuple[Tensor, ...]:
    """Mean and (with spread) log-variance, each (B, rows, c), of values (B, c, h * w), which are overwritten."""
    centre = weights[:, :1] @ values.transpose(1, 2)  # (B, 1, c)
    if not spread:
        return (weights @ values.transpose(1, 2),)
    # Centring on the image mean first keeps E[x^2] - E[x]^2 from cancelling where the mean dwarfs the spread.
    values = values.sub_(centre.transpose(1, 2))
    offset = weights @ values.transpose(1, 2)  # (B, rows, c)
    variance = weights @ values.square_().transpose(1, 2) - offset.square()
    return offset + centre, torch.log(variance.clamp_min(0) + VARIANCE_FLOOR)


def _rows_of(values: Tensor, counts: Sequence[int], kinds: int) -> Iterator[Tensor]:
    """Rows of all images' regions, (R, C) each: their image, themselves, then (with two kinds) their rings."""
    yield torch.cat([rows[:1].expand(count, -1) for rows, count in zip(values, counts, strict=True)])
    for kind in range(kinds):
        yield torch.cat([
            rows[1 + kind * count : 1 + (kind + 1) * count] for rows, count in zip(values, counts, strict=True)
        ])  # fmt: skip


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
