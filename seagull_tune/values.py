"""Values of files that others wrote: what is no finite number is refused, never repaired."""

from __future__ import annotations

import math
from typing import Any

from seagull_tune.errors import DataError

_SHOWN = 80
"""Most characters of a value that a message quotes."""


def number_of(value: Any, what: str) -> float:
    """A finite number, from JSON or from text.

    Raises:
        DataError: missing, not a number, nan or infinite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # the last: a whole number of more than 308 digits
        raise DataError(f"{what} is {shown(value)}; a number is needed.") from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{what} is {shown(value)}; a finite number is needed.")
    return number


def shown(value: Any) -> str:
    """A value for a message: as Python writes it, cut where it is long."""
    if isinstance(value, int) and abs(value) > 1 << 64:
        return "a whole number of more than 64 bits"  # Python itself refuses to write very long ones
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
