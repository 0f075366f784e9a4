"""The report: one file, everything in it, nothing from outside."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.baselines import Baselines
from seagull_tune.evaluate.protocols import Evaluation, evaluate_model
from seagull_tune.evaluate.report import (
    ReportAnswer,
    ReportExample,
    TrainingCurve,
    choose_examples,
    describe_recipe,
    write_report,
)
from seagull_tune.evaluate.report_figures import training_curves
from seagull_tune.files import atomic_write_text
from seagull_tune.records import DistortionStep, Recipe
from seagull_tune.regions.boxes import box_region

LOG = tuple({"step": s, "loss": 3.0 / s, "loss_level": 2.0 / s, "loss_answer": 1.0 / s} for s in (10, 20, 30))
CURVES = (
    TrainingCurve("Pre-training", ({"step": 5, "loss": 1.0, "loss_direct_quality": 0.5},)),
    TrainingCurve("Fine-tuning", (*LOG, {"step": 30, "eval_loss": 0.2}, {"step": 30, "train_loss": 0.5})),
)


class Page(HTMLParser):
    """Collects the text, the images and every address of a page; refuses tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "img":
            self.images.append(values)
        elif tag not in ("meta", "br"):
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def evaluation(assessor: Any, roi: RoiDataset, baselines: Baselines, out: Path) -> Evaluation:
    return evaluate_model(assessor, roi, EvaluationSettings(bootstrap_draws=30), out, baselines, show_progress=False)


def test_the_report_is_one_file_with_everything(evaluation: Evaluation, roi: RoiDataset, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    answer = ReportAnswer("How is the quality of this region?", "Bad <b>& worse</b>.", 0)
    write_report(path, evaluation, choose_examples(evaluation, roi), CURVES, answer, {"Peak memory": "1.2 GB"})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.images) == 2 * 3 + 2 + 2
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert re.search(r"https?:|url\(|@import", text) is None
    for image in page.images:
        assert image["alt"]
        picture = Image.open(io.BytesIO(base64.b64decode((image["src"] or "").partition(",")[2])))
        assert picture.format == "PNG" and min(picture.size) > 200
    metrics = evaluation.metrics
    for word in (
        f"{metrics['quality']['srcc']:.3f}", f"{metrics['quality']['ci95'][0]:.3f}", "pixels@0", "1.2 GB",
        "Classical baseline", "How is the quality of this region?", "Bad <b>& worse</b>.", "excellent",
        "Classical, on the box", "by worst severity", "small, 0 to 5 % of the picture (",
        metrics["recipe_hash"], "baselines.trivial.quality: correlations are not defined",
    ):  # fmt: skip
        assert word in page.words, word
    assert "nan" not in page.words.lower().split()


def test_figures_that_are_missing_are_dashes(evaluation: Evaluation, tmp_path: Path) -> None:
    bare = {**evaluation.metrics, "baselines": {}, "unparsable": None, "quality": {"srcc": None, "ci95": None}}
    changed = Evaluation(bare, evaluation.truth, evaluation.readings, evaluation.samples)
    write_report(tmp_path / "r.html", changed, [])
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert len(page.images) == 2 and "–" in page.words and "None" not in page.words
    assert "Classical baseline" not in page.words and "Training" not in page.words


def test_examples_are_chosen_by_truth_alone(evaluation: Evaluation, roi: RoiDataset) -> None:
    examples = choose_examples(evaluation, roi, count=3)
    spreads = [np.std(example.true) for example in examples]
    assert spreads == sorted(spreads, reverse=True)
    every = [np.std([label.quality for label in roi.sample(i).labels]) for i in range(len(roi))]
    assert spreads[0] == pytest.approx(max(every))
    assert len({example.caption.split(":")[0] for example in examples}) == 3
    for example in examples:
        assert len(example.predicted) == len(example.true) == len(example.regions)
    assert len(choose_examples(evaluation, roi, count=1)) == 1


def test_recipes_in_words() -> None:
    assert describe_recipe(Recipe()) == "left as it is"
    assert describe_recipe(None) == "as it came"
    steps = (DistortionStep("noise", "salt_pepper", 5, regions=(0, 2)), DistortionStep("blur", "motion", 1))
    assert describe_recipe(Recipe(steps)) == (
        "catastrophic noise (salt pepper) in regions 1, 3; then slight blur (motion) everywhere"
    )


def test_large_photographs_are_shrunk_and_single_pixels_are_drawn(tmp_path: Path, evaluation: Evaluation) -> None:
    image = np.ascontiguousarray(np.tile(skimage.data.coffee(), (4, 2, 1)))
    regions = (box_region((0, 0, 1200, 1600), 1600, 1200), box_region((1199, 1599, 1200, 1600), 1600, 1200))
    example = ReportExample(image, regions, np.array([0.2, 0.9]), np.array([0.3, 1.0]))
    write_report(tmp_path / "large.html", evaluation, [example])
    assert len(Page((tmp_path / "large.html").read_text(encoding="utf-8")).images) == 5


@pytest.mark.parametrize(
    "log",
    [(), ({"step": 1},), ({"loss": 1.0},), ({"step": 1, "loss": float("nan")},), ({"step": 9, "train_loss": 1.0},)],
)
def test_a_log_without_losses_draws_nothing(log: tuple[dict[str, Any], ...]) -> None:
    assert training_curves("Stage", log) is None


def test_curves_are_read_from_a_run(tmp_path: Path) -> None:
    atomic_write_text(tmp_path / "run.json", '{"train": {"log": [{"step": 1, "loss": 2.0}]}}')
    curve = TrainingCurve.from_run("Pre-training", tmp_path)
    assert curve == TrainingCurve("Pre-training", ({"step": 1, "loss": 2.0},))
    assert training_curves(curve.stage, curve.log) is not None
    with pytest.raises(DataError, match=r"run\.json"):
        TrainingCurve.from_run("x", tmp_path / "nowhere")
    atomic_write_text(tmp_path / "run.json", '{"other": 1}')
    with pytest.raises(DataError, match="no training log"):
        TrainingCurve.from_run("x", tmp_path)


def test_a_report_that_cannot_be_written_says_so(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", evaluation, [])
