"""A comparison: the right differences, both pages, and refusals of what does not compare."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seagull_tune.config.evaluate import CompareConfig, EvaluationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.compare import Comparison, compare_runs
from seagull_tune.evaluate.compare_figures import confusion_of
from seagull_tune.evaluate.compare_page import markdown_of, write_comparison
from seagull_tune.evaluate.judged import Judged, judged_path
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.evaluate.protocols import evaluate_model
from seagull_tune.levels import soft_levels

SETTINGS = CompareConfig(draws=60)
N_PHOTOGRAPHS, PER_PHOTOGRAPH = 12, 8
RUNS = (("coarse", 0.4, 1), ("fine", 0.1, 1), ("other", 0.4, 2))


def write_run(folder: Path, noise: float, seed: int = 1, **changes: Any) -> Path:
    """A run folder with a reader that is as wrong as ``noise``; its truth is always the same."""
    rng, wrong = np.random.default_rng(0), np.random.default_rng(seed)
    count = N_PHOTOGRAPHS * PER_PHOTOGRAPH
    severities = rng.integers(1, 6, (count, 8)) * (rng.random((count, 8)) < 0.25)
    quality, importance = rng.random(count), rng.random(count)
    importance[::6] = np.nan
    names = np.repeat([f"photo{i}" for i in range(N_PHOTOGRAPHS)], PER_PHOTOGRAPH)
    truth = Truth(names, quality, importance, severities, rng.uniform(0.02, 0.5, count))
    said = np.where(wrong.random((count, 8)) < noise, wrong.integers(0, 6, (count, 8)), severities)
    predicted = np.clip(quality + wrong.normal(0.0, noise, count), 0, 1)
    reading = Reading(
        predicted, np.clip(np.nan_to_num(importance) + wrong.normal(0.0, noise, count), 0, 1), (said > 0) * 1.0, said,
        np.array([soft_levels(float(value)) for value in predicted]),
    )  # fmt: skip
    metrics: dict[str, Any] = {
        "model_id": f"{folder.name}@1", "precision": "fp32", "recipe_hash": "r" * 40, "data_config_hash": "d" * 40,
        "split": "test", "protocol": {"name": "synthetic-roi", "judged": "regions"}, "n_regions": count, "notes": [],
        "unparsable": 0.1, "quality": {"srcc": 0.5, "ci95": [0.4, 0.6], "plcc": 0.5, "rmse": noise},
        "importance": {"srcc": 0.5}, "types": {"macro_f1": 0.4, "sample_f1": 0.4},
        "severity": {"f1": 0.3, "sample_f1": 0.2},
        "breakdown": {"size": {"small": {"n_regions": 3, "quality": {"srcc": None}},
                               "medium": {"n_regions": 93, "quality": {"srcc": 0.5}}}},
    }  # fmt: skip
    folder.mkdir(parents=True)
    file = folder / "metrics.json"
    Judged(truth, {"model": reading}, np.array([f"{name}#0" for name in names])).save(file)
    file.write_text(json.dumps(metrics | changes))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [
        write_run(folder / "coarse", 0.4),
        write_run(folder / "fine", 0.1),
        write_run(folder / "other", 0.4, seed=2),
    ]


@pytest.fixture(scope="module")
def comparison(runs: list[Path]) -> Comparison:
    return compare_runs(runs, SETTINGS)


def test_what_is_better_is_told_from_what_is_not(comparison: Comparison) -> None:
    assert [run.name for run in comparison.runs] == ["coarse", "fine", "other"]
    fine, other = comparison.differences["quality.srcc"]
    assert fine is not None and other is not None
    assert fine.interval.low > 0.0 and fine.p_value == pytest.approx(2 / 61)
    assert other.interval.low < 0.0 < other.interval.high and other.p_value > 0.1
    error = comparison.differences["quality.rmse"][0]
    assert error is not None and error.interval.high < 0.0, "a smaller error is better"
    assert all(found is not None for pair in comparison.differences.values() for found in pair)
    assert len(comparison.differences) == 9 and comparison.notes == ()


class Page(HTMLParser):
    """Counts pictures and refuses scripts, outside addresses and open tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures = 0
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "iframe")
        for name, value in attrs:
            assert name not in ("src", "href") or (value or "").startswith("data:image/png;base64,")
        self.pictures += tag == "img"
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_both_pages_and_a_second_run_over_the_first(comparison: Comparison, tmp_path: Path) -> None:
    out = tmp_path / "new" / "pages"
    text = write_comparison(comparison, out)
    assert text == (out / "compare.md").read_text(encoding="utf-8") == markdown_of(comparison)
    page = Page((out / "compare.html").read_text(encoding="utf-8"))
    # Quality, importance, severities: one per run; differences: per run after the first; calibration: one.
    assert page.pictures == 3 * 3 + 2 + 1
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert "| Quality SRCC | 0.500 [0.400 – 0.600] |" in text and "≤ 0.033" in text
    assert "medium, 5 to 20 % of the picture (93)" in text and "small" not in text
    before = {path: path.read_bytes() for path in out.iterdir()}
    write_comparison(comparison, out)
    assert {path: path.read_bytes() for path in out.iterdir()} == before, "and nothing else is left there"


def test_names_cannot_break_a_page(tmp_path: Path) -> None:
    odd = write_run(tmp_path / "a|b <script>", 0.2, model_id="<img src=x>|y")
    out = tmp_path / "out"
    text = write_comparison(compare_runs([odd, odd], SETTINGS), out)
    Page((out / "compare.html").read_text(encoding="utf-8"))
    assert r"a\|b <script> (1)" in text and r"\|y" in text


def test_equal_names_get_more_of_their_paths(tmp_path: Path) -> None:
    paths = [write_run(tmp_path / part / "run", 0.3) for part in ("x", "y")]
    found = compare_runs([paths[0], paths[1] / "metrics.json"], SETTINGS)
    assert [run.name for run in found.runs] == ["x/run", "y/run"]
    same = compare_runs([paths[0], paths[0]], SETTINGS)
    assert [run.name for run in same.runs] == ["run (1)", "run (2)"]
    difference = same.differences["quality.srcc"][0]
    assert difference is not None and (difference.value, difference.p_value) == (0.0, 1.0)


def test_other_data_are_refused_and_what_differs_is_named(runs: list[Path], tmp_path: Path) -> None:
    other = write_run(tmp_path / "elsewhere", 0.2, recipe_hash="x" * 40, split="validation")
    with pytest.raises(DataError) as caught:
        compare_runs([runs[0], other], SETTINGS)
    said = str(caught.value)
    assert "recipe_hash: coarse has 'rrrrrrrrrrrrrrrrrrrrr...', elsewhere has 'xxx" in said
    assert "split: coarse has 'test', elsewhere has 'validation'" in said
    moved = write_run(tmp_path / "moved", 0.2)
    judged = Judged.load(moved / "metrics.json")
    shifted = Truth(**{**judged.truth.__dict__, "quality": judged.truth.quality[::-1].copy()})
    Judged(shifted, judged.readings, judged.samples).save(moved / "metrics.json")
    with pytest.raises(DataError, match="samples or labels of coarse and moved differ"):
        compare_runs([runs[0], moved], SETTINGS)
    shorter = Judged(
        judged.truth.rows(np.arange(5)), {"model": judged.readings["model"].rows(np.arange(5))}, judged.samples[:5]
    )
    shorter.save(moved / "metrics.json")
    with pytest.raises(DataError, match="differ"):
        compare_runs([runs[0], moved], SETTINGS)


def test_files_that_are_none_are_all_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "odd.json").write_text('{"a": 1}')
    (tmp_path / "cut.json").write_text('{"model_id": "x"')
    bare = write_run(tmp_path / "bare", 0.2)
    judged_path(bare / "metrics.json").unlink()
    names = [tmp_path / "list.json", tmp_path / "odd.json", tmp_path / "cut.json", tmp_path / "gone", bare]
    with pytest.raises(DataError) as caught:
        compare_runs([*runs, *names], SETTINGS)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(names)
    for line, word in zip(
        lines, ("keys are others", "keys are others", "cannot be read", "no ", "judged"), strict=True
    ):
        assert word in line
    with pytest.raises(DataError, match="two or more"):
        compare_runs(runs[:1], SETTINGS)


def test_real_measurements_of_constant_readers(make_assessor: type, roi: RoiDataset, tmp_path: Path) -> None:
    """From the assessor to the pages; what one of them has no figure of is said."""

    class Same(make_assessor):  # type: ignore[misc]
        """Says the same of everything."""

        def _assess(self, image: np.ndarray, region: Any, text: bool) -> Any:
            return super()._assess(np.full_like(image, 128), region, text)

    settings = EvaluationSettings(bootstrap_draws=20, texts_per_image=0)
    for name, kind in (("a", make_assessor), ("b", Same)):
        evaluate_model(kind(f"{name}@0"), roi, settings, tmp_path / name / "metrics.json", show_progress=False)
    found = compare_runs([tmp_path / "a", tmp_path / "b"], CompareConfig(draws=20))
    assert found.differences["quality.srcc"] == (None,)
    assert "quality.srcc: no difference of b to a, one of them is not defined." in found.notes
    assert found.differences["quality.rmse"][0] is not None
    text = write_comparison(found, tmp_path / "out")
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    Page((tmp_path / "out" / "compare.html").read_text(encoding="utf-8"))


def test_confusion_leaves_out_what_is_none_on_both_sides() -> None:
    counts = confusion_of(np.array([[0, 3], [2, 0]]), np.array([[0, 4], [2, 1]]))
    assert counts.sum() == 3 and counts[0, 0] == 0
    assert counts[4, 3] == counts[2, 2] == counts[1, 0] == 1
