"""All distortion variants by (type, variant)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from seagull_tune.distortions import (
    blur,
    colorfulness,
    compression,
    contrast,
    exposure,
    noise,
    resolution,
    sharpness,
)
from seagull_tune.distortions.base import Variant
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.levels import DISTORTION_TYPES

_FAMILIES = (blur, sharpness, noise, compression, exposure, contrast, colorfulness, resolution)

VARIANTS: Mapping[tuple[str, str], Variant] = MappingProxyType(
    {(variant.type, variant.variant): variant for family in _FAMILIES for variant in family.VARIANTS}
)
"""(type, variant) -> Variant, in the order of ``levels.DISTORTION_TYPES``."""


def variants_of(type_name: str) -> tuple[Variant, ...]:
    """All variants of a type.

    Raises:
        DataError: there is no such type.
    """
    found = tuple(variant for (name, _), variant in VARIANTS.items() if name == type_name)
    if not found:
        raise DataError(f"Unknown distortion type {type_name!r}.{did_you_mean(type_name, DISTORTION_TYPES)}")
    return found


def get_variant(type_name: str, variant: str) -> Variant:
    """The variant of a type by name.

    Raises:
        DataError: there is no such type, or the type has no such variant.
    """
    names = [candidate.variant for candidate in variants_of(type_name)]
    if variant not in names:
        raise DataError(f"Unknown variant {variant!r} of distortion {type_name!r}.{did_you_mean(variant, names)}")
    return VARIANTS[type_name, variant]
