"""What makes a tuned model's numbers honest: ``calibration.json``, a part of its checkpoint, and how it is applied.

    raw levels --expected level--> raw score --rising map--> score
    raw levels --temperature--> --tilted until their mean is what a second rising map says--> levels

No two regions change places. A score says where the label is expected, the levels which word it lies nearest to: a
label of 0.08 is nearest to the lowest word for certain, so the mean of the levels is 0 there, and the two maps differ.
The file belongs to weights: it names their hash and is refused beside others. ``evaluate/calibrate.py`` fits it.

Legend: N regions; L levels; K knots.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from seagull_tune.errors import CheckpointError
from seagull_tune.files import atomic_write_text
from seagull_tune.levels import level_centres
from seagull_tune.metrics.calibration import LEAST
from seagull_tune.model.checkpoint import model_digest, writing
from seagull_tune.records import Region, Scores

CALIBRATION = "calibration.json"
FIGURES = {
    "calibration_error": "calibration error", "accuracy": "level said is right", "rmse": "RMSE of the score",
    "srcc": "SRCC of the score", "brier": "Brier score", "nll": "surprise (nats)",
}  # fmt: skip
"""The figures of a calibration before and after (``facts``), in words."""
_STEEPEST = 400.0
"""Steepest tilt of a distribution, in nats over the whole range: all mass on an end level."""
_HALVINGS = 60

Temperature = Annotated[float, Field(gt=0.0, le=100.0)]


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ScoreMap(_Stored):
    """How one score is calibrated.

    Attributes:
        temperature: the raw level probabilities are taken to the power 1 / temperature; above 1 makes less sure.
        raw: K raw scores, strictly rising from 0 to 1.
        calibrated: the scores that they are mapped to, strictly rising, in [0, 1]; straight lines lie between.
        means: the expected values of the levels there, likewise.
    """

    temperature: Temperature
    raw: tuple[float, ...]
    calibrated: tuple[float, ...]
    means: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        lines = (self.raw, self.calibrated, self.means)
        rising = all(a < b for knots in lines for a, b in pairwise(knots))
        if len({len(knots) for knots in lines}) != 1 or len(self.raw) < 2 or not rising:
            raise ValueError("raw, calibrated and means need two knots or more, as many, each strictly rising")
        within = all(knots[0] >= 0.0 and knots[-1] <= 1.0 for knots in lines)
        if self.raw[0] != 0.0 or self.raw[-1] != 1.0 or not within:
            raise ValueError("raw goes from 0 to 1, and calibrated and means stay within")
        return self

    def apply(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated scores and levels.

        Args:
            levels: float64 (N, L), raw probabilities.

        Returns:
            Scores (N,), [0, 1], in the order of the raw ones, and levels (N, L).
        """
        raw = expected_levels(levels)
        means = map_scores(raw, self.raw, self.means)
        return map_scores(raw, self.raw, self.calibrated), with_means(tempered(levels, self.temperature), means)


class Calibration(_Stored):
    """``calibration.json``.

    Attributes:
        format, version: of the file.
        model: hash of the weights that it belongs to (``model_digest``).
        quality: of the quality.
        importance: of the importance; None where too few regions had one: it stays raw.
        types_temperature: by which the log odds of every type's presence are divided. 0.5 stays 0.5, so the types that
            are named, and how severe they are said to be, do not change.
        max_deviation: with a larger deviation of the calibrated quality the model abstains.
        min_pixels: so does it for regions of fewer pixels of the photograph as the vision tower sees it.
        facts: what it was fitted on, and the errors before and after.
    """

    format: Literal["seagull-tune-calibration"] = "seagull-tune-calibration"
    version: Literal[1] = 1
    model: Annotated[str, Field(min_length=1)]
    quality: ScoreMap
    importance: ScoreMap | None
    types_temperature: Temperature
    max_deviation: Annotated[float, Field(ge=0.0, le=0.5)]
    min_pixels: Annotated[int, Field(ge=0)]
    facts: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """Short hash of all that answers depend on."""
        content = self.model_dump_json(exclude={"format", "model", "facts"})
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    def apply(self, scores: Sequence[Scores]) -> list[Scores]:
        """Calibrated scores of N regions, from raw ones."""
        if not scores:
            return []
        quality, quality_levels = self.quality.apply(np.array([s.quality_levels for s in scores]))
        importance = np.array([s.importance for s in scores])
        importance_levels = np.array([s.importance_levels for s in scores])
        if self.importance is not None:
            importance, importance_levels = self.importance.apply(importance_levels)
        rows = zip(
            scores, quality.tolist(), quality_levels.tolist(), importance.tolist(), importance_levels.tolist(),
            strict=True,
        )  # fmt: skip
        return [
            self._with_types(replace(s, quality=q, quality_levels=tuple(ql), importance=i, importance_levels=tuple(il)))
            for s, q, ql, i, il in rows
        ]

    def _with_types(self, scores: Scores) -> Scores:
        severities = {name: self._presence(row) for name, row in scores.severities.items()}
        return replace(scores, severities=severities, types={name: 1.0 - row[0] for name, row in severities.items()})

    def _presence(self, row: tuple[float, ...]) -> tuple[float, ...]:
        """Six probabilities, ``none`` first: the odds of the others together change, not those among them."""
        there, absent = sum(row[1:]), row[0]
        if there <= 0.0 or absent <= 0.0:
            return row
        absent = 1.0 / (1.0 + math.exp((math.log(there) - math.log(absent)) / self.types_temperature))
        return (absent, *(value * (1.0 - absent) / there for value in row[1:]))

    def abstains(self, scores: Scores, region: Region, resolution: tuple[int, int]) -> bool:
        """Whether the numbers of a region should not be relied on.

        Args:
            scores: calibrated.
            region: what they are of.
            resolution: (height, width) of the photograph as the vision tower saw it.
        """
        share = region.area / (region.height * region.width)
        return scores.quality_deviation > self.max_deviation or share * resolution[0] * resolution[1] < self.min_pixels

    def save(self, folder: Path) -> Path:
        """Writes the file into a checkpoint folder, atomically; returns it.

        Raises:
            CheckpointError: it cannot be written.
        """
        path = Path(folder) / CALIBRATION
        with writing(path):
            atomic_write_text(path, self.model_dump_json(indent=1) + "\n")
        return path


def load_calibration(folder: Path) -> Calibration | None:
    """The calibration of a checkpoint; None where it has none.

    Raises:
        CheckpointError: no checkpoint; or the file is damaged, of another version, or belongs to other weights.
    """
    path = Path(folder) / CALIBRATION
    digest = model_digest(folder)
    if not path.is_file():
        return None
    again = f"Remove it, or fit it again: seagull-tune calibrate --model {folder} --data DATASET."
    try:
        found = Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        said = (
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}".removeprefix(": ") for e in error.errors())
            if isinstance(error, ValidationError)
            else str(error)
        )
        raise CheckpointError(f"{path} is damaged, or of another version ({said}). {again}") from error
    if found.model != digest:
        raise CheckpointError(f"{path} belongs to the weights {found.model}; the ones beside it are {digest}. {again}")
    return found


def expected_levels(levels: np.ndarray) -> np.ndarray:
    """Scores (N,) of distributions (N, L): :func:`seagull_tune.levels.level_score` of every row."""
    return np.asarray(levels @ np.array(level_centres(levels.shape[1])) / levels.sum(axis=1))


def map_scores(scores: np.ndarray, raw: Sequence[float], calibrated: Sequence[float]) -> np.ndarray:
    """Scores (N,) through straight lines between knots; beyond the last knots as there."""
    return np.interp(scores, raw, calibrated)


def tempered(levels: np.ndarray, temperature: float) -> np.ndarray:
    """Distributions (N, L) to the power 1 / temperature, normalised (Guo et al. 2017, section 4.2).

    Probabilities below :data:`~seagull_tune.metrics.calibration.LEAST` count as that: what a file of predictions holds
    and what a model says come out the same.
    """
    return _normalised(np.log(np.maximum(levels, LEAST)) / temperature)


def with_means(levels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The nearest distributions, in relative entropy, whose expected levels are ``scores``: p_i exp(t c_i).

    Args:
        levels: float64 (N, L), positive probabilities.
        scores: float64 (N,), [0, 1].

    Returns:
        float64 (N, L). The t of every row is found by bisection (the mean rises with it).
    """
    centres = np.array(level_centres(levels.shape[1]))
    logs = np.log(levels)
    low, high = np.full(len(levels), -_STEEPEST), np.full(len(levels), _STEEPEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _normalised(logs + middle[:, None] * centres) @ centres < scores
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return _normalised(logs + ((low + high) / 2)[:, None] * centres)


def _normalised(logs: np.ndarray) -> np.ndarray:
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
