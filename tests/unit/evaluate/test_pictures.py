"""Whole pictures against opinion scores: summaries, divisions by scene, a choice that never sees what is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from data_builders.importers import import_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.evaluate import EvaluationSettings, Protocol
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.evaluate.judged import Judged
from seagull_tune.evaluate.pictures import SUMMARIES, evaluate_pictures, median_figures, validation_rows
from seagull_tune.evaluate.protocols import evaluate_model
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region

SETTINGS = EvaluationSettings(bootstrap_draws=30)
SCENES, PER_SCENE = 6, 3


class Halves:
    """Finds the left and the right half; of narrow pictures nothing."""

    name = "halves"

    def segment(self, image: np.ndarray) -> list[Region]:
        """Both halves."""
        height, width = image.shape[:2]
        edges = [(0, 0, width // 2, height), (width // 2, 0, width, height)]
        return [] if width < 40 else [box_region(edge, height, width) for edge in edges]

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        """Not needed here."""
        raise NotImplementedError

    def in_box(self, image: np.ndarray, box_xyxy: Sequence[int]) -> Region:
        """Not needed here."""
        raise NotImplementedError


def write_pictures(folder: Path, scores: str = "1 to 5") -> Path:
    """Pictures of six scenes in three contrasts, which people like the better the more there is; one is narrow."""
    lines = ["image,mos,prompt"]
    source = skimage.data.coffee()
    for scene in range(SCENES):
        tile = cv2.resize(source[scene * 60 : scene * 60 + 90, 60:200], (70, 45))
        for step in range(PER_SCENE):
            contrast = 0.2 + 0.3 * step + 0.02 * scene
            picture = np.clip((tile - 128.0) * contrast + 128.0, 0, 255).astype(np.uint8)
            name = f"{scene}_{step}.png"
            Image.fromarray(picture[:, :30] if (scene, step) == (0, 0) else picture).save(folder / name)
            lines.append(f"{name},{1 + 4 * min(1.0, contrast):.4f},prompt {scene}")
    (folder / "mos.csv").write_text("\n".join(lines) + "\n")
    return folder / "mos.csv"


@pytest.fixture(scope="module")
def mos(tmp_path_factory: pytest.TempPathFactory) -> RoiDataset:
    folder = tmp_path_factory.mktemp("mos")
    config = {
        "format": "mos", "source": write_pictures(folder), "split": {"all_into": "test"},
        "mos": {"scale": {"low": 1, "high": 5, "higher_is_better": True}, "scene": "prompt"},
    }  # fmt: skip
    import_dataset(ImportConfig.model_validate(config), folder / "set", show_progress=False)
    return RoiDataset(folder / "set", "test")


@pytest.fixture
def protocol() -> Protocol:
    return load_config(Protocol, "configs/evaluate/mos.yaml")


def test_pictures_are_measured_and_measured_again(
    make_assessor: type, mos: RoiDataset, protocol: Protocol, out: Path
) -> None:
    first, second, other = make_assessor(), make_assessor(), make_assessor()
    evaluation = evaluate_pictures(first, mos, SETTINGS, out, protocol, Halves(), show_progress=False)
    metrics = evaluation.metrics
    assert json.loads(out.read_text()) == metrics and first.calls == SCENES * PER_SCENE
    assert metrics["quality"]["srcc"] > 0.9 and metrics["baselines"]["whole"]["quality"]["srcc"] > 0.8
    assert metrics["mos"] == {"low": 1.0, "high": 5.0, "higher_is_better": True}
    assert metrics["protocol"]["name"] == "mos" and metrics["n_samples"] == 18 and metrics["n_photographs"] == SCENES
    srccs = [run["quality"]["srcc"] for run in metrics["runs"]]
    assert metrics["quality"]["srcc"] == pytest.approx(np.median(srccs), abs=1e-6) and len(srccs) == 5
    for run in metrics["runs"]:
        best = max(run["model"]["validation_srcc"], key=lambda name: run["model"]["validation_srcc"][name] or -2)
        assert run["model"]["summary"] in SUMMARIES
        assert run["model"]["validation_srcc"][run["model"]["summary"]] == run["model"]["validation_srcc"][best]
        assert run["n_validation"] + run["n_measured"] == 18
    judged = Judged.load(out)
    assert len(judged.truth) == metrics["runs"][0]["n_measured"]
    assert evaluate_pictures(second, mos, SETTINGS, out, protocol, Halves(), show_progress=False).metrics == metrics
    assert second.calls == 0
    evaluate_pictures(other, mos, SETTINGS, out, protocol, Halves(), show_progress=False, found_with="other")
    assert other.calls == first.calls, "regions of another segmenter are read anew"


def test_the_choice_sees_the_validation_share_only(mos: RoiDataset, protocol: Protocol, out: Path) -> None:
    """A summary that is perfect on what is measured, and bad on what it may be chosen on, is not chosen."""
    rows = validation_rows(np.repeat(np.arange(10).astype(str), 2), 0.2, 3)
    assert rows.sum() == 4 and (rows[::2] == rows[1::2]).all(), "whole scenes"
    assert (rows == validation_rows(np.repeat(np.arange(10).astype(str), 2), 0.2, 3)).all()
    draws = {tuple(validation_rows(np.arange(10).astype(str), 0.2, seed)) for seed in range(8)}
    assert len(draws) > 4
    assert not validation_rows(np.arange(3).astype(str), 0.0, 0).any()
    with pytest.raises(DataError, match="leaves nothing to measure"):
        validation_rows(np.array(["a", "a"]), 0.2, 0)


def test_one_summary_needs_no_validation(assessor: Any, mos: RoiDataset, protocol: Protocol, out: Path) -> None:
    plain = Protocol(
        name="plain", judged="pictures", truth="opinions", figures=("quality",), summaries=("area_mean",)
    )  # fmt: skip
    metrics = evaluate_pictures(assessor, mos, SETTINGS, out, plain, Halves(), show_progress=False).metrics
    (run,) = metrics["runs"]
    assert run["n_measured"] == 18 and run["n_validation"] == 0 and run["quality"] == metrics["quality"]


def test_summaries_by_hand() -> None:
    quality, importance, area = np.array([0.2, 0.8]), np.array([0.75, 0.25]), np.array([0.1, 0.3])
    found = {name: summary(quality, importance, area) for name, summary in SUMMARIES.items()}
    assert found == pytest.approx({"area_mean": 0.65, "importance_mean": 0.35, "worst": 0.2})
    assert SUMMARIES["importance_mean"](quality, np.zeros(2), area) == pytest.approx(0.65)


def test_medians_of_figures() -> None:
    runs = [{"a": 0.1, "n": 4, "ci": [0.0, 1.0], "b": None}, {"a": 0.5, "n": 5, "ci": [0.2, 2.0], "b": 1.0}]
    runs.append({"a": 0.3, "n": 9, "ci": [0.1, 3.0], "b": 1.0})
    assert median_figures(runs) == {"a": 0.3, "n": 5, "ci": [0.1, 2.0], "b": None}


def test_degenerate_scores_give_null_with_a_note(
    mos: RoiDataset, protocol: Protocol, out: Path, make_assessor: type
) -> None:
    class Same(make_assessor):  # type: ignore[misc]
        """Says the same of everything."""

        def _assess(self, image: np.ndarray, region: Region, text: bool) -> Any:
            return super()._assess(np.full_like(image, 128), region, text)

    metrics = evaluate_pictures(Same("same@0"), mos, SETTINGS, out, protocol, Halves(), show_progress=False).metrics
    assert metrics["quality"]["srcc"] is None and metrics["quality"]["rmse"] > 0
    assert any("all predictions are" in line for line in metrics["notes"])
    assert any("no summary could be chosen" in line for line in metrics["notes"])
    json.loads(out.read_text(), parse_constant=lambda text: pytest.fail(text))


def test_protocols_and_data_sets_must_suit(
    assessor: Any, mos: RoiDataset, roi: RoiDataset, protocol: Protocol, out: Path
) -> None:
    with pytest.raises(DataError, match=r"'mos', whose truth is 'opinions': it holds truth of the kinds: measured"):
        evaluate_pictures(assessor, roi, SETTINGS, out, protocol, Halves(), show_progress=False)
    with pytest.raises(DataError, match=r"'synthetic-roi', whose truth is 'measured': .* opinions"):
        evaluate_model(assessor, mos, SETTINGS, out, show_progress=False)
    assert not out.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("judged=regions", "does not go with truth"),
        ("summaries=[]", "at least one of the summaries"),
        ("summaries=[worst, worst]", "names something twice"),
        ("validation=0", "several summaries and a share"),
        ("summaries=[worst]", "one summary and none"),
        ("figures=[quality, types]", "one figure"),
        ("split=train", "split"),
        ("seeds=[]", "seeds"),
    ],
)
def test_protocols_that_make_no_sense_are_refused(change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(Protocol, "configs/evaluate/mos.yaml", [change])


def test_regions_choose_nothing() -> None:
    with pytest.raises(ConfigError, match="nothing is chosen"):
        load_config(Protocol, "configs/evaluate/synthetic-roi.yaml", ["seeds=[1, 2]"])
    from seagull_tune.config.evaluate import SYNTHETIC_ROI

    assert load_config(Protocol, "configs/evaluate/synthetic-roi.yaml") == SYNTHETIC_ROI
