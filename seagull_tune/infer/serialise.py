"""Assessments <-> JSON, and its JSON Schema: the one place that knows the field names of ``seagull-tune assess``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seagull_tune.errors import DataError
from seagull_tune.files import is_unicode
from seagull_tune.levels import (
    DISTORTION_TYPES,
    IMPORTANCE_LEVELS,
    QUALITY_LEVELS,
    SEVERITY_NAMES,
    nearest_level,
    said_severity,
)
from seagull_tune.records import Region, RegionAssessment, Scores

_DIGITS = 6  # scores of one region read alone or in a batch agree to four


def region_to_dict(region: Region) -> dict[str, Any]:
    """A region as plain values: name, box (ends exclusive), area in pixels, COCO compressed RLE."""
    return {
        "name": region.name,
        "box_xyxy": list(region.box_xyxy),
        "area": region.area,
        "rle": {"size": [region.height, region.width], "counts": region.counts},
    }


def scores_to_dict(scores: Scores) -> dict[str, Any]:
    """Scores as plain values.

    Returns:
        ``quality`` and ``importance`` in [0, 1], each with the ``_deviation`` of what is believed and the ``_levels``,
        the probability of every level word; ``types`` with the probability of every distortion; ``severities`` with,
        per distortion, what :func:`~seagull_tune.levels.said_severity` makes of it (``severity`` 0..5 and its ``name``)
        and the six ``probabilities``.
    """
    return {
        "quality": _rounded(scores.quality),
        "quality_deviation": _rounded(scores.quality_deviation),
        "quality_levels": _by_name(QUALITY_LEVELS, scores.quality_levels),
        "importance": _rounded(scores.importance),
        "importance_deviation": _rounded(scores.importance_deviation),
        "importance_levels": _by_name(IMPORTANCE_LEVELS, scores.importance_levels),
        "types": {name: _rounded(value) for name, value in scores.types.items()},
        "severities": {name: _severity_to_dict(values) for name, values in scores.severities.items()},
    }


def assessment_to_dict(assessment: RegionAssessment, image: str) -> dict[str, Any]:
    """One line of ``seagull-tune assess`` as plain values.

    Args:
        assessment: the model's judgement of one region.
        image: how the image is called, usually its path as it was given.

    Returns:
        ``image``, ``region``, the language model's scores (:func:`scores_to_dict`), the region tokens' own under
        ``direct``, those from before calibration under ``raw`` (null where the model is not calibrated: its scores are
        raw), ``text``, ``unparsable``, ``abstain``, ``model_id``, ``resolution`` (height, width that the tower saw).
    """
    return {
        "image": image,
        "region": region_to_dict(assessment.region),
        **scores_to_dict(assessment.scores),
        "direct": scores_to_dict(assessment.direct),
        "raw": None if assessment.raw is None else scores_to_dict(assessment.raw),
        "text": assessment.text,
        "unparsable": assessment.unparsable,
        "abstain": assessment.abstain,
        "model_id": assessment.model_id,
        "resolution": list(assessment.resolution),
    }


def to_json_line(assessment: RegionAssessment, image: str) -> str:
    """:func:`assessment_to_dict` as one line of JSON, without the line end.

    Bytes of a file name that are not UTF-8 are written as escaped surrogates; ``os.fsencode`` makes the name of them.
    """
    values = assessment_to_dict(assessment, image)
    text = json.dumps(values, ensure_ascii=False, allow_nan=False)
    return text if is_unicode(text) else json.dumps(values, allow_nan=False)


def line_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line of ``seagull-tune assess``: of :func:`assessment_to_dict`."""
    share = {"type": "number", "minimum": 0, "maximum": 1}
    count = {"type": "integer", "minimum": 1}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "RegionAssessment",
        **_object(
            "The tuned model's judgement of one region of one photograph.",
            image=_text("How the photograph is called, usually its path as it was given."),
            region=_region_schema(count),
            **_scores_schema(share),
            direct=_object(
                "The same numbers from a small head on the region's tokens, without the language model: a second "
                "opinion.",
                **_scores_schema(share),
            ),
            raw={
                "description": "The scores from before calibration; null where the model is not calibrated.",
                "anyOf": [_object("Scores of the language model.", **_scores_schema(share)), {"type": "null"}],
            },
            text=_text("The model's own description, empty unless it was asked for. No number comes from it."),
            unparsable=_flag("Whether a text was asked for and its severities could not be read back."),
            abstain=_flag("Whether these numbers should not be relied on."),
            model_id=_text("Name and content hash of the checkpoint, NAME@HASH."),
            resolution=_list("Height and width, in pixels, of the photograph as the vision tower saw it.", count, 2),
        ),
    }


def _region_schema(count: dict[str, Any]) -> dict[str, Any]:
    pixel = {"type": "integer", "minimum": 0}
    return _object(
        "The region that was judged.",
        name=_text("Its name: what it was given as, or called; may be empty."),
        box_xyxy=_list("Tight bounding box x0, y0, x1, y1 in pixels; the ends are exclusive.", pixel, 4),
        area={**count, "description": "Pixels inside."},
        rle=_object(
            "The mask, as COCO's compressed run-length encoding.",
            size=_list("Height and width of the photograph in pixels.", count, 2),
            counts=_text("The runs."),
        ),
    )


def _scores_schema(share: dict[str, Any]) -> dict[str, Any]:
    """Properties of :func:`scores_to_dict`; ``share``: of a number in [0, 1]."""
    severity = _object(
        "One distortion's severity.",
        severity={"type": "integer", "minimum": 0, "maximum": len(SEVERITY_NAMES) - 1,
                  "description": "What the probabilities amount to: 0 where it is more likely not there."},
        name={"enum": list(SEVERITY_NAMES), "description": "The same in a word."},
        probabilities=_list(f"Of the severities {', '.join(SEVERITY_NAMES)}.", share, len(SEVERITY_NAMES)),
    )  # fmt: skip
    spread = {"type": "number", "minimum": 0, "maximum": 0.5}
    return {
        "quality": {**share, "description": "Expected quality level; higher is better."},
        "quality_deviation": {**spread, "description": "Standard deviation of the quality that is believed."},
        "quality_levels": _object("Probability of every quality word.", **dict.fromkeys(QUALITY_LEVELS, share)),
        "importance": {
            **share,
            "description": "Expected importance level: the share of the picture's loss that would go if this region "
            "alone were restored.",
        },
        "importance_deviation": {**spread, "description": "Standard deviation of the importance that is believed."},
        "importance_levels": _object(
            "Probability of every importance word.", **dict.fromkeys(IMPORTANCE_LEVELS, share)
        ),
        "types": _object("Probability that each distortion is there.", **dict.fromkeys(DISTORTION_TYPES, share)),
        "severities": _object("How severe each distortion is.", **dict.fromkeys(DISTORTION_TYPES, severity)),
    }


def _object(description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    """An object of exactly these properties."""
    return {
        "type": "object", "description": description, "properties": properties, "required": list(properties),
        "additionalProperties": False,
    }  # fmt: skip


def _list(description: str, items: dict[str, Any], length: int) -> dict[str, Any]:
    return {"type": "array", "description": description, "items": items, "minItems": length, "maxItems": length}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _flag(description: str) -> dict[str, Any]:
    return {"type": "boolean", "description": description}


def scores_in_words(scores: Scores) -> str:
    """Scores as one line for a person: ``quality 0.43 (fair), importance 0.12 (low), blur moderate (0.83)``."""
    present = [
        f"{name} {SEVERITY_NAMES[said_severity(values)]} ({scores.types[name]:.2f})"
        for name, values in scores.severities.items()
        if said_severity(values)
    ]
    quality = f"quality {scores.quality:.2f} ({nearest_level(scores.quality)})"
    importance = f"importance {scores.importance:.2f} ({nearest_level(scores.importance, IMPORTANCE_LEVELS)})"
    return ", ".join([quality, importance, *(present or ["no distortion"])])


def assessment_from_dict(values: Mapping[str, Any]) -> RegionAssessment:
    """One line of ``seagull-tune assess`` as the record that it was made of, scores as they were rounded.

    Args:
        values: what :func:`assessment_to_dict` gives, or its JSON read back.

    Raises:
        DataError: a field is missing or of another kind.
        RegionError: an empty region.
    """
    try:
        shape = values["region"]
        height, width = shape["rle"]["size"]
        x0, y0, x1, y1 = shape["box_xyxy"]
        seen_height, seen_width = values["resolution"]
        return RegionAssessment(
            region=Region(height, width, shape["rle"]["counts"], shape["area"], (x0, y0, x1, y1), shape["name"]),
            scores=scores_from_dict(values), direct=scores_from_dict(values["direct"]), text=values["text"],
            unparsable=values["unparsable"], model_id=values["model_id"], resolution=(seen_height, seen_width),
            abstain=values["abstain"], raw=None if values["raw"] is None else scores_from_dict(values["raw"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"This is no line of `seagull-tune assess` ({error!r}): {str(values)[:120]}. Judge the photograph again."
        ) from error


def scores_from_dict(values: Mapping[str, Any]) -> Scores:
    """What :func:`scores_to_dict` gives, as the record. Errors are those of the types that are not met."""
    return Scores(
        quality=values["quality"],
        importance=values["importance"],
        quality_levels=tuple(values["quality_levels"].values()),
        importance_levels=tuple(values["importance_levels"].values()),
        severities={name: tuple(said["probabilities"]) for name, said in values["severities"].items()},
        types=dict(values["types"]),
    )


def _by_name(names: tuple[str, ...], values: tuple[float, ...]) -> dict[str, float]:
    return {name: _rounded(value) for name, value in zip(names, values, strict=True)}


def _severity_to_dict(probabilities: tuple[float, ...]) -> dict[str, Any]:
    severity = said_severity(probabilities)
    return {
        "severity": severity,
        "name": SEVERITY_NAMES[severity],
        "probabilities": [_rounded(value) for value in probabilities],
    }


def _rounded(value: float) -> float:
    return round(float(value), _DIGITS)
