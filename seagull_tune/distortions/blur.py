"""Blur: gaussian (lens softness), motion (camera or subject moves along a line), shake (a hand-held camera moves along
a curve), defocus (out of focus). All act in linear light.

Params: ``sigma`` (gaussian) standard deviation in pixels; ``length`` (motion, shake) of the path in pixels, its angle
is drawn from the step's generator; ``turn`` (shake) by how much the path turns in all, in radians, its side and its
wobble are drawn; ``radius`` (defocus) of the blur disk in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from seagull_tune.distortions.base import Image, Params, Variant, geometric
from seagull_tune.distortions.linear import Float32, float_to_srgb, to_light, to_light_float, to_srgb

_DIRECT_SIDE = 11
"""Up to this side OpenCV convolves directly."""
_MAX_TAPS = 150
"""More taps than these are slower, added one by one, than the frequency domain."""
_TURN = 2.4
"""Turn of a shaken path, radians: well over a right angle, so that it blurs along both axes."""
_WOBBLE = 0.6
"""Amplitude of the wobble of a shaken path's heading, radians."""


def _gaussian(image: Image, params: Params, rng: np.random.Generator) -> Image:
    # OpenCV's 16-bit gaussian is fixed-point and therefore bit-exact everywhere.
    size = 2 * _gaussian_context(params) + 1
    blurred = cv2.GaussianBlur(to_light(image), (size, size), params["sigma"], borderType=cv2.BORDER_REFLECT_101)
    return to_srgb(np.asarray(blurred, dtype=np.uint16))


def _gaussian_context(params: Params) -> int:
    return max(1, math.ceil(3.0 * params["sigma"]))


def line_kernel(length: float, angle: float) -> Float32:
    """Point spread function of a steady motion.

    Args:
        length: of the path in pixels, > 0.
        angle: of the path in radians.

    Returns:
        (K, K) float32, K odd, sums to one; bilinear splat of densely placed points on the path.
    """
    points = _path_points(length)
    along = (np.arange(points) + 0.5) / points * length - length / 2.0
    return _path_kernel(along * math.cos(angle), along * math.sin(angle), _path_reach(length))


def curve_kernel(length: float, turn: float, angle: float, phase: float) -> Float32:
    """Point spread function of a shaken camera: steady speed along a path that bends and wobbles.

    Args:
        length: of the path in pixels, > 0.
        turn: difference between the first and the last heading in radians, the sign is the side; 0 with no wobble
            would be a line.
        angle: mean heading in radians.
        phase: of the wobble, one period along the path, in radians.

    Returns:
        (K, K) float32, K odd, sums to one; the path's centroid lies on the middle pixel, so that nothing is shifted.
    """
    points = _path_points(length)
    along = (np.arange(points) + 0.5) / points
    heading = angle + turn * (along - 0.5) + _WOBBLE * np.sin(2.0 * math.pi * along + phase)
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    step = length / points
    return _path_kernel((x - x.mean()) * step, (y - y.mean()) * step, _path_reach(length))


def _path_points(length: float) -> int:
    return max(16, 8 * math.ceil(length))


def _path_reach(length: float) -> int:
    """Pixels that a path around its centroid can reach: no point is farther from it than half of the length."""
    return math.ceil(length / 2.0) + 1


def _path_kernel(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], half: int) -> Float32:
    """Bilinear splat of the points ``x``, ``y`` (P,), in pixels from the centre: (2 half + 1, 2 half + 1), sum one."""
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    x, y = x + half, y + half
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):
        for dy in (0, 1):
            share = (1 - np.abs(x - left - dx)) * (1 - np.abs(y - top - dy))
            np.add.at(kernel, (top + dy, left + dx), share)
    return (kernel / kernel.sum()).astype(np.float32)


def disk_kernel(radius: float) -> Float32:
    """Point spread function of an ideal lens out of focus: a disk with an antialiased rim.

    Args:
        radius: in pixels, > 0.

    Returns:
        (K, K) float32, K odd, sums to one; pixel coverage by 9 x 9 supersampling.
    """
    half = math.ceil(radius)
    fine = (np.arange(9 * (2 * half + 1)) + 0.5) / 9.0 - 0.5 - half
    inside = fine[:, None] ** 2 + fine[None, :] ** 2 <= radius * radius
    coverage = inside.reshape(2 * half + 1, 9, 2 * half + 1, 9).mean(axis=(1, 3))
    return (coverage / coverage.sum()).astype(np.float32)


def _gaussian_light(light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    size = 2 * _gaussian_context(params) + 1
    blurred = cv2.GaussianBlur(light, (size, size), params["sigma"], borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, dtype=np.float32)


def _convolve(image: Image, kernel: Float32) -> Image:
    return float_to_srgb(_convolve_light(to_light_float(image), kernel))


def _convolve_light(light: Float32, kernel: Float32) -> Float32:
    taps = np.argwhere(kernel > 0)
    if kernel.shape[0] <= _DIRECT_SIDE or len(taps) > _MAX_TAPS:
        blurred = cv2.filter2D(light, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
        return np.asarray(blurred, dtype=np.float32)
    # A large kernel that is mostly empty: adding shifted pictures beats OpenCV's way over the frequency domain.
    height, width = light.shape[:2]
    half = kernel.shape[0] // 2
    padded = cv2.copyMakeBorder(light, half, half, half, half, cv2.BORDER_REFLECT_101)
    total = np.zeros_like(light)
    for y, x in taps:
        cv2.scaleAdd(padded[y : y + height, x : x + width], float(kernel[y, x]), total, total)
    return total


def _motion_kernel(params: Params, rng: np.random.Generator) -> Float32:
    return line_kernel(params["length"], float(rng.random()) * math.pi)


def _shake_kernel(params: Params, rng: np.random.Generator) -> Float32:
    angle, phase = (float(value) * 2.0 * math.pi for value in rng.random(2))
    side = 1.0 if rng.random() < 0.5 else -1.0
    return curve_kernel(params["length"], side * params["turn"], angle, phase)


def _path_context(params: Params) -> int:
    return _path_reach(params["length"])


def _defocus_kernel(params: Params, rng: np.random.Generator) -> Float32:
    return disk_kernel(params["radius"])


KernelFunction = Callable[[Params, np.random.Generator], Float32]


def _spread(kernel_of: KernelFunction, image: Image, params: Params, rng: np.random.Generator) -> Image:
    return _convolve(image, kernel_of(params, rng))


def _spread_light(kernel_of: KernelFunction, light: Float32, params: Params, rng: np.random.Generator) -> Float32:
    return _convolve_light(light, kernel_of(params, rng))


VARIANTS = (
    Variant(
        "blur",
        "gaussian",
        _gaussian,
        lambda s: {"sigma": geometric(s, 0.25, 16.0)},
        context=_gaussian_context,
        spatial=("sigma",),
        light=_gaussian_light,
    ),
    Variant(
        "blur",
        "motion",
        partial(_spread, _motion_kernel),
        lambda s: {"length": geometric(s, 0.8, 80.0)},
        context=_path_context,
        spatial=("length",),
        light=partial(_spread_light, _motion_kernel),
    ),
    Variant(
        "blur",
        "shake",
        partial(_spread, _shake_kernel),
        lambda s: {"length": geometric(s, 1.0, 120.0), "turn": _TURN},
        context=_path_context,
        spatial=("length",),
        light=partial(_spread_light, _shake_kernel),
    ),
    Variant(
        "blur",
        "defocus",
        partial(_spread, _defocus_kernel),
        lambda s: {"radius": geometric(s, 0.45, 24.0)},
        context=lambda params: math.ceil(params["radius"]),
        spatial=("radius",),
        light=partial(_spread_light, _defocus_kernel),
    ),
)
