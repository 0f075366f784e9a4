"""What stands beside the model: boxes drawn, boxes instead of masks, metrics of others; and only what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seagull_tune.config.base import load_config
from seagull_tune.config.evaluate import CropMetric, EvaluationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.evaluate.baselines import Baselines
from seagull_tune.evaluate.judging import RED, Judge, draw_box, extra_readers
from seagull_tune.evaluate.predictions import Prediction
from seagull_tune.evaluate.protocols import evaluate_model

BOTH = EvaluationSettings(baselines=("crop", "box_drawn"), bootstrap_draws=0, texts_per_image=0)


@pytest.mark.parametrize("box", [(10, 20, 50, 60), (0, 0, 100, 80), (99, 79, 100, 80), (0, 30, 100, 31)])
def test_a_drawn_box_hides_nothing_that_it_need_not(box: tuple[int, int, int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 200, (80, 100, 3), np.uint8)
    before = image.copy()
    drawn = draw_box(image, box)
    x0, y0, x1, y1 = box
    assert (image == before).all(), "a copy is drawn on"
    changed = (drawn != image).any(axis=2)
    assert changed.any() and (drawn[changed] == RED).all()
    inner = changed[y0 + 2 * (y0 < 2) : y1 - 2 * (y1 > 78), x0 + 2 * (x0 < 2) : x1 - 2 * (x1 > 98)]
    assert not inner.any(), "inside, only the border of the picture is drawn over"


def test_the_optional_baselines_stand_in_the_figures(
    assessor: Any, roi: RoiDataset, baselines: Baselines, out: Path
) -> None:
    settings = BOTH.model_copy(update={"crop_metric": CropMetric(metric="mean", accept_noncommercial=True)})

    def brightness(crop: np.ndarray) -> float:
        assert min(crop.shape[:2]) >= 32 and crop.flags.c_contiguous
        return float(crop.mean())

    found = evaluate_model(assessor, roi, settings, out, baselines, show_progress=False, metric=brightness)
    beside = found.metrics["baselines"]
    assert list(beside) == ["trivial", "classical", "crop", "crop_mean", "box_drawn", "area_loss"]
    assert set(beside["crop"]) == {"quality", "importance", "types"}
    assert set(beside["box_drawn"]) == {"quality", "types", "severity"}
    assert beside["crop_mean"]["quality"]["srcc"] is not None and beside["crop_mean"]["quality"]["rmse"] is None
    assert any(line.startswith("baselines.crop_mean.quality.rmse") for line in found.metrics["notes"])
    sample = roi[3]
    rows = found.samples == sample.sample.sample_id
    filled = np.zeros_like(sample.masks)
    for mask, region in zip(filled, sample.regions, strict=True):
        x0, y0, x1, y1 = region.box_xyxy
        mask[y0:y1, x0:x1] = True
    expected = baselines.predict(sample.image, filled)["classical"].quality
    crop = found.readings["crop"].quality
    assert crop is not None and expected is not None and crop[rows] == pytest.approx(expected, abs=1e-6)


def test_a_later_baseline_asks_the_model_nothing_again(
    make_assessor: type, roi: RoiDataset, baselines: Baselines, out: Path
) -> None:
    first = make_assessor()
    plain = evaluate_model(first, roi, BOTH.model_copy(update={"baselines": ()}), out, baselines, show_progress=False)
    second = make_assessor()
    more = evaluate_model(second, roi, BOTH, out, baselines, show_progress=False)
    regions = sum(len(roi.sample(i).labels) for i in range(len(roi)))
    assert first.calls == len(roi) and second.calls == regions, "one call per drawn box, none for the rest"
    assert {key: more.metrics[key] for key in ("quality", "direct")} == {
        key: plain.metrics[key] for key in ("quality", "direct")
    }
    third = make_assessor()
    evaluate_model(third, roi, BOTH, out, baselines, show_progress=False)
    assert third.calls == 0


def test_without_stored_baselines_the_crop_is_left_out(assessor: Any) -> None:
    assert list(extra_readers(BOTH, assessor, None, None)) == ["box_drawn"]


def test_a_metric_under_another_licence_is_asked_for_by_name() -> None:
    with pytest.raises(ConfigError, match="PolyForm Noncommercial"):
        load_config(EvaluationSettings, None, ["crop_metric.metric=topiq_nr"])
    settings = load_config(EvaluationSettings, None, ["crop_metric={metric: x, accept_noncommercial: true}"])
    with pytest.raises(DataError, match="no metric was brought"):
        extra_readers(settings, None, None, None)  # type: ignore[arg-type]


def test_a_metric_that_says_no_number_is_refused(assessor: Any, roi: RoiDataset) -> None:
    settings = BOTH.model_copy(
        update={"baselines": (), "crop_metric": CropMetric(metric="x", accept_noncommercial=True)}
    )
    judge = Judge(assessor, None, extra_readers(settings, assessor, None, lambda crop: float("nan")))
    with pytest.raises(DataError, match="nan of the crop"):
        judge.read(roi[0], (), None)


@pytest.mark.parametrize("described", [(), (0,)])
def test_what_is_complete(described: Sequence[int], assessor: Any, roi: RoiDataset) -> None:
    judge = Judge(assessor, None, {})
    done = judge.read(roi[0], (), None)
    assert judge.complete(done, described) is (not described)
    assert judge.complete(judge.read(roi[0], described, done), described)
    assert not judge.complete(None, ()) and not judge.complete(Prediction("x", {}, (), 0.0), ())
