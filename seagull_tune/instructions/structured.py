"""The JSON answer: everything about one region as one object, written and read back by one schema.

    {"quality": "poor", "importance": "high", "distortions": [{"type": "noise", "severity": "serious"}]}

``importance`` is null where it is not scored; ``distortions`` holds the types that are there, in the order of
``levels.DISTORTION_TYPES``. The words are those of ``levels``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pydantic
from pydantic_core import core_schema

from seagull_tune.config.base import StrictModel
from seagull_tune.errors import DataError
from seagull_tune.instructions.relations import known_severities
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES, nearest_level
from seagull_tune.records import RegionLabel


@dataclass(frozen=True)
class _OneOf:
    """A text that is one of some words, in validation and in the JSON schema."""

    words: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.literal_schema(list(self.words))


class JsonDistortion(StrictModel):
    """One distortion that is there."""

    type: Annotated[str, _OneOf(DISTORTION_TYPES)]
    severity: Annotated[str, _OneOf(SEVERITY_NAMES[1:])]


class JsonAnswer(StrictModel):
    """The assessment of one region of a picture, in words."""

    quality: Annotated[str, _OneOf(QUALITY_LEVELS)] = pydantic.Field(description="How good the region looks.")
    importance: Annotated[str, _OneOf(IMPORTANCE_LEVELS)] | None = pydantic.Field(
        description="How much the picture would gain if this region alone were restored; null where it is not scored."
    )
    distortions: tuple[JsonDistortion, ...] = pydantic.Field(description="The distortions that are there, each once.")

    @pydantic.field_validator("distortions")
    @classmethod
    def _each_type_once(cls, distortions: tuple[JsonDistortion, ...]) -> tuple[JsonDistortion, ...]:
        names = [distortion.type for distortion in distortions]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} is told more than once; each type is told once")
        return distortions

    @property
    def severities(self) -> tuple[int, ...]:
        """0..5 per type, in the order of ``levels.DISTORTION_TYPES``."""
        told = {distortion.type: SEVERITY_NAMES.index(distortion.severity) for distortion in self.distortions}
        return tuple(told.get(name, 0) for name in DISTORTION_TYPES)


def answer_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a JSON answer."""
    return JsonAnswer.model_json_schema()


def write_json_answer(label: RegionLabel) -> str:
    """A label as one line of JSON.

    Raises:
        DataError: nobody knows the severities.
    """
    pairs = zip(DISTORTION_TYPES, known_severities(label), strict=True)
    distortions = ", ".join(
        f'{{"type": "{name}", "severity": "{SEVERITY_NAMES[severity]}"}}' for name, severity in pairs if severity
    )
    importance = "null" if label.importance is None else f'"{nearest_level(label.importance, IMPORTANCE_LEVELS)}"'
    return (
        f'{{"quality": "{nearest_level(label.quality, QUALITY_LEVELS)}", "importance": {importance}, '
        f'"distortions": [{distortions}]}}'
    )


def read_json_answer(text: str) -> JsonAnswer:
    """Read a JSON answer and check it against the schema.

    Args:
        text: one JSON object.

    Raises:
        DataError: with every problem: no JSON, a missing or unknown key, a word that is not in its list.
    """
    try:
        return JsonAnswer.model_validate_json(text)
    except pydantic.ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'text'}: {e['msg']}" for e in error.errors()]
        raise DataError("The JSON answer does not keep its schema:\n  " + "\n  ".join(problems)) from error
