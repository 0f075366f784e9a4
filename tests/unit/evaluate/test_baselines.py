"""Baselines: fitted, stored without pickles, read back to equal predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import CheckpointError
from seagull_tune.evaluate.baselines import (
    BASELINES_FILE,
    CLASSICAL,
    TRIVIAL,
    Baselines,
    area_loss,
    best_thresholds,
    choose_samples,
    fit_arrays,
    fit_baselines,
)
from seagull_tune.evaluate.outcomes import Truth
from seagull_tune.evaluate.scene_statistics import FEATURE_NAMES
from seagull_tune.records import RegionLabel


def test_predictions_have_their_ranges(roi: RoiDataset, baselines: Baselines) -> None:
    sample = roi[1]
    read = baselines.predict(sample.image, sample.masks)
    count = len(sample.regions)
    labels = [label for i in range(len(roi)) for label in roi.sample(i).labels]
    trivial, classical = read[TRIVIAL], read[CLASSICAL]
    assert trivial.quality == pytest.approx([np.mean([label.quality for label in labels])] * count, abs=1e-6)
    assert trivial.types is not None and set(np.unique(trivial.types)) <= {0.0, 1.0}
    assert trivial.severities is not None and trivial.severities.shape == (count, 8)
    for values, shape in (
        (classical.quality, (count,)),
        (classical.importance, (count,)),
        (classical.types, (count, 8)),
    ):
        assert values is not None and values.shape == shape
        assert values.min() >= 0.0 and values.max() <= 1.0
    assert classical.severities is None
    assert baselines.facts["n_regions"] == len(labels) and baselines.facts["n_photographs"] == 3


def test_the_classical_one_fits_its_training_regions(roi: RoiDataset, baselines: Baselines) -> None:
    predicted, true = [], []
    for sample in roi:
        quality = baselines.predict(sample.image, sample.masks)[CLASSICAL].quality
        assert quality is not None
        predicted += quality.tolist()
        true += [label.quality for label in sample.labels]
    assert np.corrcoef(predicted, true)[0, 1] > 0.6


def test_what_is_stored_predicts_the_same(roi: RoiDataset, baselines: Baselines, tmp_path: Path) -> None:
    assert baselines.save(tmp_path) == tmp_path / BASELINES_FILE
    back = Baselines.load(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [BASELINES_FILE]
    assert back.digest == baselines.digest and back.facts == baselines.facts
    sample = roi[0]
    before, after = (b.predict(sample.image, sample.masks) for b in (baselines, back))
    for name in (TRIVIAL, CLASSICAL):
        assert before[name].to_lists() == after[name].to_lists()
    np.testing.assert_array_equal(before[CLASSICAL].quality, after[CLASSICAL].quality)


def test_fitting_is_repeatable(roi: RoiDataset, baselines: Baselines) -> None:
    again = fit_baselines(roi, seed=1, max_regions=400, show_progress=False)
    other = fit_baselines(roi, seed=2, max_regions=30, show_progress=False)
    assert again.digest == baselines.digest != other.digest


def test_samples_are_taken_from_all_photographs_in_turn(roi: RoiDataset) -> None:
    n_regions = [len(roi.sample(i).labels) for i in range(len(roi))]
    chosen = choose_samples(roi, seed=0, max_regions=sum(n_regions) // 3)
    images = [roi.sample(i).image_id for i in chosen]
    assert set(images) == set(roi.image_ids)
    counts = [images.count(name) for name in roi.image_ids]
    assert max(counts) - min(counts) <= 1
    assert chosen == sorted(chosen) and sum(n_regions[i] for i in chosen) <= sum(n_regions) // 3
    assert choose_samples(roi, 0, 10**6) == list(range(len(roi)))
    assert len(choose_samples(roi, 0, 1)) == 1


def test_pristine_data_have_no_importance(tmp_path: Path) -> None:
    labels = [RegionLabel(1.0, None, (0,) * 8)] * 4
    features = np.random.default_rng(0).normal(size=(4, len(FEATURE_NAMES)))
    fitted = fit_arrays(features, Truth.of_labels(list("aabb"), labels, [0.5] * 4), 0, {})
    assert fitted.importance is None and set(fitted.heads) == {"quality", "types"}
    fitted.save(tmp_path)
    read = Baselines.load(tmp_path).predict(np.zeros((40, 40, 3), np.uint8), np.ones((1, 40, 40), bool))
    assert read[CLASSICAL].importance is None and read[TRIVIAL].importance is None
    assert read[CLASSICAL].quality == pytest.approx([1.0])


def test_thresholds_are_those_of_the_best_f1() -> None:
    predicted = np.tile(np.array([0.1, 0.2, 0.3, 0.35])[:, None], (1, 8))
    present = np.zeros((4, 8), bool)
    present[2:, 0] = True
    thresholds = best_thresholds(predicted, present)
    assert 0.2 < thresholds[0] <= 0.3
    assert thresholds[1:] == pytest.approx([0.5] * 7)
    assert best_thresholds(np.empty((0, 8)), np.empty((0, 8), bool)) == pytest.approx([0.5] * 8)


def test_area_times_loss() -> None:
    assert area_loss(np.array([0.5, 0.2]), np.array([1.0, 0.25])) == pytest.approx([0.0, 0.15])


def test_a_folder_without_baselines_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=BASELINES_FILE):
        Baselines.load(tmp_path)


def test_damaged_and_foreign_files_are_refused(baselines: Baselines, tmp_path: Path) -> None:
    path = baselines.save(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        Baselines.load(tmp_path)
    path.write_bytes(content)
    save_file(load_file(path), path)
    with pytest.raises(CheckpointError, match="version None"):
        Baselines.load(tmp_path)
    path.write_bytes(content.replace(b'\\"version\\": 1', b'\\"version\\": 9'))
    with pytest.raises(CheckpointError, match="version 9"):
        Baselines.load(tmp_path)
