"""The benchmarks of a finished scorer, with a tiny one: what is distorted, what counts as named, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from benchmarks import local_sensitivity, score_speed
from benchmarks.local_sensitivity import Trial, is_named, report, run, salient_region
from seagull_tune.errors import DataError
from seagull_tune.regions.boxes import box_region
from seagull_tune.rsa.scorer import Explanation, ImageScore, RsaScorer
from tests.rsa_parts import make_image
from tests.tiny_scorer import SPEC, make_tiny_scorer


@pytest.fixture(scope="module")
def scorer() -> RsaScorer:
    # Constants have a spread only where there are two.
    return make_tiny_scorer(SPEC, [make_image(), np.ascontiguousarray(skimage.data.coffee()[100:200, 100:220])])


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs, and one without any structure: it has one region, none of a fit size."""
    folder = tmp_path_factory.mktemp("photographs")
    sources = {"cat": skimage.data.chelsea(), "coffee": skimage.data.coffee(), "rocket": skimage.data.rocket()}
    for name, picture in sources.items():
        Image.fromarray(picture[60:220, 80:260]).save(folder / f"{name}.png")
    Image.fromarray(np.full((90, 80, 3), 120, np.uint8)).save(folder / "flat.png")
    return folder


def test_the_salient_region_is_of_a_fit_size() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    image[20:50, 20:50] = np.random.default_rng(0).integers(0, 255, (30, 30, 3))
    boxes = [(0, 50, 100, 100), (20, 20, 50, 50), (60, 0, 90, 30), (0, 0, 5, 5)]
    regions = [box_region(box, 100, 100) for box in boxes]
    assert salient_region(image, regions) == 1, "of two equally large ones that with structure; half a picture is out"
    assert salient_region(image, [regions[0], regions[3]]) is None


def test_named_is_the_worst_region_that_lies_in_it() -> None:
    regions = tuple(box_region(box, 10, 10) for box in ((0, 0, 10, 5), (0, 5, 10, 10)))
    explanation = Explanation(
        ImageScore(3.0, 0.5), 3.0, (0.0, 0.0), (0.5, 0.5), (0.2, 0.8), np.ones((1, 1), np.float32), regions, ("", "")
    )
    mask = np.zeros((10, 10), bool)
    mask[:4] = True
    assert is_named(explanation, mask), "40 of the 50 pixels of the worst one"
    assert not is_named(explanation, ~mask)


def test_trials_are_kept_and_told(scorer: RsaScorer, photographs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    out, paths = tmp_path / "out" / "trials.json", sorted(photographs.iterdir())
    first = run(scorer, paths, 1, 4, out, "mark")
    trials = run(scorer, paths, 4, 4, out, "mark")
    assert len(first) == 1 and trials[0] == first[0] and 1 <= len(trials) <= 3, "the flat one is left out"
    assert all(0.04 <= t.area <= 0.4 and t.before != t.after for t in trials)
    assert len(json.loads(out.read_text())["trials"]) == 4
    monkeypatch.setattr(local_sensitivity, "try_photograph", lambda *_: pytest.fail("done already"))
    assert run(scorer, paths, 4, 4, out, "mark") == trials
    out.write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        run(scorer, paths, 4, 4, out, "mark")


def test_the_report_by_hand() -> None:
    def trial(variant: str, after: float, named: bool) -> Trial:
        return Trial("x", variant, 0.2, 0.5, after, named, False)

    trials = [trial("blur/gaussian", 0.4, True), trial("blur/gaussian", 0.6, False), trial("noise/gaussian", 0.3, True)]
    text = report(trials, 4)
    assert "| blur/gaussian | 2 | 50% | 50% | 0% | +0.000 |" in text and "| all | 3 | 67% | 67% | 0% | -0.100 |" in text
    assert "missed" in text and "3 of 4 photographs" in text
    assert "held" in report([trial("noise/gaussian", 0.3, True)], 1)
    with pytest.raises(DataError, match="nothing can be said"):
        report([], 4)


def test_dry_runs_and_refusals(scorer: RsaScorer, photographs: Path, tmp_path: Path, capsys: Any) -> None:
    scorer.save_pretrained(tmp_path / "model")
    given = ["--images", str(photographs), "--model", str(tmp_path / "model")]
    local_sensitivity.main([*given, "--out", str(tmp_path / "x.json"), "--dry-run"])
    assert "4 of 4 photographs" in capsys.readouterr().out and not (tmp_path / "x.json").exists()
    score_speed.main([*given, "--dry-run"])
    assert "3 pictures of 512x512" in capsys.readouterr().out
    for command in (local_sensitivity.main, score_speed.main):
        with pytest.raises(SystemExit) as caught:
            command(["--images", str(photographs), "--model", str(tmp_path / "nothing")])
        assert caught.value.code == 2 and "is not a scorer" in capsys.readouterr().err


def test_pictures_are_squares_and_times_are_told(scorer: RsaScorer, photographs: Path, tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, 10:50] = 200
    assert score_speed.square(image, 80).shape == (80, 80, 3) and score_speed.square(image, 20).min() == 200
    scorer.save_pretrained(tmp_path / "model")
    images = [score_speed.square(image, 96), make_image()]
    times = score_speed.measure(tmp_path / "model", None, images)
    assert {name: len(values) for name, values in times.items()} == {"loading": 1, "cold": 1, "warm": 1}
    text = score_speed.report({"loading": [2.0], "cold": [0.8, 0.9, 1.2], "warm": [0.2]})
    assert "| cold | 0.900 | 1.200 | 1: held |" in text and "| warm | 0.200 | 0.200 | 0.15: missed |" in text
    with pytest.raises(DataError, match="at least 2"):
        score_speed.photographs(_one(tmp_path))


def _one(tmp_path: Path) -> Path:
    folder = tmp_path / "one"
    folder.mkdir()
    Image.fromarray(make_image()).save(folder / "a.png")
    return folder
