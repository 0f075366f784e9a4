"""The severity table: which parameters a severity stands for, per variant.

One table of target qualities for severities 1..5 is shared by all variants of all types, so that severities compare.
The parameters are data (``configs/data/severity.yaml``), fitted by ``data_builders.calibrate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from seagull_tune.config.base import load_config, resolve_asset
from seagull_tune.config.distortions import SeverityLevel, SeverityTable
from seagull_tune.errors import DataError

SEVERITY_ASSET = "configs/data/severity.yaml"


@dataclass(frozen=True)
class SeverityCurve:
    """A variant's calibrated curve: where on its scale of strengths the severities are, and what lies between them.

    Attributes:
        severities: those that the variant offers, rising; at least one.
        strengths: their strengths, [0, 1], rising.
    """

    severities: tuple[int, ...]
    strengths: tuple[float, ...]

    def strength_at(self, position: float) -> float:
        """Strength, [0, 1], of a place on the scale of severities, which may lie between two of them.

        Linear between the offered severities; beyond the first and the last, as between their two neighbours.
        """
        first, last = self.severities[0], self.severities[-1]
        if len(self.severities) > 1 and not first <= position <= last:
            (a, b), (low, high) = (
                (self.severities[:2], self.strengths[:2])
                if position < first
                else (self.severities[-2:], self.strengths[-2:])
            )
            return min(1.0, max(0.0, low + (position - a) / (b - a) * (high - low)))
        return float(np.interp(position, self.severities, self.strengths))

    def severity_at(self, strength: float) -> int:
        """The offered severity that is nearest to a strength in [0, 1]; a tie goes to the higher one."""
        borders = [(a + b) / 2.0 for a, b in zip(self.strengths, self.strengths[1:], strict=False)]
        return self.severities[int(np.searchsorted(borders, strength, side="right"))]


@cache
def severity_table() -> SeverityTable:
    """The shipped severity table, read once per process.

    Raises:
        ConfigError: the file is missing or malformed.
    """
    return load_config(SeverityTable, resolve_asset(SEVERITY_ASSET))


def _levels(type_name: str, variant: str) -> dict[int, SeverityLevel]:
    levels = severity_table().variants.get(type_name, {}).get(variant, ())
    return {level.severity: level for level in levels}


def offered_levels(type_name: str, variant: str) -> tuple[int, ...]:
    """The severities that a variant reaches, rising; empty where the table does not know the variant."""
    return tuple(sorted(_levels(type_name, variant)))


def severity_curve(type_name: str, variant: str) -> SeverityCurve:
    """The calibrated curve of a variant.

    Raises:
        DataError: the severity table does not know the variant.
    """
    levels = sorted(_levels(type_name, variant).values(), key=lambda level: level.severity)
    if not levels:
        raise DataError(
            f"Distortion {type_name}/{variant} is not in {SEVERITY_ASSET}. Fit it: python -m data_builders.calibrate."
        )
    return SeverityCurve(tuple(level.severity for level in levels), tuple(level.strength for level in levels))


def level_params(type_name: str, variant: str, severity: int) -> dict[str, float]:
    """Parameters of a variant at a severity.

    Raises:
        DataError: the variant does not offer that severity.
    """
    levels = _levels(type_name, variant)
    if severity not in levels:
        offered = ", ".join(map(str, sorted(levels))) or "none"
        raise DataError(
            f"Distortion {type_name}/{variant} does not offer severity {severity!r}; offered: {offered}. "
            "Choose one of those, or another variant of the type."
        )
    return dict(levels[severity].params)
