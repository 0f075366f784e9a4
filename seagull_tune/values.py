"""Values of files that others wrote: what is no finite number is refused, never repaired."""

from __future__ import annotations

import math
from typing import Any

from seagull_tune.errors import DataError


def number_of(value: Any, what: str) -> float:
    """A finite number, from JSON or from text.

    Raises:
        DataError: missing, not a number, nan or infinite.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f"{what} is {value!r}; a number is needed.") from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{what} is {value!r}; a finite number is needed.")
    return number
