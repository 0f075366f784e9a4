"""What a distortion variant is: a pure function of pixels, parameters and a seeded generator.

Legend: H, W image height and width in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seagull_tune.distortions.linear import Float32
from seagull_tune.distortions.severity import SeverityCurve, level_params, offered_levels, severity_curve
from seagull_tune.errors import DataError, did_you_mean

Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 sRGB."""
Weight = npt.NDArray[np.uint8]
"""(H, W) uint8, share of the distorted picture in the blend, 255 is all of it."""
Params = Mapping[str, float]

ApplyFunction = Callable[[Image, Params, np.random.Generator], Image]
StrengthFunction = Callable[[float], dict[str, float]]
LightFunction = Callable[[Float32, Params, np.random.Generator], Float32]
ContextFunction = Callable[[Params], int]
MeasureFunction = Callable[[Image, "Weight | None"], dict[str, float]]


CALIBRATED_SIDE = 512.0
"""Square root of the area, in pixels, up to which the severity table holds as it is."""


@dataclass(frozen=True)
class Variant:
    """One way to distort a picture.

    Attributes:
        type: one of ``levels.DISTORTION_TYPES``.
        variant: name of the variant within its type.
        function: (image, params, generator) -> distorted image of the same shape; pure, deterministic.
        from_strength: strength in [0, 1] -> params, rising in visible damage; 0 is barely visible. Calibration
            searches along it.
        context: params -> pixels around an area that its result depends on; None where the result depends on the
            whole picture (block grids, sampling grids). With a context, a local step is computed on a crop only.
        measure: picture statistics of the affected area (image, weight or None) -> extra params, for variants that
            depend on the area's content; None for most.
        spatial: the params that are lengths in pixels; they grow with the picture (:meth:`params_for`).
        light: the same on scene light, (H, W, 3) float32, >= 0, ``LIGHT_MAX`` is display white and highlights go beyond
            it: for what happens in front of or on the sensor, where a photograph comes from a RAW file. None for what
            happens to the developed picture.
    """

    type: str
    variant: str
    function: ApplyFunction
    from_strength: StrengthFunction
    context: ContextFunction | None = None
    measure: MeasureFunction | None = None
    spatial: tuple[str, ...] = ()
    light: LightFunction | None = None

    def apply(self, image: Image, params: Params, rng: np.random.Generator) -> Image:
        """Distort a whole picture.

        Args:
            image: (H, W, 3) uint8 sRGB; left as it is.
            params: physical parameters, as :meth:`params_for` gives them.
            rng: the step's own generator; drawn from by variants with random shape or noise only.

        Returns:
            (H, W, 3) uint8.

        Raises:
            DataError: a parameter is missing or unknown.
        """
        self.check_params(params)
        return self.apply_to_area(image, params, rng, None)

    def check_params(self, params: Params) -> None:
        """Refuse parameters that are missing or unknown.

        Raises:
            DataError: names the parameter and the ones that the variant takes.
        """
        wanted = self.from_strength(0.5)
        missing = [name for name in wanted if name not in params]
        if missing:
            raise DataError(
                f"Distortion {self.type}/{self.variant} needs the parameter {missing[0]!r}, got "
                f"{sorted(params)}. Take all of {sorted(wanted)} from Variant.params_for(severity)."
            )
        unknown = [name for name in params if name not in wanted]
        if unknown:
            raise DataError(
                f"Distortion {self.type}/{self.variant} knows no parameter {unknown[0]!r}."
                f"{did_you_mean(unknown[0], wanted)}"
            )

    def apply_to_area(self, image: Image, params: Params, rng: np.random.Generator, weight: Weight | None) -> Image:
        """As :meth:`apply`, without checks; ``weight`` (H, W) says which area the picture statistics come from."""
        extra = {} if self.measure is None else self.measure(image, weight)
        return self.function(image, {**params, **extra}, rng)

    @property
    def levels(self) -> tuple[int, ...]:
        """The severities that this variant offers, rising."""
        return offered_levels(self.type, self.variant)

    def params_for(self, severity: int, scale: float = 1.0) -> dict[str, float]:
        """Parameters at a severity, from ``configs/data/severity.yaml``.

        Args:
            severity: 1..5, one of :attr:`levels`.
            scale: factor of the parameters that are lengths in pixels, for pictures larger than those of the
                calibration (see :func:`spatial_scale`).

        Raises:
            DataError: the variant does not offer that severity.
        """
        return self._scaled(level_params(self.type, self.variant, severity), scale)

    def params_at(self, strength: float, scale: float = 1.0) -> dict[str, float]:
        """Parameters at any strength in [0, 1]; ``scale`` as in :meth:`params_for`."""
        return self._scaled(self.from_strength(strength), scale)

    @property
    def curve(self) -> SeverityCurve:
        """Severities over strength, as calibrated.

        Raises:
            DataError: the variant was never calibrated.
        """
        return severity_curve(self.type, self.variant)

    def _scaled(self, params: dict[str, float], scale: float) -> dict[str, float]:
        return {name: float(f"{v * scale:.4g}") if name in self.spatial else v for name, v in params.items()}


def spatial_scale(image_area: float) -> float:
    """By how much lengths grow for a picture of ``image_area`` pixels, so that a severity looks alike when it is viewed
    as a whole: 1 up to the size of the calibration photographs, then in proportion to the picture's side."""
    return max(1.0, math.sqrt(image_area) / CALIBRATED_SIDE)


def geometric(strength: float, weakest: float, strongest: float) -> float:
    """Geometric interpolation from ``weakest`` (strength 0) to ``strongest`` (strength 1), to 4 digits."""
    return float(f"{weakest * (strongest / weakest) ** strength:.4g}")


def linear(strength: float, weakest: float, strongest: float) -> float:
    """Linear interpolation from ``weakest`` (strength 0) to ``strongest`` (strength 1), to 4 decimals."""
    return round(weakest + (strongest - weakest) * strength, 4)
