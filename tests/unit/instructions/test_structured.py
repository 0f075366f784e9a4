"""The JSON answer: written, read and refused by one schema."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from seagull_tune.errors import DataError
from seagull_tune.instructions.structured import answer_schema, read_json_answer, write_json_answer
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES, nearest_level
from tests.tiny import random_labels


def test_what_is_written_is_read_back() -> None:
    for label in random_labels(random.Random(2), 200):
        text = write_json_answer(label)
        answer = read_json_answer(text)
        assert answer.quality == nearest_level(label.quality)
        told = None if label.importance is None else nearest_level(label.importance, IMPORTANCE_LEVELS)
        assert answer.importance == told
        assert answer.severities == label.severities
        assert json.loads(text) == answer.model_dump(mode="json")
        assert "\n" not in text


def test_every_problem_is_named() -> None:
    with pytest.raises(DataError) as caught:
        read_json_answer(
            '{"quality": "lovely", "distortions": [{"type": "fog", "severity": "none"}, {"type": "blur"}], "extra": 1}'
        )
    said = str(caught.value)
    for expected in (
        "quality: Input should be 'bad', 'poor', 'fair', 'good' or 'excellent'",
        "importance: Field required",
        "distortions.0.type: Input should be 'blur'",
        "distortions.0.severity: Input should be 'slight'",
        "distortions.1.severity: Field required",
        "extra: Extra inputs are not permitted",
    ):
        assert expected in said


@pytest.mark.parametrize("text", ["", "good", "[]", '{"quality": "good"', "null"])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="does not keep its schema"):
        read_json_answer(text)


def test_a_type_is_told_once() -> None:
    blur = '{"type": "blur", "severity": "slight"}'
    with pytest.raises(DataError, match="blur is told more than once"):
        read_json_answer(f'{{"quality": "good", "importance": null, "distortions": [{blur}, {blur}]}}')


def test_the_schema_holds_the_vocabularies() -> None:
    schema = answer_schema()
    assert schema["required"] == ["quality", "importance", "distortions"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["quality"]["enum"] == list(QUALITY_LEVELS)
    assert {"type": "null"} in schema["properties"]["importance"]["anyOf"]
    distortion = schema["$defs"]["JsonDistortion"]["properties"]
    assert distortion["type"]["enum"] == list(DISTORTION_TYPES)
    assert distortion["severity"]["enum"] == list(SEVERITY_NAMES[1:])


def test_the_documented_schema_is_the_one_in_use(project_root: Path) -> None:
    page = (project_root / "docs" / "instructions.md").read_text()
    block = page.split("<!-- schema -->\n```json\n")[1].split("```")[0]
    assert json.loads(block) == answer_schema()
