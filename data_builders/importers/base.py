"""What all importers share: what they find, the protocol, and how values of others become ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seagull_tune.config.data import SplitName
from seagull_tune.config.exchange import Scale
from seagull_tune.distortions.severity import severity_table
from seagull_tune.errors import DataError
from seagull_tune.files import sha256_of
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.records import Region, Sample
from seagull_tune.values import number_of, shown

Report = Callable[[str, str], None]
"""Called with a name (image, sample or row) and why it was left out."""


@dataclass(frozen=True)
class FoundImage:
    """An image of a foreign data set.

    Attributes:
        image_id, scene_id: as in :class:`seagull_tune.data.schema.ImageRecord`.
        source: path below the importer's ``root``, forward slashes.
        height, width: in pixels.
        regions: its regions; may be empty where whole pictures are judged.
    """

    image_id: str
    scene_id: str
    source: str
    height: int
    width: int
    regions: tuple[Region, ...]


class Importer(Protocol):
    """One foreign layout, read in two passes, so that neither table is held in memory.

    Attributes:
        root: folder that sources are relative to.
        label_source: who made the labels, for the data card.
    """

    root: Path
    label_source: str

    def scenes(self) -> Mapping[str, SplitName | None]:
        """Scene -> the split that the source states, or None where it states none."""
        ...

    def images(self, report: Report) -> Iterator[FoundImage]:
        """All images, each once."""
        ...

    def samples(self, report: Report) -> Iterator[tuple[Sample, float | None]]:
        """All samples, with the quality of the whole picture ([0, 1]) where it is known."""
        ...


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return sha256_of(path)
    except (OSError, ValueError) as error:  # the second: a name that no file can have
        raise DataError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def whole_of(value: Any, what: str, high: int) -> int:
    """A whole number 0..high.

    Raises:
        DataError: not a number, not a whole one, or outside.
    """
    number = number_of(value, what)
    if not (0 <= number <= high and number.is_integer()):
        raise DataError(f"{what} is {shown(value)}; allowed: 0..{high}, in whole numbers.")
    return int(number)


def scaled(value: Any, scale: Scale, what: str) -> float:
    """A score of others on our scale: [0, 1], higher is better.

    Raises:
        DataError: not a number, or outside its declared range.
    """
    number = number_of(value, what)
    if not scale.low <= number <= scale.high:
        raise DataError(f"{what} is {number:g}; the declared range is {scale.low:g}..{scale.high:g}.")
    share = (number - scale.low) / (scale.high - scale.low)
    return share if scale.higher_is_better else 1.0 - share


def severity_of(quality: float) -> int:
    """The severity 1..5 whose target quality is nearest: an estimate for regions known to be distorted."""
    targets = severity_table().targets
    return 1 + min(range(len(targets)), key=lambda i: abs(targets[i] - quality))


def entries_of(value: Any, what: str) -> list[Any]:
    """A JSON array.

    Raises:
        DataError: something else.
    """
    if not isinstance(value, list):
        raise DataError(f"{what} are {shown(value)}; a list is needed.")
    return value


def severities_from(distortions: Any, what: str) -> tuple[int, ...]:
    """Severities per type, in the order of ``levels.DISTORTION_TYPES``.

    Raises:
        DataError: no object, an unknown type, or a severity that is not one of 0..5.
    """
    if not isinstance(distortions, Mapping):
        raise DataError(f"{what}: the distortions are {shown(distortions)}; an object {{type: severity}} is needed.")
    unknown = sorted(set(distortions) - set(DISTORTION_TYPES))
    if unknown:
        raise DataError(f"{what} names the distortion {unknown[0]!r}; known: {', '.join(DISTORTION_TYPES)}.")
    worst = len(SEVERITY_NAMES) - 1
    return tuple(whole_of(distortions.get(name, 0), f"{what}, severity of {name}", worst) for name in DISTORTION_TYPES)
