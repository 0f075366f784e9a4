"""Measures a tuned model on a data set that it never saw.

    data set -> rendered samples -> assessor and baselines -> predictions (a line per sample, resumable) -> figures

What every figure means is written in docs/evaluation.md.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from seagull_tune import __version__
from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.data.reader import RenderedSample, RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.baselines import AREA_LOSS, CLASSICAL, TRIVIAL, Baselines, area_loss
from seagull_tune.evaluate.figures import Metrics, Notes, figures_of
from seagull_tune.evaluate.outcomes import DIRECT, MODEL, RAW, Reading, Truth
from seagull_tune.evaluate.predictions import SUFFIX, Prediction, PredictionFile, RunKey, TextResult
from seagull_tune.files import atomic_write_text
from seagull_tune.records import Region, RegionAssessment, RegionLabel

_PACKAGES = ("torch", "transformers", "numpy", "opencv-python-headless")


class Assessor(Protocol):
    """What is measured; :class:`seagull_tune.infer.assessor.RegionAssessor` is one."""

    name: str
    bf16: bool

    def assess(
        self, image: np.ndarray, regions: Sequence[Region], text: Collection[int] = ()
    ) -> list[RegionAssessment]:
        """Judges regions of one photograph uint8 (H, W, 3), in their order, those in ``text`` also in words."""
        ...


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A finished measurement.

    Attributes:
        metrics: the figures, as written to the metrics file (docs/evaluation.md lists the keys).
        truth: what is true of the N judged regions.
        readings: per reader (``model``, ``direct``, ``trivial``, ``classical``), what it says of them, in that order.
        samples: str (N,), the sample of each region; the regions of a sample are in the order of its image's regions.
    """

    metrics: Metrics
    truth: Truth
    readings: Mapping[str, Reading]
    samples: np.ndarray


def evaluate_model(
    assessor: Assessor,
    dataset: RoiDataset,
    settings: EvaluationSettings,
    out: Path,
    baselines: Baselines | None = None,
    show_progress: bool = True,
) -> Evaluation:
    """Judges every region of every sample and writes the figures.

    Finished samples are kept in ``<out>.predictions.jsonl``: a run that was stopped goes on where it was, and a
    finished one only computes its figures again.

    Args:
        assessor: the tuned model.
        dataset: the test data, for example built with ``configs/data/benchmark.yaml``.
        settings: how it is measured.
        out: the metrics file, JSON; it appears whole or not at all.
        baselines: those stored with the model; None leaves all but ``area_loss`` out.
        show_progress: whether a bar is shown on standard error.

    Raises:
        DataError: a photograph or a row cannot be used, a file cannot be written, or there is no region at all.
    """
    out = Path(out)
    key = run_key(assessor, dataset, baselines)
    described = choose_texts(dataset, settings)
    with PredictionFile(out.with_name(out.name + SUFFIX), key) as file:
        for index in tqdm(range(len(dataset)), desc="Measuring", unit="samples", disable=not show_progress):
            done = file.found.get(dataset.sample(index).sample_id)
            wanted = described.get(index, ())
            if done is None or not set(wanted) <= {text.region for text in done.texts}:
                file.append(_judge(assessor, dataset[index], wanted, baselines))
        evaluation = _evaluation(dataset, file, described, settings, baselines)
    text = json.dumps(evaluation.metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        atomic_write_text(out, text)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}. Run again: the predictions are kept.") from error
    return evaluation


def run_key(assessor: Assessor, dataset: RoiDataset, baselines: Baselines | None) -> RunKey:
    """What the predictions of a measurement depend on."""
    return RunKey(
        model=assessor.name, recipe_hash=str(dataset.manifest.get("recipe_hash", "")),
        data=str(dataset.manifest.get("config_hash", "")), precision="bf16" if assessor.bf16 else "fp32",
        baselines=baselines.digest if baselines is not None else "",
    )  # fmt: skip


def choose_texts(dataset: RoiDataset, settings: EvaluationSettings) -> dict[int, tuple[int, ...]]:
    """Which regions are described in words: per image, a seeded choice among the regions of all its renderings.

    Returns:
        Sample index -> indices of its regions, sorted.
    """
    if not settings.texts_per_image:
        return {}
    places: dict[str, list[tuple[int, int]]] = {}
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        places.setdefault(sample.image_id, []).extend((index, region) for region in range(len(sample.labels)))
    rng = np.random.Generator(np.random.PCG64(settings.seed))
    chosen: dict[int, list[int]] = {}
    for image_id in sorted(places):
        for at in rng.permutation(len(places[image_id]))[: settings.texts_per_image]:
            index, region = places[image_id][at]
            chosen.setdefault(index, []).append(region)
    return {index: tuple(sorted(regions)) for index, regions in chosen.items()}


def _judge(
    assessor: Assessor, rendered: RenderedSample, described: Sequence[int], baselines: Baselines | None
) -> Prediction:
    """Reads one sample with the model and the baselines."""
    started = time.monotonic()
    answers = assessor.assess(rendered.image, rendered.regions, text=described) if rendered.regions else []
    seconds = time.monotonic() - started
    readings: dict[str, Reading] = {}
    raw = [answer.raw for answer in answers if answer.raw is not None]
    if answers:
        readings = {
            MODEL: Reading.of_scores([answer.scores for answer in answers]),
            DIRECT: Reading.of_scores([answer.direct for answer in answers]),
            **({RAW: Reading.of_scores(raw)} if raw else {}),
            **(baselines.predict(rendered.image, rendered.masks) if baselines is not None else {}),
        }
    texts = tuple(TextResult(i, answers[i].text, answers[i].unparsable) for i in described)
    return Prediction(rendered.sample.sample_id, readings, texts, seconds)


def _evaluation(
    dataset: RoiDataset,
    file: PredictionFile,
    described: Mapping[int, Sequence[int]],
    settings: EvaluationSettings,
    baselines: Baselines | None,
) -> Evaluation:
    """Puts predictions and labels side by side, and computes the figures."""
    predictions: list[Prediction] = []
    labels: list[RegionLabel] = []
    photographs, samples, areas = [], [], []
    texts: list[TextResult] = []
    images: set[str] = set()
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        if not sample.labels:
            continue
        record = dataset.image_record(sample.image_id)
        prediction = file.found[sample.sample_id]
        _check_length(prediction, len(sample.labels), file)
        predictions.append(prediction)
        texts += [text for text in prediction.texts if text.region in described.get(index, ())]
        images.add(sample.image_id)
        labels += sample.labels
        photographs += [record.scene_id] * len(sample.labels)
        samples += [sample.sample_id] * len(sample.labels)
        areas += [region.area / (record.height * record.width) for region in record.regions]
    if not labels:
        raise DataError(f"{dataset.folder}: no sample of the {dataset.split!r} split has a region to judge.")
    truth = Truth.of_labels(photographs, labels, areas)
    calibrated = any(RAW in prediction.readings for prediction in predictions)
    names = (MODEL, DIRECT, *((RAW,) * calibrated), *((TRIVIAL, CLASSICAL) if baselines is not None else ()))
    readings = {name: Reading.join([prediction.readings[name] for prediction in predictions]) for name in names}
    notes = Notes()
    metrics: Metrics = {
        **figures_of(readings[MODEL], truth, settings, notes, ""),
        DIRECT: figures_of(readings[DIRECT], truth, settings, notes, DIRECT),
        **({RAW: figures_of(readings[RAW], truth, settings, notes, RAW)} if calibrated else {}),
        "calibrated": calibrated,
        "baselines": _baseline_figures(readings, truth, settings, notes),
        **_text_figures(texts, notes),
        "n_regions": len(truth),
        "n_samples": len(predictions),
        "n_images": len(images),
        "n_photographs": len(set(photographs)),
        **_facts(dataset, file.key, settings, baselines),
        "seconds": round(sum(prediction.seconds for prediction in predictions), 1),
        "notes": notes.lines,
    }
    return Evaluation(metrics, truth, readings, np.array(samples))


def _check_length(prediction: Prediction, n_regions: int, file: PredictionFile) -> None:
    for name, reading in prediction.readings.items():
        if len(reading) != n_regions:
            raise DataError(
                f"{file.path}: sample {prediction.sample_id!r} has {len(reading)} regions read by {name!r}, the data "
                f"set says {n_regions}. Remove the file to measure again from the start."
            )


def _baseline_figures(
    readings: Mapping[str, Reading], truth: Truth, settings: EvaluationSettings, notes: Notes
) -> dict[str, Metrics]:
    quality = readings[MODEL].quality
    if quality is None:
        raise DataError("The predictions hold no quality; remove the predictions file to measure again.")
    baselines = {name: readings[name] for name in (TRIVIAL, CLASSICAL) if name in readings}
    baselines[AREA_LOSS] = Reading(importance=area_loss(truth.area, quality))
    if CLASSICAL not in readings:
        notes.add("baselines: none are stored with the model; fit them on its training data (fit_baselines)")
    return {
        name: figures_of(reading, truth, settings, notes, f"baselines.{name}") for name, reading in baselines.items()
    }


def _text_figures(texts: Sequence[TextResult], notes: Notes) -> Metrics:
    """The share of generated texts that could not be read back."""
    if not texts:
        notes.add("unparsable: no text was asked for (texts_per_image is 0)")
    share = sum(text.unparsable for text in texts) / len(texts) if texts else None
    return {"unparsable": share, "n_texts": len(texts)}


def _facts(dataset: RoiDataset, key: RunKey, settings: EvaluationSettings, baselines: Baselines | None) -> Metrics:
    return {
        "recipe_hash": key.recipe_hash,
        "model_id": key.model,
        "precision": key.precision,
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json"),
        "split": dataset.split,
        "data_config_hash": key.data,
        "data_versions": dict(dataset.manifest.get("versions", {})),
        "baselines_fitted_on": dict(baselines.facts) if baselines is not None else None,
        "versions": {
            "python": platform.python_version(), "seagull-tune": __version__,
            **{name: version(name) for name in _PACKAGES},
        },
    }  # fmt: skip
