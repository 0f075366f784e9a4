"""The JSON answer: everything about one region as one object, written and read back by one schema.

    {"quality": "poor", "importance": "high", "distortions": [{"type": "noise", "severity": "serious"}]}

``importance`` is null where it is not scored; ``distortions`` holds the types that are there, in the order of
``levels.DISTORTION_TYPES``. The words are those of ``levels``.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    importance = None if label.importance is None else nearest_level(label.importance, IMPORTANCE_LEVELS)
    there = [(name, SEVERITY_NAMES[severity]) for name, severity in pairs if severity]
    return _written(nearest_level(label.quality, QUALITY_LEVELS), importance, there)


def longest_json_answer() -> str:
    """An answer of as many characters as any can have; a bound of what it takes to write one."""

    def longest(words: tuple[str, ...]) -> str:
        return max(words, key=len)

    severity = longest(SEVERITY_NAMES[1:])
    every = [(name, severity) for name in DISTORTION_TYPES]
    return _written(longest(QUALITY_LEVELS), longest(IMPORTANCE_LEVELS), every)


def answer_grammar() -> str:
    """The texts that :func:`write_json_answer` can write, as a grammar in GBNF notation; rule ``root``.

    The distortions come in the order of ``levels.DISTORTION_TYPES``, each once at most, so that every text is finite. A
    blank may come first, as language models begin an answer with one where their template wants it.
    """
    last = len(DISTORTION_TYPES)
    keys = [f'"{before}\\"{key}\\": "' for before, key in (("{", "quality"), (", ", "importance"))]
    rules = [
        f'root ::= " "? {keys[0]} quality {keys[1]} importance ", \\"distortions\\": [" first "]}}"',
        f"quality ::= {_any_of(QUALITY_LEVELS)}",
        f'importance ::= "null" | {_any_of(IMPORTANCE_LEVELS)}',
        f"severity ::= {_any_of(SEVERITY_NAMES[1:])}",
        f'first ::= "" | {" | ".join(f"item{i} after{i}" for i in range(last))}',
    ]
    for i, name in enumerate(DISTORTION_TYPES):
        rules.append(f'item{i} ::= "{{\\"type\\": \\"{name}\\", \\"severity\\": " severity "}}"')
        more = [f'", " item{j} after{j}' for j in range(i + 1, last)]
        rules.append(f"after{i} ::= {' | '.join([chr(34) * 2, *more])}")
    return "\n".join(rules) + "\n"


def _any_of(words: tuple[str, ...]) -> str:
    return " | ".join(f'"\\"{word}\\""' for word in words)


def _written(quality: str, importance: str | None, distortions: Sequence[tuple[str, str]]) -> str:
    """The one form of the object: what is trained, and what :func:`answer_grammar` allows."""
    items = ", ".join(f'{{"type": "{name}", "severity": "{severity}"}}' for name, severity in distortions)
    said = "null" if importance is None else f'"{importance}"'
    return f'{{"quality": "{quality}", "importance": {said}, "distortions": [{items}]}}'


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
