"""The severity table: which parameters a severity stands for, per variant.

One table of target qualities for severities 1..5 is shared by all variants of all types, so that severities compare.
The parameters are data (``configs/data/severity.yaml``), fitted by ``data_builders.calibrate``.
"""

from __future__ import annotations

from functools import cache

from seagull_tune.config.base import load_config, resolve_asset
from seagull_tune.config.distortions import SeverityLevel, SeverityTable
from seagull_tune.errors import DataError

SEVERITY_ASSET = "configs/data/severity.yaml"


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
