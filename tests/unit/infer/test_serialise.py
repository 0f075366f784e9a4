"""One line of `seagull-tune assess`: every field that readers rely on, and a round trip of the region."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from seagull_tune.errors import DataError
from seagull_tune.infer.serialise import (
    assessment_from_dict,
    assessment_to_dict,
    line_schema,
    scores_in_words,
    to_json_line,
)
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS
from seagull_tune.records import RegionAssessment, Scores
from seagull_tune.regions.masks import decode, encode, from_rle


def make_scores(quality: float = 0.6, blur: tuple[float, ...] = (0.1, 0.1, 0.5, 0.2, 0.05, 0.05)) -> Scores:
    clean = (0.95, 0.01, 0.01, 0.01, 0.01, 0.01)
    severities = {name: blur if name == "blur" else clean for name in DISTORTION_TYPES}
    levels = (0.0, 0.1, 0.5, 0.3, 0.1)
    types = {name: 1.0 - values[0] for name, values in severities.items()}
    return Scores(quality, 0.25, levels, levels[::-1], severities, types)


def make_assessment(direct: Scores | None = None) -> RegionAssessment:
    mask = np.zeros((40, 60), bool)
    mask[5:15, 20:50] = True
    return RegionAssessment(
        encode(mask, "sky — left"), make_scores(), direct or make_scores(0.4), "Fine.", False, "m@abc", (40, 60)
    )


def test_a_line_holds_every_field() -> None:
    line = to_json_line(make_assessment(), "a b.jpg")
    assert "\n" not in line
    values: dict[str, Any] = json.loads(line)
    assert list(values) == [
        "image", "region", "quality", "quality_deviation", "quality_levels", "importance", "importance_deviation",
        "importance_levels", "types", "severities", "direct", "raw", "text", "unparsable", "abstain", "model_id",
        "resolution",
    ]  # fmt: skip
    assert values["raw"] is None, "the model is not calibrated"
    assert values["image"] == "a b.jpg" and values["model_id"] == "m@abc" and values["resolution"] == [40, 60]
    assert values["region"]["name"] == "sky — left" and values["region"]["box_xyxy"] == [20, 5, 50, 15]
    assert values["quality"] == 0.6 and values["direct"]["quality"] == 0.4
    assert tuple(values["quality_levels"]) == QUALITY_LEVELS
    assert tuple(values["direct"]["importance_levels"]) == IMPORTANCE_LEVELS
    assert tuple(values["types"]) == DISTORTION_TYPES
    assert values["types"]["blur"] == pytest.approx(0.9)
    assert values["severities"]["blur"] == {
        "severity": 2, "name": "moderate", "probabilities": [0.1, 0.1, 0.5, 0.2, 0.05, 0.05],
    }  # fmt: skip
    assert values["severities"]["noise"]["name"] == "none"


def test_the_region_can_be_read_back() -> None:
    assessment = make_assessment()
    region = from_rle(assessment_to_dict(assessment, "x")["region"]["rle"])
    assert region.area == assessment.region.area == 300
    assert (decode(region) == decode(assessment.region)).all()


def test_a_number_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        to_json_line(make_assessment(make_scores(float("nan"))), "x")


def test_words_for_a_person() -> None:
    assert scores_in_words(make_scores()) == "quality 0.60 (fair), importance 0.25 (low), blur moderate (0.90)"
    clean = make_scores(blur=(0.6, 0.4, 0.0, 0.0, 0.0, 0.0))
    assert scores_in_words(clean).endswith("no distortion")
    # 0.45 is the most probable single word, yet a distortion is more probable than none.
    torn = make_scores(blur=(0.45, 0.3, 0.25, 0.0, 0.0, 0.0))
    assert scores_in_words(torn).endswith("blur slight (0.55)")


def test_a_line_can_be_read_back_whole() -> None:
    line = to_json_line(make_assessment(), "a.jpg")
    read = assessment_from_dict(json.loads(line))
    assert to_json_line(read, "a.jpg") == line
    assert read.region == make_assessment().region
    for bad in ({}, {**json.loads(line), "direct": None}, {**json.loads(line), "resolution": [1]}):
        with pytest.raises(DataError, match="no line of"):
            assessment_from_dict(bad)


def test_lines_keep_their_schema() -> None:
    schema = line_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    line = assessment_to_dict(make_assessment(), "a.jpg")
    jsonschema.validate(line, schema)
    assert schema["required"] == list(line)
    for broken, said in (
        ({**line, "quality": 1.2}, "maximum"),
        ({**line, "quality": None}, "number"),
        ({**line, "extra": 1}, "extra"),
        ({name: value for name, value in line.items() if name != "abstain"}, "abstain"),
        ({**line, "types": {**line["types"], "rain": 0.5}}, "rain"),
        ({**line, "region": {**line["region"], "box_xyxy": [1, 2, 3]}}, "too short"),
    ):
        with pytest.raises(jsonschema.ValidationError, match=said):
            jsonschema.validate(broken, schema)


def test_every_field_is_described(project_root: Path) -> None:
    page = (project_root / "docs" / "answers.md").read_text()
    words = {*QUALITY_LEVELS, *IMPORTANCE_LEVELS, *DISTORTION_TYPES}
    missing = sorted({name for name in _names(line_schema()) if name not in words and f"`{name}`" not in page})
    assert not missing, f"docs/answers.md says nothing of {missing}"


def _names(schema: dict[str, Any]) -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield name
        yield from _names(inner)
