"""Measures a model on whole pictures with opinion scores: its judgements of their regions, summed up to one number.

    picture -> regions -> quality and importance of each -> summary -> against the MOS on [0, 1]

Which summary is taken is chosen on a validation share of the scenes, never on what is measured; scenes are divided anew
per seed, and the figures are medians over the seeds. The model's answer about the whole picture as one region needs no
choice and is the baseline ``whole``.

Legend: H, W image size; R regions of a picture; P pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from seagull_tune.config.evaluate import EvaluationSettings, Protocol
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.baselines import CLASSICAL, TRIVIAL, Baselines
from seagull_tune.evaluate.figures import Metrics, Notes, figures_of, rounded
from seagull_tune.evaluate.judging import Assessor
from seagull_tune.evaluate.outcomes import DIRECT, MODEL, Reading, Truth
from seagull_tune.evaluate.predictions import SUFFIX, Prediction, PredictionFile
from seagull_tune.evaluate.protocols import Evaluation, check_data, check_length, facts_of, run_key, write_measured
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.metrics.correlation import srcc
from seagull_tune.records import OpinionScore
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode_all
from seagull_tune.segment import Segmenter

WHOLE = "whole"
"""The baseline that asks the model about the whole picture as one region."""


def _area_mean(quality: np.ndarray, importance: np.ndarray, area: np.ndarray) -> float:
    return float(np.average(quality, weights=area))


def _importance_mean(quality: np.ndarray, importance: np.ndarray, area: np.ndarray) -> float:
    return float(np.average(quality, weights=importance)) if importance.sum() > 0 else _area_mean(quality, area, area)


def _worst(quality: np.ndarray, importance: np.ndarray, area: np.ndarray) -> float:
    return float(quality.min())


SUMMARIES: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "area_mean": _area_mean,
    "importance_mean": _importance_mean,
    "worst": _worst,
}
"""(quality (R,), importance (R,), area shares (R,)) of a picture's regions, R >= 1 -> its quality, [0, 1]."""


@dataclass(frozen=True, eq=False)
class _Pictures:
    """What was read of P pictures.

    Attributes:
        truth: of the pictures: MOS on [0, 1], scenes, area 1.
        samples: str (P,).
        summaries: per reader that judges regions, per summary, float64 (P,).
        whole: per baseline that judges whole pictures, its reading.
    """

    truth: Truth
    samples: np.ndarray
    summaries: Mapping[str, Mapping[str, np.ndarray]]
    whole: Mapping[str, Reading]


def evaluate_pictures(
    assessor: Assessor,
    dataset: RoiDataset,
    settings: EvaluationSettings,
    out: Path,
    protocol: Protocol,
    segmenter: Segmenter,
    baselines: Baselines | None = None,
    show_progress: bool = True,
    found_with: str = "",
) -> Evaluation:
    """Judges the regions of every picture that has an opinion score, and writes the figures.

    Resumes as :func:`seagull_tune.evaluate.protocols.evaluate_model` does.

    Args:
        assessor: the tuned model.
        dataset: an imported set of opinion scores, of one declared range and direction.
        settings: seed and draws of the intervals; texts and optional baselines are of regions, and not for this.
        out: the metrics file, JSON.
        protocol: one whose ``judged`` is ``pictures``.
        segmenter: finds the regions; a picture without any is one region.
        baselines: those stored with the model; None leaves them out.
        show_progress: whether a bar is shown on standard error.
        found_with: the segmenter's settings: predictions of other ones are never mixed in.

    Returns:
        Figures, and truth and readings of the pictures measured under the first seed.

    Raises:
        DataError: the data set does not suit the protocol, a picture cannot be used, a file cannot be written, or there
            are too few scenes to divide.
    """
    out = Path(out)
    check_data(dataset, protocol)
    scale = _scale_of(dataset)
    key = run_key(assessor, dataset, baselines, view=f"{segmenter.name} {found_with}".strip())
    with PredictionFile(out.with_name(out.name + SUFFIX), key) as file:
        for index in tqdm(range(len(dataset)), desc="Measuring", unit="pictures", disable=not show_progress):
            sample = dataset.sample(index)
            if sample.opinion is not None and sample.sample_id not in file.found:
                file.append(_judge(assessor, dataset, index, segmenter, baselines))
        pictures = _pictures(dataset, file, protocol)
        facts = facts_of(dataset, file.key, settings, baselines, protocol)
        seconds = sum(file.found[name].seconds for name in pictures.samples.tolist())
    facts |= {"mos": scale, "segmenter": segmenter.name, "seconds": round(seconds, 1)}
    evaluation = _evaluation(pictures, settings, protocol, facts)
    write_measured(out, evaluation)
    return evaluation


def _scale_of(dataset: RoiDataset) -> dict[str, Any]:
    """Range and direction of the opinion scores.

    Raises:
        DataError: there are several.
    """
    found: dict[tuple[float, float, bool], str] = {}
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        opinion: OpinionScore | None = sample.opinion
        if opinion is not None:
            found.setdefault((opinion.low, opinion.high, opinion.higher_is_better), sample.sample_id)
    if len(found) > 1:
        said = "; ".join(f"{low:g}..{high:g} (first: {name})" for (low, high, _), name in found.items())
        raise DataError(f"{dataset.folder} holds opinion scores of several scales: {said}. Measure each by itself.")
    ((low, high, better),) = found
    return {"low": low, "high": high, "higher_is_better": better}


def _judge(
    assessor: Assessor, dataset: RoiDataset, index: int, segmenter: Segmenter, baselines: Baselines | None
) -> Prediction:
    """Reads one picture: its regions, then the whole of it as the last one."""
    rendered = dataset[index]
    height, width = rendered.image.shape[:2]
    whole = box_region((0, 0, width, height), height, width)
    regions = [*(rendered.regions or segmenter.segment(rendered.image) or [whole]), whole]
    started = time.monotonic()
    answers = assessor.assess(rendered.image, regions)
    seconds = time.monotonic() - started
    readings = {
        MODEL: Reading.of_scores([answer.scores for answer in answers]),
        DIRECT: Reading.of_scores([answer.direct for answer in answers]),
    }
    if baselines is not None:
        readings |= baselines.predict(rendered.image, decode_all([whole]))
    areas = tuple(region.area / (height * width) for region in regions)
    return Prediction(rendered.sample.sample_id, readings, (), seconds, areas)


def _pictures(dataset: RoiDataset, file: PredictionFile, protocol: Protocol) -> _Pictures:
    scenes, samples, quality = [], [], []
    summed: dict[str, dict[str, list[float]]] = {r: {s: [] for s in protocol.summaries} for r in (MODEL, DIRECT)}
    whole: dict[str, list[Reading]] = {}
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        if sample.opinion is None:
            continue
        prediction = file.found[sample.sample_id]
        area = np.array(prediction.areas)
        for name in (MODEL, DIRECT):
            reading = prediction.readings[name]
            check_length(Prediction(sample.sample_id, {name: reading}, (), 0.0), len(area), file)
            if reading.quality is None or reading.importance is None or len(area) < 2:
                raise DataError(f"{file.path}: sample {sample.sample_id!r} is cut off; remove the file and run again.")
            for summary, values in summed[name].items():
                values.append(SUMMARIES[summary](reading.quality[:-1], reading.importance[:-1], area[:-1]))
        whole.setdefault(WHOLE, []).append(Reading(quality=prediction.readings[MODEL].rows(np.array([-1])).quality))
        for name in (TRIVIAL, CLASSICAL):
            if name in prediction.readings:
                whole.setdefault(name, []).append(Reading(quality=prediction.readings[name].quality))
        scenes.append(dataset.image_record(sample.image_id).scene_id)
        samples.append(sample.sample_id)
        quality.append(sample.opinion.quality)
    count = len(samples)
    truth = Truth(
        np.array(scenes), np.array(quality), np.full(count, np.nan),
        np.full((count, len(DISTORTION_TYPES)), -1), np.ones(count),
    )  # fmt: skip
    return _Pictures(
        truth, np.array(samples), {r: {s: np.array(v) for s, v in by.items()} for r, by in summed.items()},
        {name: Reading.join(parts) for name, parts in whole.items()},
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Run:
    """The figures of one division: what was measured (``rows``), and what was chosen (``facts``)."""

    figures: Metrics
    facts: Metrics
    rows: np.ndarray
    truth: Truth
    readings: Mapping[str, Reading]


def _run(pictures: _Pictures, settings: EvaluationSettings, protocol: Protocol, seed: int, notes: Notes) -> _Run:
    held = validation_rows(pictures.truth.photographs, protocol.validation, seed)
    truth = pictures.truth.rows(~held)
    facts: Metrics = {"n_validation": int(held.sum()), "n_measured": len(truth)}
    readings: dict[str, Reading] = {}
    for name, candidates in pictures.summaries.items():
        scores = {s: srcc(values[held], pictures.truth.quality[held]) for s, values in candidates.items()}
        chosen = max(protocol.summaries, key=lambda s: -2.0 if scores[s] is None else float(scores[s] or 0.0))
        if len(candidates) > 1 and all(score is None for score in scores.values()):
            notes.add(f"seed {seed}: no summary could be chosen on {int(held.sum())} pictures; {chosen} is the first")
        facts[name] = {"summary": chosen, "validation_srcc": {s: rounded(score) for s, score in scores.items()}}
        readings[name] = Reading(quality=candidates[chosen][~held])
    readings |= {name: reading.rows(~held) for name, reading in pictures.whole.items()}

    def figures(name: str, label: str) -> Metrics:
        return figures_of(readings[name], truth, settings, notes, label, ("quality",))

    found = {
        **figures(MODEL, ""),
        DIRECT: figures(DIRECT, DIRECT),
        "baselines": {name: figures(name, f"baselines.{name}") for name in pictures.whole},
    }
    return _Run(found, facts, np.flatnonzero(~held), truth, readings)


def _evaluation(
    pictures: _Pictures, settings: EvaluationSettings, protocol: Protocol, facts: Mapping[str, Any]
) -> Evaluation:
    """The figures of all seeds and their medians, beside what is known of the measurement."""
    notes = Notes()
    runs = [_run(pictures, settings, protocol, seed, notes) for seed in protocol.seeds]
    count, first = len(pictures.truth), runs[0]
    metrics: Metrics = {
        **median_figures([run.figures for run in runs]),
        "runs": [
            {"seed": s, **r.facts, "quality": r.figures["quality"]} for s, r in zip(protocol.seeds, runs, strict=True)
        ],
        "n_regions": count,
        "n_samples": count,
        "n_images": count,
        "n_photographs": len(set(pictures.truth.photographs.tolist())),
        "unparsable": None,
        "n_texts": 0,
        **facts,
        "notes": list(dict.fromkeys(notes.lines)),
    }
    return Evaluation(metrics, first.truth, first.readings, pictures.samples[first.rows])


def validation_rows(scenes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Flags (P,) of the pictures that a choice may be made on: whole scenes, a seeded draw.

    Args:
        scenes: str (P,).
        share: of the scenes, at least one where it is above 0.

    Raises:
        DataError: no scene is left to be measured.
    """
    names = sorted(set(scenes.tolist()))
    count = max(1, round(share * len(names))) if share > 0 else 0
    if count >= len(names):
        raise DataError(
            f"{len(names)} scene(s) cannot be divided: a validation share of {share:g} leaves nothing to measure. Set "
            "protocol.summaries to one summary and protocol.validation to 0."
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    return np.isin(scenes, [names[at] for at in order[:count]])


def median_figures(runs: Sequence[Any]) -> Any:
    """The median of every number in equal nested figures; null where any run has none; ends of intervals one by one."""
    first = runs[0]
    if isinstance(first, Mapping):
        return {key: median_figures([run[key] for run in runs]) for key in first}
    if any(run is None for run in runs):
        return None
    if isinstance(first, list):
        return [median_figures(ends) for ends in zip(*runs, strict=True)]
    middle = float(np.median(runs))
    return int(middle) if all(isinstance(run, int) for run in runs) else rounded(middle)
