"""The file of predictions: whole lines only, runs apart, damage named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seagull_tune.errors import DataError
from seagull_tune.evaluate.outcomes import Reading
from seagull_tune.evaluate.predictions import Prediction, PredictionFile, RunKey, TextResult

KEY = RunKey("tiny@0", "recipes", "data", "fp32", "")
READING = Reading(np.array([0.25, 1 / 3]), np.array([0.1, 0.9]), np.full((2, 8), 0.5), np.arange(16).reshape(2, 8) % 6)


def _prediction(name: str) -> Prediction:
    texts = (TextResult(1, "Zwei\nZeilen: “gut”\u2028", True),)
    return Prediction(name, {"model": READING, "area": Reading(importance=np.array([0.5, 0.5]))}, texts, 1.25)


def test_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "p.jsonl"
    with PredictionFile(path, KEY) as file:
        assert file.found == {}
        file.append(_prediction("a"))
        file.append(_prediction("b"))
    with PredictionFile(path, KEY) as file:
        assert list(file.found) == ["a", "b"]
        found = file.found["b"]
    assert found.texts == _prediction("b").texts and found.seconds == 1.25
    assert found.readings["model"].to_lists() == READING.to_lists()
    quality, severities = found.readings["model"].quality, found.readings["model"].severities
    assert quality == pytest.approx([0.25, 1 / 3], abs=1e-7)
    assert severities is not None and severities.dtype == np.int64
    assert found.readings["area"].quality is None
    assert len(path.read_bytes().split(b"\n")) == 3


def test_a_line_that_a_kill_cut_off_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    with PredictionFile(path, KEY) as file:
        file.append(_prediction("a"))
        file.append(_prediction("b"))
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with PredictionFile(path, KEY) as file:
        assert list(file.found) == ["a"]
        file.append(_prediction("b"))
    assert path.read_bytes() == content


@pytest.mark.parametrize("field", ["model", "recipe_hash", "data", "precision", "baselines"])
def test_other_runs_are_kept_and_left_alone(tmp_path: Path, field: str) -> None:
    path = tmp_path / "p.jsonl"
    with PredictionFile(path, KEY) as file:
        file.append(_prediction("a"))
    with PredictionFile(path, replace(KEY, **{field: "other"})) as file:
        assert file.found == {}
        file.append(_prediction("a"))
    with PredictionFile(path, KEY) as file:
        assert list(file.found) == ["a"]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"sample_id": "x"}', '{"run": "RUN", "sample_id": "x"}'])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "p.jsonl"
    with PredictionFile(path, KEY) as file:
        file.append(_prediction("a"))
    content = path.read_text(encoding="utf-8")
    path.write_text(content + line.replace("RUN", KEY.digest) + "\n" + content, encoding="utf-8")
    with pytest.raises(DataError, match=r"p\.jsonl, line 2"), PredictionFile(path, KEY):
        pass


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"), PredictionFile(tmp_path, KEY):
        pass


def test_nothing_is_appended_outside_the_block(tmp_path: Path) -> None:
    file = PredictionFile(tmp_path / "p.jsonl", KEY)
    with pytest.raises(ValueError, match="with"):
        file.append(_prediction("a"))


def test_joining_keeps_what_all_parts_speak_of() -> None:
    joined = Reading.join([READING, Reading(quality=np.array([0.5]), types=None)])
    assert joined.quality == pytest.approx([0.25, 1 / 3, 0.5])
    assert joined.importance is None and joined.types is None and len(joined) == 3
    assert len(Reading()) == 0
    with pytest.raises(DataError, match="colour"):
        Reading.from_lists({"colour": [1]})
