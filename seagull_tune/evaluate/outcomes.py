"""What was read of regions and what is true of them, as arrays: the material of every figure.

Legend: N regions, pooled over all renderings; T distortion types, in the order of ``levels.DISTORTION_TYPES``;
L levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from seagull_tune.errors import DataError
from seagull_tune.levels import DISTORTION_TYPES, said_severity
from seagull_tune.records import RegionLabel, Scores

MODEL, DIRECT, RAW = "model", "direct", "raw"
"""Readers: the language model's token probabilities; the region tokens' own head; of a calibrated model also what its
token probabilities were before calibration."""

DIGITS = 7


@dataclass(frozen=True, eq=False)
class Reading:
    """What one reader says of N regions; None where it does not speak of something.

    Attributes:
        quality, importance: float64 (N,), [0, 1].
        types: float64 (N, T), the type is there from 0.5 on.
        severities: int64 (N, T), 0..5.
        quality_levels, importance_levels: float64 (N, L), probabilities of the level words.
    """

    quality: np.ndarray | None = None
    importance: np.ndarray | None = None
    types: np.ndarray | None = None
    severities: np.ndarray | None = None
    quality_levels: np.ndarray | None = None
    importance_levels: np.ndarray | None = None

    def __len__(self) -> int:
        return next((len(value) for value in self.__dict__.values() if value is not None), 0)

    @classmethod
    def of_scores(cls, scores: Sequence[Scores]) -> Reading:
        """The reading of regions."""
        severities = [[said_severity(s.severities[name]) for name in DISTORTION_TYPES] for s in scores]
        return cls(
            quality=np.array([s.quality for s in scores]),
            importance=np.array([s.importance for s in scores]),
            types=np.array([[s.types[name] for name in DISTORTION_TYPES] for s in scores]),
            severities=np.array(severities, np.int64).reshape(-1, len(DISTORTION_TYPES)),
            quality_levels=np.array([s.quality_levels for s in scores]),
            importance_levels=np.array([s.importance_levels for s in scores]),
        )

    @classmethod
    def from_lists(cls, values: Mapping[str, list]) -> Reading:
        """Inverse of :meth:`to_lists`.

        Raises:
            DataError: an unknown key.
        """
        names = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise DataError(f"A reading has the unknown keys {unknown}; allowed: {', '.join(names)}.")
        return cls(
            **{key: np.array(value, np.int64 if key == "severities" else np.float64) for key, value in values.items()}
        )

    @classmethod
    def join(cls, parts: Sequence[Reading]) -> Reading:
        """One reading of all regions of several; only what every part speaks of is kept."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(cls)}
        return cls(**{n: np.concatenate(c) for n, c in columns.items() if c and all(part is not None for part in c)})

    def rows(self, chosen: np.ndarray) -> Reading:
        """The reading of some of the regions, by their numbers or as flags (N,)."""
        return Reading(**{name: value[chosen] for name, value in self.__dict__.items() if value is not None})

    def to_lists(self) -> dict[str, list]:
        """Plain values for JSON, numbers rounded to :data:`DIGITS` decimals."""
        out: dict[str, list] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                out[field.name] = (value if value.dtype == np.int64 else value.round(DIGITS)).tolist()
        return out


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of N regions.

    Attributes:
        photographs: str (N,), the source photograph (scene) of each; the unit that intervals resample.
        quality: float64 (N,), [0, 1].
        importance: float64 (N,), [0, 1]; NaN where it is not scored.
        severities: int64 (N, T), 0..5; rows of -1 where they are unknown.
        area: float64 (N,), share of the image, (0, 1].
        deviation: float64 (N,), standard deviation of the raters' scores, on the scale of quality; NaN where it was
            measured, or nobody knows. None is NaN everywhere.
    """

    photographs: np.ndarray
    quality: np.ndarray
    importance: np.ndarray
    severities: np.ndarray
    area: np.ndarray
    deviation: np.ndarray | None = None

    @classmethod
    def of_labels(cls, photographs: Sequence[str], labels: Sequence[RegionLabel], area: Sequence[float]) -> Truth:
        """The truth of N labelled regions."""
        unknown = (-1,) * len(DISTORTION_TYPES)
        severities = [unknown if label.severities is None else label.severities for label in labels]
        return cls(
            photographs=np.array(photographs),
            quality=np.array([label.quality for label in labels], np.float64),
            importance=np.array(
                [np.nan if label.importance is None else label.importance for label in labels], np.float64
            ),
            severities=np.array(severities, np.int64).reshape(-1, len(DISTORTION_TYPES)),
            area=np.array(area, np.float64),
            deviation=np.array(
                [np.nan if label.quality_deviation is None else label.quality_deviation for label in labels], np.float64
            ),
        )

    def __len__(self) -> int:
        return len(self.quality)

    def rows(self, chosen: np.ndarray) -> Truth:
        """The truth of some of the regions, by their numbers or as flags (N,)."""
        return Truth(**{name: value[chosen] for name, value in self.__dict__.items() if value is not None})

    @property
    def diagnosed(self) -> np.ndarray:
        """The regions whose severities are known, bool (N,)."""
        return np.asarray((self.severities >= 0).all(axis=1))
