"""All labelers keep one contract: one pass equals brute force on the map, pristine is 1, damage is where it is."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from data_builders.labelers import make_labeler
from data_builders.labelers.base import calibrated
from data_builders.labelers.crops import CropLabeler, pyiqa_judge, pyiqa_metric
from data_builders.labelers.maps import METRICS
from data_builders.labelers.pooled import MapLabeler
from data_builders.pipeline import build_dataset
from data_builders.validate import validate_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.labels import Calibration, LabelSource
from seagull_tune.errors import ConfigError, DataError, MissingDependencyError, RegionError
from seagull_tune.fullref.measure import label_regions

METHODS = ("seagull", *METRICS)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return skimage.data.chelsea()  # (300, 451, 3)


@pytest.fixture(scope="module")
def masks(photograph: np.ndarray) -> np.ndarray:
    """Four bands that cover the picture, and a disc."""
    height, width = photograph.shape[:2]
    made = np.zeros((5, height, width), dtype=bool)
    for index in range(4):
        made[index, :, index * width // 4 : (index + 1) * width // 4] = True
    rows, columns = np.ogrid[:height, :width]
    made[4] = (rows - 150) ** 2 + (columns - 60) ** 2 < 40**2
    return made


@pytest.fixture(scope="module")
def damaged(photograph: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The photograph with noise in the first band."""
    noise = np.random.default_rng(1).normal(0.0, 25.0, photograph.shape)
    noisy = np.clip(np.round(photograph + noise), 0, 255).astype(np.uint8)
    return np.where(masks[0][:, :, None], noisy, photograph)


@pytest.mark.parametrize("method", METHODS)
def test_damage_is_found_where_it_is(
    method: str, photograph: np.ndarray, masks: np.ndarray, damaged: np.ndarray
) -> None:
    judge = make_labeler(LabelSource.model_validate({"method": method})).open(photograph, masks)
    found = judge.measure(damaged)
    assert found.quality[0] < 0.7 and found.quality[4] < 0.7 and found.quality[3] > 0.95
    assert found.importance[0] > 0.9 and found.importance[3] < 0.05
    assert found.importance[:4].sum() == pytest.approx(1.0, abs=1e-6)  # the bands are a partition
    pristine = judge.measure(photograph.copy())
    assert (pristine.quality == 1.0).all() and np.isnan(pristine.importance).all() and pristine.image_quality == 1.0


@pytest.mark.parametrize("name", METRICS)
def test_one_pass_equals_brute_force(name: str, photograph: np.ndarray, masks: np.ndarray, damaged: np.ndarray) -> None:
    soft = cv2.GaussianBlur(damaged, (0, 0), 1.0)
    metric = METRICS[name]
    found = MapLabeler(metric, None).open(photograph, masks).measure(soft)
    maps = metric.maps(photograph, soft)
    weights, similarity = maps.weights.astype(np.float64), maps.similarity.astype(np.float64)
    whole = np.average(similarity, weights=weights)
    for index, mask in enumerate(masks):
        means = [np.average(plane.astype(np.float64)[mask], weights=weights[mask]) for plane in maps.planes]
        assert found.quality[index] == pytest.approx(float(metric.score(np.array([means]))[0]), abs=1e-6)
        restored = np.average(np.where(mask, 1.0, similarity), weights=weights)
        assert found.importance[index] == pytest.approx((restored - whole) / (1.0 - whole), abs=1e-6)


def test_the_default_is_our_measure(photograph: np.ndarray, masks: np.ndarray, damaged: np.ndarray) -> None:
    one = make_labeler(LabelSource()).open(photograph, masks).measure(damaged)
    two = label_regions(photograph, damaged, masks)
    assert (one.quality == two.quality).all() and (one.importance == two.importance).all()


@pytest.mark.parametrize("method", METHODS)
def test_what_cannot_be_measured_is_refused(method: str, photograph: np.ndarray, masks: np.ndarray) -> None:
    labeler = make_labeler(LabelSource.model_validate({"method": method}))
    with pytest.raises(DataError, match=r"size|distorted"):
        labeler.open(photograph, masks).measure(photograph[:-1])
    with pytest.raises(RegionError, match="empty"):
        labeler.open(photograph, np.zeros_like(masks))
    with pytest.raises(RegionError, match="size of the image"):
        labeler.open(photograph, masks[:, 1:])


def test_crops_restore_regions_literally(photograph: np.ndarray, masks: np.ndarray, damaged: np.ndarray) -> None:
    def closeness(reference: np.ndarray, distorted: np.ndarray) -> float:
        return 1.0 - float(np.abs(reference.astype(np.float64) - distorted).mean()) / 255.0

    judge = CropLabeler(closeness, "closeness").open(photograph, masks)
    found = judge.measure(damaged)
    assert found.quality[3] == 1.0 and found.quality[0] < 0.95
    assert np.isnan(judge.measure(photograph).importance).all()
    half = np.where(masks[4][:, :, None], photograph, damaged)
    whole, restored = closeness(photograph, damaged), closeness(photograph, half)
    assert found.image_quality == pytest.approx(whole, abs=1e-12)
    assert found.importance[4] == pytest.approx((restored - whole) / (1.0 - whole), abs=1e-9)


def test_pyiqa_is_refused_without_a_word_about_its_licence() -> None:
    with pytest.raises(ConfigError, match=r"(?s)PolyForm Noncommercial.*accept_noncommercial: true"):
        load_config(BuildConfig, None, ["labels.method=pyiqa"])
    config = load_config(BuildConfig, None, ["labels={method: pyiqa, accept_noncommercial: true}"])
    assert config.labels.metric == "topiq_fr"
    if importlib.util.find_spec("pyiqa") is None:
        with pytest.raises(MissingDependencyError, match=r"seagull-tune\[topiq\]"):
            pyiqa_metric("topiq_fr", "cpu")
        with pytest.raises(MissingDependencyError, match=r"seagull-tune\[topiq\].*Noncommercial"):
            pyiqa_judge("brisque", "cpu")


def test_calibrations_rise_from_zero_to_one() -> None:
    for name in METRICS:
        calibration = make_labeler(LabelSource.model_validate({"method": name})).calibration
        assert calibration is not None and calibration.version.startswith(f"{name}-")
        grid = calibrated(np.linspace(calibration.raw[0], 1.0, 500), calibration)
        assert grid[0] == 0.0 and grid[-1] == 1.0 and (np.diff(grid) > 0.0).all()
    for raw, quality in (((0.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (0.0, 0.9)), ((0.0, 0.5, 1.0), (0.0, 1.0))):
        with pytest.raises(ValueError, match=r"must rise|one length"):
            Calibration(version="x", raw=raw, quality=quality, measured_on="nothing")


def test_a_build_records_what_labelled_it(photographs: Path, tmp_path: Path) -> None:
    line = {"source": str(photographs), "samples_per_image": 2, "seed": 5}
    for method in ("gmsd", "seagull"):
        config = BuildConfig.model_validate({**line, "labels": {"method": method}})
        build_dataset(config, tmp_path / method, show_progress=False)
        assert validate_dataset(tmp_path / method, show_progress=False).ok
    one, two = (json.loads((tmp_path / m / "dataset.json").read_text()) for m in ("gmsd", "seagull"))
    assert one["labels"]["method"] == "gmsd" and one["labels"]["version"].startswith("gmsd-")
    assert len(one["labels"]["calibration"]["raw"]) == 6 and two["labels"]["calibration"] is None
    assert one["recipe_hash"] == two["recipe_hash"] and one["config_hash"] != two["config_hash"]
    other = BuildConfig.model_validate({**line, "labels": {"method": "vsi"}})
    with pytest.raises(DataError, match="labels"):
        build_dataset(other, tmp_path / "gmsd", show_progress=False)
