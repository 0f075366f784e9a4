"""A measurement: its keys, its resume, its texts, and a tiny real model through it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.baselines import Baselines
from seagull_tune.evaluate.predictions import SUFFIX
from seagull_tune.evaluate.protocols import Evaluation, choose_texts, evaluate_model
from tests.tiny import make_tiny_model

SETTINGS = EvaluationSettings(bootstrap_draws=50, seed=2, texts_per_image=2)
SCORE_KEYS = ("srcc", "plcc", "plcc_logistic", "krcc", "rmse", "ci95", "within_image_srcc")
READER_KEYS = [
    *(f"{score}.{key}" for score in ("quality", "importance") for key in SCORE_KEYS),
    *("types.macro_f1", "types.sample_f1", "severity.accuracy", "severity.f1"),
]


def _at(metrics: dict[str, Any], dotted: str) -> Any:
    found: Any = metrics
    for key in dotted.split("."):
        found = found[key]
    return found


def _measure(assessor: Any, roi: RoiDataset, out: Path, baselines: Baselines | None = None) -> Evaluation:
    return evaluate_model(assessor, roi, SETTINGS, out, baselines, show_progress=False)


def test_the_keys_are_there_and_the_file_is_strict_json(
    assessor: Any, roi: RoiDataset, baselines: Baselines, out: Path
) -> None:
    evaluation = _measure(assessor, roi, out, baselines)

    def refuse(text: str) -> float:
        raise AssertionError(text)

    metrics = json.loads(out.read_text(encoding="utf-8"), parse_constant=refuse)
    assert metrics == evaluation.metrics
    for key in (*READER_KEYS, *(f"direct.{key}" for key in READER_KEYS)):
        assert _at(metrics, key) is not None, key
    for key in (
        "trivial.quality.rmse",
        "classical.quality.srcc",
        "classical.types.macro_f1",
        "area_loss.importance.srcc",
    ):
        assert math.isfinite(_at(metrics, f"baselines.{key}")), key
    assert metrics["baselines"]["trivial"]["quality"]["srcc"] is None
    assert any(line.startswith("baselines.trivial.quality") for line in metrics["notes"])
    assert metrics["n_images"] == metrics["n_photographs"] == 3 and metrics["n_samples"] == len(roi) == 15
    assert metrics["n_regions"] == sum(len(roi.sample(i).labels) for i in range(len(roi)))
    assert metrics["recipe_hash"] == roi.manifest["recipe_hash"]
    assert metrics["model_id"] == "pixels@0" and metrics["seed"] == 2 and metrics["precision"] == "fp32"
    assert metrics["versions"]["numpy"] == np.__version__
    low, high = metrics["quality"]["ci95"]
    assert low <= metrics["quality"]["srcc"] <= high


def test_truth_and_readings_stand_side_by_side(assessor: Any, roi: RoiDataset, baselines: Baselines, out: Path) -> None:
    evaluation = _measure(assessor, roi, out, baselines)
    assert list(evaluation.readings) == ["model", "direct", "trivial", "classical", "crop"]
    assert {len(reading) for reading in evaluation.readings.values()} == {len(evaluation.truth)}
    index = 7
    sample = roi[index]
    rows = np.flatnonzero(evaluation.samples == sample.sample.sample_id)
    expected = assessor.assess(sample.image, sample.regions)
    model = evaluation.readings["model"]
    assert model.quality is not None and model.severities is not None
    assert model.quality[rows] == pytest.approx([answer.scores.quality for answer in expected], abs=1e-6)
    assert model.severities[rows, 0].tolist() == [int(5 * answer.scores.quality) for answer in expected]
    assert evaluation.truth.quality[rows] == pytest.approx([label.quality for label in sample.labels])
    assert set(evaluation.truth.photographs[rows].tolist()) == {sample.scene_id}
    height, width = sample.image.shape[:2]
    assert evaluation.truth.area[rows] == pytest.approx(sample.masks.sum(axis=(1, 2)) / (height * width))


def test_a_finished_measurement_asks_nothing_again(
    make_assessor: type, roi: RoiDataset, baselines: Baselines, out: Path
) -> None:
    first, second, other = make_assessor(), make_assessor(), make_assessor("changed@1")
    before = _measure(first, roi, out, baselines).metrics
    assert _measure(second, roi, out, baselines).metrics == before
    assert first.calls >= len(roi) and second.calls == 0
    _measure(other, roi, out, baselines)
    assert other.calls == first.calls


def test_a_killed_measurement_goes_on_and_ends_the_same(make_assessor: type, roi: RoiDataset, tmp_path: Path) -> None:
    killed, resumed, straight = make_assessor(), make_assessor(), make_assessor()
    killed.fail_at = 8
    cut, whole = tmp_path / "cut.json", tmp_path / "whole.json"
    with pytest.raises(KeyboardInterrupt):
        _measure(killed, roi, cut)
    assert not cut.exists()
    predictions = cut.with_name(cut.name + SUFFIX)
    n_done = len(predictions.read_text(encoding="utf-8").splitlines())
    assert 0 < n_done < len(roi)
    predictions.write_bytes(predictions.read_bytes() + b'{"sample_id":"half of')
    after = _measure(resumed, roi, cut).metrics
    expected = _measure(straight, roi, whole).metrics
    assert resumed.calls < straight.calls
    assert {**after, "seconds": 0} == {**expected, "seconds": 0}


def test_texts_are_counted(make_assessor: type, roi: RoiDataset, tmp_path: Path) -> None:
    asked: list[int] = []

    def every_third(region: Any) -> bool:
        asked.append(region.area)
        return len(asked) % 3 == 0

    assessor = make_assessor(unparsable=every_third)
    metrics = _measure(assessor, roi, tmp_path / "a.json").metrics
    assert metrics["n_texts"] == assessor.described == 6
    assert metrics["unparsable"] == pytest.approx(2 / 6)
    # Fewer texts need no new judgement, and only the wanted ones count.
    fewer = EvaluationSettings(bootstrap_draws=0, seed=2, texts_per_image=0)
    calls = assessor.calls
    found = evaluate_model(assessor, roi, fewer, tmp_path / "a.json", show_progress=False).metrics
    assert assessor.calls == calls
    assert found["unparsable"] is None and found["n_texts"] == 0
    assert any(line.startswith("unparsable") for line in found["notes"])


def test_the_choice_of_texts_is_seeded(roi: RoiDataset) -> None:
    def chosen(seed: int, count: int = 3) -> dict[int, tuple[int, ...]]:
        return choose_texts(roi, EvaluationSettings(seed=seed, texts_per_image=count))

    assert chosen(1) == chosen(1) != chosen(5)
    assert sum(map(len, chosen(1).values())) == 9
    everything = chosen(1, 10_000)
    assert everything == {i: tuple(range(len(roi.sample(i).labels))) for i in range(len(roi))}


def test_without_baselines_the_note_says_so(assessor: Any, roi: RoiDataset, out: Path) -> None:
    metrics = _measure(assessor, roi, out).metrics
    assert set(metrics["baselines"]) == {"area_loss"} and metrics["baselines_fitted_on"] is None
    assert any(line.startswith("baselines: none") for line in metrics["notes"])


def test_predictions_of_other_regions_are_refused(assessor: Any, roi: RoiDataset, out: Path) -> None:
    _measure(assessor, roi, out)
    path = out.with_name(out.name + SUFFIX)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines[0]["readings"]["model"] = {key: values[:1] for key, values in lines[0]["readings"]["model"].items()}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with pytest.raises(DataError, match="has 1 regions"):
        _measure(assessor, roi, out)


def test_a_tiny_real_model_is_measured(roi: RoiDataset, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seagull_tune.infer.assessor import RegionAssessor

    model, processor = make_tiny_model()
    assessor = RegionAssessor(model, processor, "tiny@0")
    settings = EvaluationSettings(bootstrap_draws=20, texts_per_image=1)
    keep: Callable[[RoiDataset], int] = lambda self: 3  # noqa: E731 - three samples say as much as fifteen
    monkeypatch.setattr(RoiDataset, "__len__", keep)
    evaluation = evaluate_model(assessor, roi, settings, out, show_progress=False)
    sample = roi[1]
    rows = np.flatnonzero(evaluation.samples == sample.sample.sample_id)
    answers = assessor.assess(sample.image, sample.regions)
    for name in ("model", "direct"):
        scores = [answer.scores if name == "model" else answer.direct for answer in answers]
        reading = evaluation.readings[name]
        assert reading.quality is not None and reading.types is not None
        assert reading.quality[rows] == pytest.approx([score.quality for score in scores], abs=1e-4)
        assert reading.types[rows, 3] == pytest.approx([score.types["compression"] for score in scores], abs=1e-4)
    assert evaluation.metrics["n_texts"] == 1 and evaluation.metrics["unparsable"] in (0.0, 1.0)
    assert evaluation.metrics["n_samples"] == 3
