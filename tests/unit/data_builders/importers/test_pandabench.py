"""PandaBench, after its authors' loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_builders.importers import ImportSummary
from data_builders.validate import validate_dataset
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.regions.masks import encode

Bring = Callable[..., ImportSummary]


def _panda(folder: Path, photographs: Path) -> None:
    image = np.asarray(Image.open(photographs / "coffee.png"))
    masks = [np.zeros(image.shape[:2], bool) for _ in range(2)]
    masks[0][:50], masks[1][50:] = True, True
    rles = [{"size": list(mask.shape), "counts": encode(mask).counts} for mask in masks]
    for split in ("train", "test"):
        for degradation in ("gt", "blur", "mixed", "rain"):
            (folder / degradation / split).mkdir(parents=True)
            view = image if split == "test" else image[:, ::-1]  # two photographs, not one in two splits
            pixels = np.ascontiguousarray(view if degradation == "gt" else view // 2)
            Image.fromarray(pixels).save(folder / degradation / split / "7.png")
    (folder / "stats").mkdir()
    for split in ("train", "test"):
        for degradation, kinds in (("blur", "blur blur"), ("mixed", "clean pixelate"), ("rain", "rain rain")):
            regions: list[dict[str, Any]] = [
                {"name": f"r{i}", "bbox": [0, 0, 1, 1], "segmentation_mask": rles[i], "severity": 2 * (kind != "clean"),
                 "degradation": kind, "score_fr": 0.5 if kind != "clean" else 0.98}
                for i, kind in enumerate(kinds.split())
            ]  # fmt: skip
            regions.insert(1, {**regions[0], "segmentation_mask": None})
            stats = {"7.png": {"score_fr": 0.6, "relations": [], "regions": regions}}
            (folder / "stats" / f"{split}_stats_{degradation}.json").write_text(json.dumps(stats))


def test_pandabench(bring: Bring, photographs: Path, tmp_path: Path) -> None:
    _panda(tmp_path / "panda", photographs)
    summary = bring(tmp_path / "out", format="pandabench", source=tmp_path / "panda")
    assert (summary.n_images, summary.n_samples, summary.n_regions) == (2, 4, 4)
    assert [f.image_id for f in summary.failed] == ["train_stats_rain.json", "test_stats_rain.json"]
    rows = RoiDataset(tmp_path / "out", "test")
    items = {item.sample.sample_id: item for item in rows}
    assert sorted(items) == ["test/7#blur", "test/7#mixed"]
    mixed = items["test/7#mixed"]
    assert [region.name for region in mixed.regions] == ["r0", "r1"]
    assert [label.quality for label in mixed.labels] == pytest.approx([0.98, 0.5], abs=1e-6)
    assert [label.severities for label in mixed.labels] == [(0,) * 8, (0, 0, 0, 0, 0, 0, 0, 3)]
    assert mixed.image_quality == pytest.approx(0.6, abs=1e-6) and (mixed.image == mixed.reference // 2).all()
    assert validate_dataset(tmp_path / "out", show_progress=False).ok
    with pytest.raises(DataError, match="not laid out like PandaBench"):
        bring(tmp_path / "no", format="pandabench", source=photographs)


def test_wrong_scores_are_named_and_their_picture_is_left_out(bring: Bring, photographs: Path, tmp_path: Path) -> None:
    _panda(tmp_path / "panda", photographs)
    wrong = {("train", "blur"): float("nan"), ("test", "blur"): 1.5, ("train", "mixed"): None}
    for (split, degradation), value in wrong.items():
        file = tmp_path / "panda" / "stats" / f"{split}_stats_{degradation}.json"
        stats = json.loads(file.read_text())
        stats["7.png"]["regions"][-1]["score_fr"] = value
        file.write_text(json.dumps(stats))
    summary = bring(tmp_path / "out", format="pandabench", source=tmp_path / "panda")
    assert summary.n_samples == 1
    file.write_text("[]")
    (tmp_path / "panda" / "stats" / "test_stats_mixed.json").write_text("[7]")
    with pytest.raises(DataError, match=r"test_stats_mixed\.json must be an object .*found number"):
        bring(tmp_path / "no", format="pandabench", source=tmp_path / "panda")
    reasons = " | ".join(failure.reason for failure in summary.failed)
    for said in ("score_fr is nan; a finite", "1.5; the declared range is 0..1", "score_fr is None; a number"):
        assert said in reasons
