"""Opinion scores: range and direction are declared, and every wrong row is named."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_builders.exporters import export_dataset
from data_builders.importers import ImportSummary
from data_builders.validate import validate_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.exchange import ExportConfig, ImportConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, DataError

Bring = Callable[..., ImportSummary]
SCALE = {"low": 1.0, "high": 5.0, "higher_is_better": True}


def _csv(folder: Path, rows: list[dict[str, Any]]) -> Path:
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "scores.csv"


def test_mos_of_whole_pictures(bring: Bring, photographs: Path, tmp_path: Path) -> None:
    rows = [
        {"image": "astronaut.png", "mos": "4.0", "who": "a"},
        {"image": "chelsea.png", "mos": "1", "who": "a"},
        {"image": "coffee.png", "mos": "2.5", "who": "b"},
    ]
    file = _csv(tmp_path, rows)
    summary = bring(
        tmp_path / "out", format="mos", source=file, images=photographs, split={"test": 0.5},
        mos={"scale": {**SCALE, "higher_is_better": False}, "scene": "who"},
    )  # fmt: skip
    assert (summary.n_images, summary.n_samples, summary.n_regions) == (3, 3, 0)
    found = {item.image_id: item for item in RoiDataset(tmp_path / "out")}
    assert found["astronaut.png"].image_quality == pytest.approx(0.25, abs=1e-6)
    opinion = found["coffee.png"].sample.opinion
    assert opinion is not None and (opinion.value, opinion.low, opinion.high) == (2.5, 1.0, 5.0)
    assert (found["coffee.png"].image == np.asarray(Image.open(photographs / "coffee.png"))).all()
    assert {found[name].scene_id for name in ("astronaut.png", "chelsea.png")} == {"a"}
    assert len(RoiDataset(tmp_path / "out", "test")) in (1, 2)
    assert validate_dataset(tmp_path / "out", show_progress=False).ok
    export_dataset(tmp_path / "out", tmp_path / "coco", ExportConfig(format="coco", pictures=False), False)
    exported = {
        image["sample_id"]: image for image in json.loads((tmp_path / "coco/instances.json").read_text())["images"]
    }
    assert exported["coffee.png#mos"]["mos"] == {"value": 2.5, "low": 1.0, "high": 5.0, "higher_is_better": False}
    assert exported["coffee.png#mos"]["quality"] == pytest.approx(0.625)


def test_a_mos_without_a_range_is_refused() -> None:
    for mos in ([], ["mos.score=x"], ["mos.scale={low: 1, high: 5}"]):
        with pytest.raises(ConfigError, match=r"range and direction|scale|higher_is_better"):
            load_config(ImportConfig, None, ["format=mos", "source=x.csv", *mos])
    with pytest.raises(ConfigError, match="low must be below high"):
        load_config(
            ImportConfig, None,
            ["format=mos", "source=x.csv", "mos.scale={low: 5, high: 1, higher_is_better: true}"],
        )  # fmt: skip


def test_all_wrong_rows_of_a_mos_file_are_named(bring: Bring, photographs: Path, tmp_path: Path) -> None:
    names = ("a", "b", "c", "d", "", "a")
    scores = ("nan", "", "7", "good", "2", "3")
    file = _csv(tmp_path, [{"image": name, "mos": score} for name, score in zip(names, scores, strict=True)])
    with pytest.raises(DataError) as caught:
        bring(tmp_path / "out", format="mos", source=file, mos={"scale": SCALE})
    said = str(caught.value)
    assert "6 of 6 rows are wrong" in said
    for line in (
        "line 2: a: the score is 'nan'", "line 3: b: the score is missing", "line 4: c: A MOS is 7.0",
        "line 5: d: the score is 'good'", "line 6: the name", "line 7: a occurs twice",
    ):  # fmt: skip
        assert line in said
    with pytest.raises(DataError, match=r"no column 'moss'\. Did you mean 'mos'"):
        bring(tmp_path / "out", format="mos", source=file, mos={"scale": SCALE, "score": "moss"})
    with pytest.raises(DataError, match="cannot be read"):
        bring(tmp_path / "out", format="mos", source=tmp_path / "none.csv", mos={"scale": SCALE})


def test_unreadable_pictures_of_a_mos_file_are_left_out(bring: Bring, photographs: Path, tmp_path: Path) -> None:
    file = _csv(tmp_path, [{"image": name, "mos": "3"} for name in ("coffee.png", "gone.png")])
    summary = bring(tmp_path / "out", format="mos", source=file, images=photographs, mos={"scale": SCALE})
    assert summary.n_samples == 1 and summary.failed[0].image_id == "gone.png"
    file = _csv(tmp_path, [{"image": "gone.png", "mos": "3"}])
    with pytest.raises(DataError, match=r"(?s)Nothing of .*could be used.*gone\.png"):
        bring(tmp_path / "two", format="mos", source=file, images=photographs, mos={"scale": SCALE})


def test_real_opinion_scores(bring: Bring, test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "agiqa3k"
    with (folder / "mos.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (folder / "images" / row["name"]).is_file()][:40]
    scale = {"low": 0.0, "high": 5.0, "higher_is_better": True}
    summary = bring(
        tmp_path / "out", format="mos", source=_csv(tmp_path, rows), images=folder / "images",
        mos={"scale": scale, "image": "name", "score": "mos_quality", "scene": "prompt"},
    )  # fmt: skip
    assert summary.n_samples == 40
    first = RoiDataset(tmp_path / "out")[0]
    assert first.image_quality == pytest.approx(float(rows[0]["mos_quality"]) / 5, abs=1e-6)
