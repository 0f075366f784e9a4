"""What the Hub reads at the head of a card, of data sets and of models alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

CARD = "README.md"
HUB_LICENCES = (
    "apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
)  # fmt: skip
"""Licences that the Hub knows by these names; others are ``other``."""


def hub_licence(licences: Iterable[str]) -> str:
    """The one licence of everything, by the Hub's name for it; ``other`` where there are several, or an unknown one."""
    names = {licence.lower() for licence in licences}
    return names.pop() if len(names) == 1 and names <= set(HUB_LICENCES) else "other"


def front_matter(header: Mapping[str, Any]) -> str:
    """The header as the YAML block with which a card begins, fences included."""
    return f"---\n{yaml.safe_dump(dict(header), sort_keys=False, allow_unicode=True)}---\n"


def data_set_name(config_hash: str) -> str:
    """How cards call a data set: by what it is, not by where it lies."""
    return f"ROI image quality {config_hash[:8]}"
