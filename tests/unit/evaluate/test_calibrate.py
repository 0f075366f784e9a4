"""A checkpoint through the whole of it: read, killed, read on, fitted, stored, applied, done again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from seagull_tune.config.calibrate import CalibrateConfig
from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.calibrate import FIGURE, PREDICTIONS, calibrate_checkpoint, folder_of, plan_calibration
from seagull_tune.evaluate.protocols import evaluate_model
from seagull_tune.hub_card import CARD
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.serialise import assessment_to_dict, scores_to_dict
from seagull_tune.model.calibration import CALIBRATION, load_calibration
from seagull_tune.model.checkpoint import CALIBRATED, MANIFEST, model_id
from tests.tiny import make_tiny_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("calibrate") / "model")


def config_of(model: Path, roi: RoiDataset, **calibration: object) -> CalibrateConfig:
    few = {"min_regions": 20, "min_photographs": 3, "folds": 3, "min_pixels": 0, **calibration}
    return CalibrateConfig.model_validate(
        {"model": str(model), "data": str(roi.folder), "split": "test", "calibration": few}
    )


def test_a_checkpoint_is_calibrated(model: Path, roi: RoiDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(model, roi, keep=0.8)
    predictions = folder_of(config) / PREDICTIONS
    read, calls = RegionAssessor.assess, []

    def killed_at_the_fourth(self: RegionAssessor, *arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(RegionAssessor, "assess", killed_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        calibrate_checkpoint(config, show_progress=False)
    assert len(predictions.read_text().splitlines()) == 3 and not (model / CALIBRATION).exists()
    said = calibrate_checkpoint(config, show_progress=False)
    assert len(calls) == 4 + len(roi.labelled) - 3
    assert "calibration error" in said and str(model / CALIBRATION) in said
    assert (folder_of(config) / FIGURE).read_bytes().startswith(b"\x89PNG")
    found = load_calibration(model)
    assert found is not None and found.facts["n_photographs"] == 3 and found.facts["split"] == "test"
    assert found.facts["unseen"] is False, "nobody knows what a tiny checkpoint was trained on"
    assert not (model / CARD).exists(), "a card is of finished models"
    (model / CARD).write_text("of before")
    # A second run over the first reads nothing, and finds the same; it takes the raw model, not the calibrated one.
    assert calibrate_checkpoint(config, show_progress=False) == said and load_calibration(model) == found
    assert len(calls) == 4 + len(roi.labelled) - 3
    assert "in place of the one that is there" in plan_calibration(config)
    assert "regions of 3 photographs" in (model / CARD).read_text(), "the card is refreshed"


def test_a_calibrated_model_answers_with_both(model: Path, roi: RoiDataset) -> None:
    calibrate_checkpoint(config_of(model, roi, keep=0.5), show_progress=False)
    found, plain = RegionAssessor.from_pretrained(model), RegionAssessor.from_pretrained(model, calibrated=False)
    assert found.calibration is not None and found.name == f"{model_id(model)}{CALIBRATED}{found.calibration.digest}"
    assert plain.name == model_id(model)
    for index in range(len(roi)):
        sample = roi[index]
        answers = found.assess(sample.image, sample.regions)
        for answer, raw in zip(answers, plain.assess(sample.image, sample.regions), strict=True):
            assert answer.raw is not None and answer.raw.quality == pytest.approx(raw.scores.quality, abs=1e-6)
            assert answer.direct == raw.direct and raw.raw is None and not raw.abstain
            assert assessment_to_dict(answer, "x")["raw"] == scores_to_dict(answer.raw)
            assert answer.abstain == found.calibration.abstains(answer.scores, answer.region, answer.resolution)


def test_a_measurement_says_what_it_measured(model: Path, roi: RoiDataset, tmp_path: Path) -> None:
    calibrate_checkpoint(config_of(model, roi), show_progress=False)
    settings = EvaluationSettings(bootstrap_draws=0, texts_per_image=0)
    figures = {
        calibrated: evaluate_model(
            RegionAssessor.from_pretrained(model, calibrated=calibrated), roi, settings, tmp_path / "metrics.json",
            show_progress=False,
        ).metrics
        for calibrated in (True, False)
    }  # fmt: skip
    assert figures[True]["calibrated"] and CALIBRATED in figures[True]["model_id"]
    assert not figures[False]["calibrated"] and "raw" not in figures[False]
    assert figures[True]["raw"]["quality"] == figures[False]["quality"], "what it was before is reported too"
    assert figures[True]["baselines"].keys() == figures[False]["baselines"].keys(), "it is no baseline of itself"
    assert figures[True]["quality"]["rmse"] != figures[False]["quality"]["rmse"]
    assert figures[True]["quality"]["srcc"] == pytest.approx(figures[False]["quality"]["srcc"], abs=1e-3)


def test_predictions_without_levels_are_read_again(model: Path, roi: RoiDataset, tmp_path: Path) -> None:
    config = config_of(model, roi).model_copy(update={"out": str(tmp_path / "out")})
    said = calibrate_checkpoint(config, show_progress=False)
    path = tmp_path / "out" / PREDICTIONS
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for values in lines[:2]:
        del values["readings"]["model"]["quality_levels"], values["readings"]["model"]["importance_levels"]
    path.write_text("".join(json.dumps(values) + "\n" for values in lines))
    assert calibrate_checkpoint(config, show_progress=False) == said
    assert len(path.read_text().splitlines()) == len(lines) + 2


def test_photographs_that_the_model_was_trained_on_are_refused(model: Path, roi: RoiDataset, tmp_path: Path) -> None:
    config = config_of(model, roi)
    assert "does not say which photographs it was trained on" in plan_calibration(config)
    copy = shutil.copytree(model, tmp_path / "model")
    manifest = json.loads((copy / MANIFEST).read_text())
    for known, seen in ((roi.photographs[:1], True), (["0" * 16], False)):
        training = {"data": {"photographs": list(known)}}
        (copy / MANIFEST).write_text(json.dumps({**manifest, "training": training}))
        config = config_of(copy, roi)
        if seen:
            for work in (plan_calibration, calibrate_checkpoint):
                with pytest.raises(DataError, match="was trained on 1 of the 3 images"):
                    work(config)
            assert not folder_of(config).exists(), "nothing was read"
        else:
            assert "does not say" not in plan_calibration(config)


def test_too_small_a_data_set_is_refused_before_the_model_is_loaded(model: Path, roi: RoiDataset) -> None:
    config = config_of(model, roi, min_regions=100_000)
    with pytest.raises(DataError, match="labelled regions of 3 photographs; a calibration needs 100000 of 3"):
        plan_calibration(config)
    with pytest.raises(DataError, match="no samples in split 'validation'; it holds: test 3"):
        plan_calibration(config.model_copy(update={"split": "validation"}))
