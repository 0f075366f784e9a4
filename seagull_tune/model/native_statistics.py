"""What native-resolution pixels say about distortions: the raw material of the local token.

A resized crop destroys the evidence of noise, blur and blocking. These statistics read small patches of the photograph
at its own resolution instead. Patches start at multiples of 8 pixels, so the block transform below falls on the grid of
a JPEG file's own blocks and sees coefficients that the codec has set to zero.

Per patch: log energies of the 8x8 DCT (Ahmed, Natarajan and Rao 1974) of luma, on the grid and off it by half a block,
as the log of the mean and the mean of the log (their gap tells sparse from Gaussian coefficients, the idea behind
DCT-domain natural-scene statistics, Saad, Bovik and Charrier 2012); chroma energies per diagonal; moments of gradients
and of the Laplacian (edge width, halos); level, spread and clipping of the colour channels.

Legend: N regions, P patches, S patch side, K 8x8 blocks of a patch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BLOCK = 8
ENERGY_FLOOR = 0.05
"""Added to energies, in squared 8-bit steps, so that log stays finite: below an 8-bit image's rounding noise (1/12)."""
MOMENTS = (0.5, 1.0, 2.0, 4.0)
_STEP_FLOOR = 0.25  # added to gradients, in 8-bit steps, so that flat patches have a logarithm


def dct_matrix(size: int = BLOCK) -> Tensor:
    """Orthonormal DCT-II matrix, float32 (size, size), rows are frequencies."""
    k = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * (2 * k[None, :] + 1) * k[:, None] / (2 * size)) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def _blocks(plane: Tensor) -> Tensor:
    """(N, P, S, S) -> (N, P, K, 8, 8) non-overlapping blocks; rows and columns that fill no block are left out."""
    tiles = plane.unfold(-2, BLOCK, BLOCK).unfold(-2, BLOCK, BLOCK)  # (N, P, S/8, S/8, 8, 8)
    return tiles.flatten(2, 3)


def _weighted_mean(values: Tensor, weights: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    return (values * weights).sum(dim) / weights.sum(dim).clamp_min(1e-6)


def _dct_log_energies(plane: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Log of mean energy and mean of log energy per coefficient, each (N, P, 64), of a plane (N, P, S, S)."""
    dct = dct_matrix().to(plane)
    energy = (dct @ _blocks(plane) @ dct.T).square().flatten(-2)  # (N, P, K, 64)
    share = _blocks(weights).mean(dim=(-1, -2)).unsqueeze(-1)  # (N, P, K, 1)
    mean = _weighted_mean(energy, share, 2)
    mean_log = _weighted_mean(torch.log(energy + ENERGY_FLOOR), share, 2)
    return torch.log(mean + ENERGY_FLOOR), mean_log


def _diagonal_matrix() -> Tensor:
    """(64, 14) averaging of coefficients into diagonals u + v = 1..14; the mean (u + v = 0) is the colour part's."""
    index = torch.arange(BLOCK)
    diagonal = (index[:, None] + index[None, :]).flatten()
    matrix = torch.stack([(diagonal == d).float() for d in range(1, 2 * BLOCK - 1)], dim=1)
    return matrix / matrix.sum(dim=0)


def _gradient_moments(luma: Tensor, weights: Tensor) -> Tensor:
    """Log absolute moments of differences at lags 1 and 2 and of the Laplacian, (N, P, 5 * len(MOMENTS))."""
    responses = [
        (luma[..., :, 1:] - luma[..., :, :-1], weights[..., :, 1:]),
        (luma[..., 1:, :] - luma[..., :-1, :], weights[..., 1:, :]),
        (luma[..., :, 2:] - luma[..., :, :-2], weights[..., :, 2:]),
        (luma[..., 2:, :] - luma[..., :-2, :], weights[..., 2:, :]),
    ]
    centre = luma[..., 1:-1, 1:-1]
    around = luma[..., :-2, 1:-1] + luma[..., 2:, 1:-1] + luma[..., 1:-1, :-2] + luma[..., 1:-1, 2:]
    responses.append((around - 4 * centre, weights[..., 1:-1, 1:-1]))
    out = []
    for response, weight in responses:
        magnitude = response.abs() + _STEP_FLOOR
        for power in MOMENTS:
            # Below the floor only where no weight is left: a region one pixel wide at the border of its patch.
            moment = _weighted_mean(magnitude**power, weight, (-1, -2)).clamp_min(_STEP_FLOOR**power)
            out.append(torch.log(moment) / power)
    return torch.stack(out, dim=-1)


def _colour(patches: Tensor, weights: Tensor) -> Tensor:
    """Level, spread, clipping and saturation of the channels, (N, P, 15); patches in 8-bit steps."""
    weight = weights.unsqueeze(2)  # (N, P, 1, S, S)
    mean = _weighted_mean(patches, weight, (-1, -2))  # (N, P, 3)
    deviation = (patches - mean[..., None, None]).square()
    spread = torch.log(_weighted_mean(deviation, weight, (-1, -2)) + 1.0)
    bright = _weighted_mean((patches >= 250).float(), weight, (-1, -2))
    dark = _weighted_mean((patches <= 5).float(), weight, (-1, -2))
    chroma = patches.amax(dim=2) - patches.amin(dim=2)  # (N, P, S, S)
    saturation = _weighted_mean(chroma, weights, (-1, -2))
    lightness = _weighted_mean(patches.amax(dim=2), weights, (-1, -2))
    grey = _weighted_mean((chroma < 4).float(), weights, (-1, -2))
    extra = torch.stack([saturation / 64, lightness / 64, grey], dim=-1)
    return torch.cat([mean / 64, spread, bright, dark, extra], dim=-1)


def native_statistics(patches: Tensor, weights: Tensor) -> Tensor:
    """Distortion statistics of native-resolution patches under the mask.

    Args:
        patches: (N, P, 3, S, S) float, sRGB in [0, 1].
        weights: (N, P, S, S) in [0, 1], any type, the mask inside the patch; all zero where a region has fewer patches.

    Returns:
        (N, P, :data:`NATIVE_STATISTICS`) float32.
    """
    pixels, weights = patches.float() * 255.0, weights.float()
    red, green, blue = pixels.unbind(dim=2)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601, as JPEG uses
    on_mean, on_log = _dct_log_energies(luma, weights)
    half = BLOCK // 2
    _, off_log = _dct_log_energies(luma[..., half:-half, half:-half], weights[..., half:-half, half:-half])
    diagonals = _diagonal_matrix().to(luma)
    parts = [on_mean[..., 1:], on_log[..., 1:], on_log[..., 1:] - off_log[..., 1:]]
    for plane in (0.564 * (blue - luma), 0.713 * (red - luma)):
        parts += [energies @ diagonals for energies in _dct_log_energies(plane, weights)]
    parts += [_gradient_moments(luma, weights), _colour(pixels, weights)]
    return torch.cat(parts, dim=-1)


NATIVE_STATISTICS = 3 * 63 + 4 * 14 + 5 * len(MOMENTS) + 15
"""Numbers per patch that :func:`native_statistics` returns."""
