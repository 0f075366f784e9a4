"""Explanations on disk: the numbers of the page and of the JSON file are the scorer's, and add up."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from seagull_tune.config.rsa import RsaSpec
from seagull_tune.rsa.explain import explanation_panels, explanation_to_dict, write_explanation
from seagull_tune.rsa.scorer import Explanation
from tests.tiny_scorer import make_tiny_scorer


@pytest.fixture(scope="module")
def explanation(spec: RsaSpec, image: np.ndarray, tuned: Path) -> Explanation:
    scorer = make_tiny_scorer(spec.model_copy(update={"semantics": "numbers"}), [image, image[:70]], tuned)
    return scorer.explain([image])[0]


def test_the_files_say_the_same(explanation: Explanation, image: np.ndarray, tmp_path: Path) -> None:
    page = write_explanation(tmp_path, "cat", image, explanation, "a <cat>.png", 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.html", "cat.json", "cat.png"]
    values = json.loads((tmp_path / "cat.json").read_text())
    assert values["image"] == "a <cat>.png" and values["score"] == explanation.image_score.score
    total = values["bias"] + sum(region["contribution"] for region in values["regions"])
    assert total == pytest.approx(values["score"], abs=1e-5)
    assert sum(region["area"] for region in values["regions"]) == image.shape[0] * image.shape[1]
    text = page.read_text()
    assert "a &lt;cat&gt;.png" in text and "<cat>" not in text and "http" not in text
    worst = explanation.worst(2)
    assert worst
    for index in worst:
        assert explanation.texts[index] in text and f"{explanation.contributions[index]:+.3g}" in text  # type: ignore[index]
    shown = cv2.imread(str(tmp_path / "cat.png"))
    assert shown is not None and shown.shape[1] > 2 * 600


def test_the_map_is_shown_where_it_is(explanation: Explanation, image: np.ndarray) -> None:
    from dataclasses import replace

    focus = np.zeros_like(explanation.map)
    focus[0, 0] = 1.0
    heat, regions = explanation_panels(image, replace(explanation, map=focus))
    side = heat.shape[0] // 6
    assert heat.shape == regions.shape
    assert heat[:side, :side].mean() > heat[-side:, -side:].mean() + 20, "bright where it looks"


def test_without_contributions_the_map_is_left(spec: RsaSpec, image: np.ndarray, tmp_path: Path) -> None:
    scorer = make_tiny_scorer(spec.model_copy(update={"head": "pooled"}), [image, image[:70]])
    (found,) = scorer.explain([image])
    values = explanation_to_dict(found, "x")
    assert values["worst"] == [] and values["regions"][0]["contribution"] is None
    assert "worst regions" not in write_explanation(tmp_path, "x", image, found, "x", 3).read_text()


def test_a_single_region(spec: RsaSpec, image: np.ndarray, tmp_path: Path) -> None:
    flat = np.full((64, 48, 3), 128, np.uint8)
    (found,) = make_tiny_scorer(spec, [flat, image]).explain([flat])
    assert "No region is worse than the rest" in write_explanation(tmp_path, "x", flat, found, "x", 3).read_text()
