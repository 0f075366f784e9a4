"""The regions of a conversation: what questions call them, and which of them is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence

from seagull_tune.errors import RegionError, did_you_mean
from seagull_tune.records import Region

MAX_NAME = 40
"""Most characters of a region's name."""

_NAME = re.compile(r"[^\W_](?:[\w .-]*[^\W_])?")


def check_name(name: str, taken: Sequence[str]) -> str:
    """The name of a region, without surrounding blanks.

    Args:
        name: as it was typed.
        taken: names of the other regions.

    Raises:
        RegionError: it is taken, whatever the case of its letters, or cannot be a name.
    """
    name = name.strip()
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise RegionError(
            f"{name[: MAX_NAME + 10]!r} cannot name a region; allowed: letters, digits, blanks, '.', '_' and '-', "
            f"with a letter or digit at both ends, at most {MAX_NAME} characters."
        )
    if name.lower() in (known.lower() for known in taken):
        raise RegionError(f"There is a region {name!r} already; choose another name.")
    return name


class NamedRegions:
    """Regions of one photograph, in the order in which they were added, all with different names.

    Args:
        height, width: of the photograph, in pixels.

    Attributes:
        regions: the regions.
        names: their names.
        current: index of the one that a question without any region is about; None is the whole image.
    """

    def __init__(self, height: int, width: int) -> None:
        self._size = (height, width)
        self.regions: list[Region] = []
        self.names: list[str] = []
        self.current: int | None = None

    def __len__(self) -> int:
        return len(self.regions)

    def add(self, region: Region, name: str = "") -> str:
        """Adds a region, which becomes the current one; returns its name ("" takes ``region N``).

        Raises:
            RegionError: another size than the photograph, or a name that is taken or cannot be one.
        """
        height, width = self._size
        if (region.height, region.width) != self._size:
            raise RegionError(
                f"The region belongs to an image of {region.width}x{region.height} pixels; this has {width}x{height}."
            )
        chosen = check_name(name.strip() or f"region {len(self) + 1}", self.names)
        self.regions.append(region)
        self.names.append(chosen)
        self.current = len(self) - 1
        return chosen

    def rename(self, names: Sequence[str]) -> None:
        """Calls the regions otherwise: one name each, all different.

        Raises:
            RegionError: another number of names, or a name that is there twice or cannot be one.
        """
        if len(names) != len(self):
            raise RegionError(f"{len(names)} names for {len(self)} regions; one each is needed.")
        self.names = [check_name(name, names[:index]) for index, name in enumerate(names)]

    def index_of(self, region: str | int) -> int:
        """The index of a region: by name, or by number (from 1, as shown).

        Raises:
            RegionError: there is no such region.
        """
        if isinstance(region, str) and not region.strip().isdecimal():
            names = [name.lower() for name in self.names]
            if region.strip().lower() in names:
                return names.index(region.strip().lower())
            hint = did_you_mean(region, self.names) if self.names else " The conversation has none yet."
            raise RegionError(f"There is no region {region!r}.{hint}")
        number = int(region)
        if not 1 <= number <= len(self):
            known = f"1 to {len(self)}" if self.names else "none yet"
            raise RegionError(f"There is no region {number}; regions of this conversation: {known}.")
        return number - 1
