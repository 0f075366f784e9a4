"""Which of two regions is better, or has more of a distortion: an answer with the numbers that it rests on.

The numbers are the language model's beliefs, read from token probabilities for each region by itself; nothing is parsed
from generated text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from seagull_tune.errors import ConfigError, did_you_mean
from seagull_tune.levels import (
    DISTORTION_TYPES,
    IMPORTANCE_LEVELS,
    SEVERITY_NAMES,
    level_score,
    nearest_level,
    said_severity,
)
from seagull_tune.records import RegionAssessment

ASPECTS = ("quality", "importance", *DISTORTION_TYPES)
"""What regions can be compared in. Of a distortion, more is more of the fault."""

SURE = 0.6
"""From this probability on, a comparison names a region; below it, the regions are said to be alike."""

# A question that asks for the lack of a fault ("sharper") is about the fault; which region is named is said in words.
_WORDS = (
    (r"blur\w*|out of focus|sharper|sharpest|focus\w*", "blur"),
    (r"sharpness|oversharpened|halo\w*", "sharpness"),
    (r"nois\w*|grain\w*", "noise"),
    (r"compress\w*|block\w*|artefact\w*|artifact\w*|jpeg", "compression"),
    (r"expos\w*|dark\w*|bright\w*", "exposure"),
    (r"contrast\w*|haz\w*", "contrast"),
    (r"colou?r\w*|satur\w*|faded", "colorfulness"),
    (r"resolution|pixelat\w*", "resolution"),
    (r"important\w*|importance|matters?", "importance"),
)


@dataclass(frozen=True)
class Comparison:
    """Two regions, one aspect.

    Attributes:
        aspect: one of :data:`ASPECTS`.
        names: how the two are called.
        assessments: all numbers of the two.
        values: their score in the aspect, in [0, 1]: quality, importance, or the expected severity of the distortion
            (0 none, 1 catastrophic).
        probability: that the first has more of the aspect than the second, in [0, 1]: both beliefs taken as
            independent, equal levels counted half.
    """

    aspect: str
    names: tuple[str, str]
    assessments: tuple[RegionAssessment, RegionAssessment]
    values: tuple[float, float]
    probability: float

    @property
    def more(self) -> str | None:
        """The region that has more of the aspect; None where the model is not :data:`SURE`."""
        if max(self.probability, 1.0 - self.probability) < SURE:
            return None
        return self.names[0] if self.probability > 0.5 else self.names[1]

    @property
    def text(self) -> str:
        """The comparison as one line: ``more blur: face (0.62, moderate) than sky (0.04, none), probability 0.97``."""
        a, b = (
            f"{name} ({value:.2f}, {_word(self.aspect, answer)})"
            for name, value, answer in zip(self.names, self.values, self.assessments, strict=True)
        )
        better = {"quality": "better quality", "importance": "more important"}.get(self.aspect, f"more {self.aspect}")
        if self.more is None:
            return f"{self.aspect} alike: {a} and {b}, probability {self.probability:.2f} that {self.names[0]} has more"
        if self.more == self.names[0]:
            return f"{better}: {a} than {b}, probability {self.probability:.2f}"
        return f"{better}: {b} than {a}, probability {1.0 - self.probability:.2f}"


def compare(first: RegionAssessment, second: RegionAssessment, names: tuple[str, str], aspect: str) -> Comparison:
    """Compares two regions of one photograph.

    Args:
        first, second: their numbers.
        names: how they are called.
        aspect: one of :data:`ASPECTS`.

    Raises:
        ConfigError: there is no such aspect.
    """
    if aspect not in ASPECTS:
        raise ConfigError(f"Regions cannot be compared in {aspect!r}.{did_you_mean(aspect, ASPECTS)}")
    a, b = (_belief(answer, aspect) for answer in (first, second))
    values = (level_score(a), level_score(b))
    return Comparison(aspect, names, (first, second), values, _more_probable(a, b))


def aspect_of(question: str) -> str:
    """The aspect that a question in English asks about; ``quality`` where it names none."""
    found = [
        (match.start(), aspect)
        for words, aspect in _WORDS
        if (match := re.search(rf"\b(?:{words})\b", question, re.IGNORECASE))
    ]
    return min(found)[1] if found else "quality"


def _belief(answer: RegionAssessment, aspect: str) -> Sequence[float]:
    """Probabilities of the levels of an aspect, least first."""
    scores = answer.scores
    if aspect == "quality":
        return scores.quality_levels
    return scores.importance_levels if aspect == "importance" else scores.severities[aspect]


def _more_probable(a: Sequence[float], b: Sequence[float]) -> float:
    """P(A > B) + P(A = B) / 2 of two independent levels."""
    more = sum(p * q for i, p in enumerate(a) for q in b[:i])
    same = sum(p * q for p, q in zip(a, b, strict=True))
    return (more + same / 2.0) / (sum(a) * sum(b))


def _word(aspect: str, answer: RegionAssessment) -> str:
    if aspect == "quality":
        return nearest_level(answer.scores.quality)
    if aspect == "importance":
        return nearest_level(answer.scores.importance, IMPORTANCE_LEVELS)
    return SEVERITY_NAMES[said_severity(answer.scores.severities[aspect])]
