"""The report of a run: one HTML file that shows what a tuned model sees, how well it judges, and how it was trained.

Legend: H, W image size; R regions of an image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.outcomes import MODEL
from seagull_tune.evaluate.protocols import Evaluation
from seagull_tune.evaluate.report_figures import scatter, training_curves
from seagull_tune.evaluate.report_numbers import (
    breakdown_section,
    facts_section,
    headline_tiles,
    number,
    numbers_section,
    value_of,
)
from seagull_tune.files import atomic_write_text
from seagull_tune.gallery import page
from seagull_tune.gallery.overlay import colour_stops
from seagull_tune.gallery.panels import fit_for_screen, photograph_panel, score_panel, to_png
from seagull_tune.levels import QUALITY_LEVELS, SEVERITY_NAMES
from seagull_tune.records import Recipe, Region
from seagull_tune.regions.masks import decode_all


@dataclass(frozen=True, eq=False)
class ReportExample:
    """One held-out photograph of the report.

    Attributes:
        image: uint8 (H, W, 3), as the model saw it.
        regions: its R regions.
        predicted, true: float (R,), quality in [0, 1].
        caption: what was done to the photograph.
    """

    image: np.ndarray
    regions: tuple[Region, ...]
    predicted: np.ndarray
    true: np.ndarray
    caption: str = ""


@dataclass(frozen=True)
class TrainingCurve:
    """The log of one training stage.

    Attributes:
        stage: its name.
        log: the trainer's log history.
    """

    stage: str
    log: tuple[Mapping[str, Any], ...]

    @classmethod
    def from_run(cls, stage: str, folder: Path) -> TrainingCurve:
        """The log of a training run from its ``run.json``.

        Raises:
            DataError: there is none, or it holds no log.
        """
        path = Path(folder) / "run.json"
        try:
            return cls(stage, tuple(json.loads(path.read_text(encoding="utf-8"))["train"]["log"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: no training log there ({error!r}). Name the run folder of a finished training."
            ) from error


@dataclass(frozen=True)
class ReportAnswer:
    """One question about a region of the first example, and the model's answer.

    Attributes:
        question, answer: the words.
        region: index of the region.
    """

    question: str
    answer: str
    region: int


def choose_examples(evaluation: Evaluation, dataset: RoiDataset, count: int = 2) -> list[ReportExample]:
    """The samples whose regions differ most in *true* quality, one per photograph; predictions play no part in it.

    Args:
        evaluation: of this data set.
        dataset: what was measured.
        count: at most this many.
    """
    predicted = evaluation.readings[MODEL].quality
    if predicted is None:
        raise DataError("The evaluation holds no quality to show.")
    starts: dict[str, int] = {}
    for position, name in enumerate(evaluation.samples.tolist()):
        starts.setdefault(name, position)
    spreads: list[tuple[float, int]] = []
    for index in range(len(dataset)):
        labels = dataset.sample(index).labels
        if labels:
            spreads.append((float(np.std([label.quality for label in labels])), index))
    examples: list[ReportExample] = []
    shown: set[str] = set()
    for _, index in sorted(spreads, key=lambda entry: (-entry[0], entry[1])):
        record = dataset.image_record(dataset.sample(index).image_id)
        if record.scene_id in shown:
            continue
        shown.add(record.scene_id)
        rendered = dataset[index]
        at = starts[rendered.sample.sample_id]
        span = slice(at, at + len(rendered.regions))
        true = evaluation.truth.quality[span]
        caption = f"{rendered.image_id}: {describe_recipe(rendered.sample.recipe)}"
        examples.append(ReportExample(rendered.image, rendered.regions, predicted[span], true, caption))
        if len(examples) == count:
            break
    return examples


def describe_recipe(recipe: Recipe | None) -> str:
    """What a recipe does, in words; regions are counted from 1. None is a picture whose history nobody knows."""
    if recipe is None:
        return "as it came"
    if recipe.pristine:
        return "left as it is"
    said = []
    for step in recipe.steps:
        where = "everywhere"
        if step.regions is not None:
            numbers = ", ".join(str(region + 1) for region in step.regions)
            where = f"{'outside of' if step.outside else 'in'} region{'s' if len(step.regions) > 1 else ''} {numbers}"
        said.append(f"{SEVERITY_NAMES[step.severity]} {step.type} ({step.variant.replace('_', ' ')}) {where}")
    return "; then ".join(said)


def write_report(
    out_html: Path,
    evaluation: Evaluation,
    examples: Sequence[ReportExample],
    curves: Sequence[TrainingCurve] = (),
    answer: ReportAnswer | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Writes the report, one file with everything in it; it appears whole or not at all.

    Args:
        out_html: the file.
        evaluation: the measurement.
        examples: held-out photographs, the one of ``answer`` first.
        curves: training stages, in order.
        answer: a question about a region of the first example.
        facts: more lines for the table of run facts, name -> value.

    Raises:
        DataError: the file cannot be written.
    """
    metrics = evaluation.metrics
    lead = (
        f"{metrics['n_regions']:,} regions in {metrics['n_samples']:,} renderings of {metrics['n_photographs']:,} "
        f"photographs that the model never saw. Model: {metrics['model_id']}."
    )
    body = [
        "<h1>Region quality, as the tuned model judges it</h1>",
        page.paragraph(lead, "lead"),
        headline_tiles(metrics),
    ]
    body += [_example_section(example, at, len(examples)) for at, example in enumerate(examples, start=1)]
    if answer is not None:
        body.append(_answer_section(answer))
    body += [numbers_section(metrics), breakdown_section(metrics), _scatter_section(evaluation)]
    body += _curves_section(curves)
    body.append(facts_section(metrics, facts or {}))
    try:
        atomic_write_text(Path(out_html), page.page("Seagull-Tune report", body))
    except OSError as error:
        raise DataError(f"{out_html} cannot be written: {error}.") from error


def _example_section(example: ReportExample, number: int, total: int) -> str:
    image, masks = fit_for_screen(example.image, decode_all(example.regions))
    seen, told, truth = (
        photograph_panel(image, masks, [str(at + 1) for at in range(len(masks))]),
        score_panel(image, masks, example.predicted),
        score_panel(image, masks, example.true),
    )
    panels = page.grid(
        [
            page.picture(to_png(seen), "the photograph with its numbered regions", "What the model sees"),
            page.picture(to_png(told), "regions coloured by predicted quality", "Predicted quality"),
            page.picture(to_png(truth), "regions coloured by true quality", "True quality"),
        ]
    )
    heading = "A held-out photograph" if total == 1 else f"Held-out photograph {number}"
    return page.section(
        heading, page.paragraph(example.caption), panels, page.colour_scale(colour_stops(), QUALITY_LEVELS)
    )


def _answer_section(answer: ReportAnswer) -> str:
    return page.section(
        "Asked about a region",
        page.paragraph(f"Region {answer.region + 1} of the first photograph above; the words are the model's own."),
        page.conversation([(answer.question, answer.answer)]),
    )


def _scatter_section(evaluation: Evaluation) -> str:
    model, truth = evaluation.readings[MODEL], evaluation.truth
    pictures = []
    for name, predicted, true in (
        ("quality", model.quality, truth.quality),
        ("importance", model.importance, truth.importance),
    ):
        scored = np.isfinite(true)
        if predicted is None or not scored.any():
            continue
        remark = f"SRCC {number(value_of(evaluation.metrics, f'{name}.srcc'))}, {int(scored.sum()):,} regions"
        pictures.append(
            page.picture(scatter(true[scored], predicted[scored], name, remark), f"predicted against true {name}")
        )
    return page.section(
        "Every region", page.paragraph("Each point is a region of a held-out photograph."), page.grid(pictures)
    )


def _curves_section(curves: Sequence[TrainingCurve]) -> Iterator[str]:
    drawn = [(curve.stage, training_curves(curve.stage, curve.log)) for curve in curves]
    pictures = [page.picture(png, f"training losses of {stage}") for stage, png in drawn if png is not None]
    if pictures:
        yield page.section("Training", page.grid(pictures))
