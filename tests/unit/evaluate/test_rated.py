"""Regions that people rated: the authentic protocol, from a file of ratings to figures."""

from __future__ import annotations

import json
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
from seagull_tune.errors import DataError
from seagull_tune.evaluate.protocols import evaluate_model

SETTINGS = EvaluationSettings(bootstrap_draws=20, texts_per_image=0)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> RoiDataset:
    """Four pictures of three bands each; five raters, who like contrast and differ by a fixed amount."""
    folder = tmp_path_factory.mktemp("rated")
    for name in ("photos", "regions"):
        (folder / name).mkdir()
    lines = ["image,region,rater,score"]
    for number in range(4):
        tile = cv2.resize(skimage.data.coffee()[number * 80 : number * 80 + 120, 100:400], (90, 40))
        Image.fromarray(tile).save(folder / "photos" / f"{number}.png")
        bands = (np.arange(90) // 30).astype(np.uint8) + 1
        cv2.imwrite(str(folder / "regions" / f"{number}.png"), np.tile(bands, (40, 1)))
        for band in range(3):
            mean = 1.5 + 3 * min(1.0, 2 * float((tile[:, band * 30 : band * 30 + 30] / 255.0).mean(axis=2).std()))
            lines += [f"{number}.png,{band},r{p},{mean + (p - 2) / 10:.4f}" for p in range(5)]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")
    config = {
        "format": "ratings", "source": folder / "ratings.csv", "images": folder / "photos",
        "regions": folder / "regions", "split": {"all_into": "test"},
        "ratings": {"scale": {"low": 1, "high": 5, "higher_is_better": True}},
    }  # fmt: skip
    import_dataset(ImportConfig.model_validate(config), folder / "set", show_progress=False)
    return RoiDataset(folder / "set", "test")


def test_rated_regions_are_measured(assessor: Any, rated: RoiDataset, out: Path) -> None:
    protocol = load_config(Protocol, "configs/evaluate/authentic-roi.yaml")
    found = evaluate_model(assessor, rated, SETTINGS, out, show_progress=False, protocol=protocol).metrics
    assert json.loads(out.read_text(), parse_constant=lambda text: pytest.fail(text)) == found
    assert found["quality"]["srcc"] == pytest.approx(1.0, abs=1e-3) and found["quality"]["n_rated"] == 12
    # Deviation of -0.2 .. 0.2 around a mean, on a scale four wide.
    assert found["quality"]["rater_deviation"] == pytest.approx(0.025**0.5 / 4, abs=1e-6)
    assert 0.0 <= found["quality"]["within_rater_deviation"] <= 1.0
    assert found["importance"]["srcc"] is None and found["types"]["macro_f1"] is None
    assert found["types"]["sample_f1"] is None and found["severity"]["sample_recall"] is None
    assert any(line.startswith("types, severity: not defined") for line in found["notes"])
    assert list(found["breakdown"]) == ["size"]
    assert found["protocol"]["name"] == "authentic-roi"


def test_only_the_wanted_figures(assessor: Any, rated: RoiDataset, out: Path) -> None:
    protocol = load_config(Protocol, "configs/evaluate/authentic-roi.yaml", ["figures=[quality]"])
    found = evaluate_model(assessor, rated, SETTINGS, out, show_progress=False, protocol=protocol).metrics
    assert not {"importance", "types", "severity"} & set(found) and "quality" in found["direct"]


def test_rated_regions_are_no_synthetic_ones(assessor: Any, rated: RoiDataset, out: Path) -> None:
    with pytest.raises(DataError, match=r"'synthetic-roi', whose truth is 'measured': .*raters"):
        evaluate_model(assessor, rated, SETTINGS, out, show_progress=False)


def test_leaks_are_refused(assessor: Any, rated: RoiDataset, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rated.leaks() == []
    monkeypatch.setattr(RoiDataset, "leaks", lambda self: [f"The scene {n} is in two splits." for n in range(12)])
    with pytest.raises(DataError, match=r"leaks between its splits:\n  The scene 0 .*\n(.*\n)+  \.\.\. and 2 more"):
        evaluate_model(assessor, rated, SETTINGS, out, show_progress=False)
