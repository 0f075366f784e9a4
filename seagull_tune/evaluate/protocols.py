"""Measures a tuned model on a data set that it never saw.

    data set -> rendered samples -> assessor and baselines -> predictions (a line per sample, resumable) -> figures

What every figure means is written in docs/evaluation.md.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from seagull_tune import __version__
from seagull_tune.config.evaluate import SYNTHETIC_ROI, EvaluationSettings, Protocol
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.baselines import AREA_LOSS, CLASSICAL, Baselines, area_loss
from seagull_tune.evaluate.breakdown import breakdown_of
from seagull_tune.evaluate.figures import Metrics, Notes, figures_of
from seagull_tune.evaluate.judged import Judged
from seagull_tune.evaluate.judging import Assessor, Judge, Metric, extra_readers, metric_reader_name
from seagull_tune.evaluate.outcomes import DIRECT, MODEL, RAW, Reading, Truth
from seagull_tune.evaluate.predictions import SUFFIX, Prediction, PredictionFile, RunKey, TextResult
from seagull_tune.files import atomic_write_text
from seagull_tune.records import RegionLabel, Sample

_PACKAGES = ("torch", "transformers", "numpy", "opencv-python-headless")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A finished measurement.

    Attributes:
        metrics: the figures, as written to the metrics file (docs/evaluation.md lists the keys).
        truth: what is true of the N judged regions.
        readings: per reader (``model``, ``direct``, then the baselines), what it says of them.
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
    protocol: Protocol = SYNTHETIC_ROI,
    metric: Metric | None = None,
) -> Evaluation:
    """Judges every region of every sample and writes the figures.

    Finished samples are kept in ``<out>.predictions.jsonl``: a run that was stopped goes on where it was, and a
    finished one only computes its figures again. Truth and readings lie beside the figures in ``<out>.judged.npz``.

    Args:
        assessor: the tuned model.
        dataset: the test data, for example built with ``configs/data/benchmark.yaml``.
        settings: how it is measured.
        out: the metrics file, JSON; it appears whole or not at all.
        baselines: those stored with the model; None leaves out all that need them.
        show_progress: whether a bar is shown on standard error.
        protocol: what is compared with what; one whose ``judged`` is ``regions``.
        metric: what ``settings.crop_metric`` names.

    Raises:
        DataError: the data set does not suit the protocol, a photograph or a row cannot be used, a file cannot be
            written, or there is no region at all.
    """
    out = Path(out)
    check_data(dataset, protocol)
    judge = Judge(assessor, baselines, extra_readers(settings, assessor, baselines, metric))
    described = choose_texts(dataset, settings)
    with PredictionFile(out.with_name(out.name + SUFFIX), run_key(assessor, dataset, baselines)) as file:
        for index in tqdm(range(len(dataset)), desc="Measuring", unit="samples", disable=not show_progress):
            sample = dataset.sample(index)
            done, wanted = file.found.get(sample.sample_id), described.get(index, ())
            if sample.labels and not judge.complete(done, wanted):
                file.append(judge.read(dataset[index], wanted, done))
        evaluation = _evaluation(dataset, file, judge, described, settings, baselines, protocol)
    write_measured(out, evaluation)
    return evaluation


def write_measured(out: Path, evaluation: Evaluation) -> None:
    """Writes truth and readings, then the figures, each whole or not at all.

    Raises:
        DataError: a file cannot be written.
    """
    Judged(evaluation.truth, evaluation.readings, evaluation.samples).save(out)
    text = json.dumps(evaluation.metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        atomic_write_text(out, text)
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}. Run again: the predictions are kept.") from error


def run_key(assessor: Assessor, dataset: RoiDataset, baselines: Baselines | None, view: str = "") -> RunKey:
    """What the predictions of a measurement depend on."""
    return RunKey(
        model=assessor.name, recipe_hash=str(dataset.manifest.get("recipe_hash", "")),
        data=str(dataset.manifest.get("config_hash", "")), precision="bf16" if assessor.bf16 else "fp32",
        baselines=baselines.digest if baselines is not None else "", view=view,
    )  # fmt: skip


def check_data(dataset: RoiDataset, protocol: Protocol) -> None:
    """Refuses a data set that a protocol cannot be run on.

    Raises:
        DataError: a scene is in two splits, or no sample has the truth that the protocol is about.
    """
    dataset.refuse_leaks()
    kinds = {_truth_of(dataset.sample(index)) for index in range(len(dataset))} - {""}
    if protocol.truth not in kinds:
        held = f"it holds truth of the kinds: {', '.join(sorted(kinds))}" if kinds else "it holds no label at all"
        raise DataError(
            f"{dataset.folder}, split {dataset.split!r}, does not suit the protocol {protocol.name!r}, whose truth is "
            f"{protocol.truth!r}: {held}. Take another protocol (configs/evaluate/) or another data set."
        )


def _truth_of(sample: Sample) -> str:
    """Where the truth of a sample comes from, as protocols call it; "" where it has none."""
    if not sample.labels:
        return "opinions" if sample.opinion is not None else ""
    return "raters" if any(label.quality_deviation is not None for label in sample.labels) else "measured"


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


def _evaluation(
    dataset: RoiDataset,
    file: PredictionFile,
    judge: Judge,
    described: Mapping[int, Sequence[int]],
    settings: EvaluationSettings,
    baselines: Baselines | None,
    protocol: Protocol,
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
        check_length(prediction, len(sample.labels), file)
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
    names = (*judge.names, *((RAW,) * calibrated))
    readings = {name: Reading.join([prediction.readings[name] for prediction in predictions]) for name in names}
    notes = Notes()
    metrics: Metrics = {
        **figures_of(readings[MODEL], truth, settings, notes, "", protocol.figures),
        "breakdown": breakdown_of(readings[MODEL], truth, notes, protocol.figures),
        DIRECT: figures_of(readings[DIRECT], truth, settings, notes, DIRECT, protocol.figures),
        **({RAW: figures_of(readings[RAW], truth, settings, notes, RAW, protocol.figures)} if calibrated else {}),
        "calibrated": calibrated,
        "baselines": _baseline_figures(readings, truth, settings, notes, protocol),
        **_text_figures(texts, notes),
        "n_regions": len(truth),
        "n_samples": len(predictions),
        "n_images": len(images),
        "n_photographs": len(set(photographs)),
        **facts_of(dataset, file.key, settings, baselines, protocol),
        "seconds": round(sum(prediction.seconds for prediction in predictions), 1),
        "notes": notes.lines,
    }
    return Evaluation(metrics, truth, readings, np.array(samples))


def check_length(prediction: Prediction, n_regions: int, file: PredictionFile) -> None:
    """Refuses predictions of another number of regions.

    Raises:
        DataError: names the file and the sample.
    """
    for name, reading in prediction.readings.items():
        if len(reading) != n_regions:
            raise DataError(
                f"{file.path}: sample {prediction.sample_id!r} has {len(reading)} regions read by {name!r}, the data "
                f"set says {n_regions}. Remove the file to measure again from the start."
            )


def _baseline_figures(
    readings: Mapping[str, Reading], truth: Truth, settings: EvaluationSettings, notes: Notes, protocol: Protocol
) -> dict[str, Metrics]:
    quality = readings[MODEL].quality
    if quality is None:
        raise DataError("The predictions hold no quality; remove the predictions file to measure again.")
    baselines = {name: reading for name, reading in readings.items() if name not in (MODEL, DIRECT, RAW)}
    baselines[AREA_LOSS] = Reading(importance=area_loss(truth.area, quality))
    if CLASSICAL not in readings:
        notes.add("baselines: none are stored with the model; fit them on its training data (fit_baselines)")
    found = {
        name: figures_of(reading, truth, settings, notes, f"baselines.{name}", protocol.figures)
        for name, reading in baselines.items()
    }
    foreign = metric_reader_name(settings.crop_metric.metric) if settings.crop_metric is not None else ""
    if found.get(foreign, {}).get("quality"):
        found[foreign]["quality"] |= {"rmse": None, "rmse_ci95": None}
        notes.add(f"baselines.{foreign}.quality.rmse: not defined, the metric has a scale of its own")
    return found


def _text_figures(texts: Sequence[TextResult], notes: Notes) -> Metrics:
    """The share of generated texts that could not be read back."""
    if not texts:
        notes.add("unparsable: no text was asked for (texts_per_image is 0)")
    share = sum(text.unparsable for text in texts) / len(texts) if texts else None
    return {"unparsable": share, "n_texts": len(texts)}


def facts_of(
    dataset: RoiDataset, key: RunKey, settings: EvaluationSettings, baselines: Baselines | None, protocol: Protocol
) -> Metrics:
    """What was measured, by what, and how."""
    return {
        "protocol": protocol.model_dump(mode="json"),
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
