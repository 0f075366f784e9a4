"""`seagull-tune calibrate`: held-out regions are read raw, and what is fitted to them is stored in the checkpoint.

data set -> raw readings (a line per sample, resumable) -> calibration_check.calibrate -> calibration.json, figure
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from seagull_tune import __version__
from seagull_tune.config.calibrate import CalibrateConfig, CalibrationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.calibration_check import Calibrated, RawReading, calibrate, refuse_few
from seagull_tune.evaluate.calibration_report import abstaining_in_words, reliability_diagram, table_of
from seagull_tune.evaluate.judging import Assessor, Judge
from seagull_tune.evaluate.outcomes import MODEL, Reading, Truth
from seagull_tune.evaluate.predictions import PredictionFile
from seagull_tune.evaluate.protocols import run_key
from seagull_tune.files import atomic_write
from seagull_tune.hub_card import CARD
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.calibration import CALIBRATION
from seagull_tune.model.card import write_card
from seagull_tune.model.checkpoint import model_digest, model_id, read_manifest
from seagull_tune.model.seen import check_unseen
from seagull_tune.records import RegionLabel

PREDICTIONS, FIGURE = "predictions.jsonl", "reliability.png"
"""What is left in the folder of a calibration."""
NOT_KNOWN = (
    " The checkpoint does not say which photographs it was trained on, so they cannot be compared: if it knows these, "
    "its numbers will promise too much."
)


def plan_calibration(config: CalibrateConfig) -> str:
    """Checks everything that can be checked before the model is loaded; returns what would be done, in words.

    Raises:
        CheckpointError: the model is no checkpoint.
        DataError: the data set cannot be used, is too small, or holds photographs that the model was trained on.
    """
    model = Path(config.model)
    read_manifest(model)
    dataset = _open(config)
    unseen = check_unseen(model, dataset)
    n_regions = _check_enough(dataset, config.calibration)
    size = dataset.sizes[config.split]
    again = ", in place of the one that is there" if (model / CALIBRATION).is_file() else ""
    return (
        f"Read {n_regions} regions in {size.samples} pictures of {size.scenes} photographs ({config.data}, split "
        f"{config.split!r}) with {model}, fit a calibration, and store it as {model / CALIBRATION}{again}. Predictions "
        f"and figure: {folder_of(config)}.{'' if unseen else NOT_KNOWN}"
    )


def calibrate_checkpoint(config: CalibrateConfig, show_progress: bool = True) -> str:
    """Calibrates a checkpoint, and refreshes its card; a second run over the first only fits again.

    Returns:
        What it changed, in words: a table and the places of the files.

    Raises:
        CheckpointError, DataError: the model or the data cannot be used, or a file cannot be written.
    """
    model, out = Path(config.model), folder_of(config)
    dataset = _open(config)
    unseen = check_unseen(model, dataset)
    _check_enough(dataset, config.calibration)
    # The raw model, whatever calibration it has, be it of other weights.
    engine = config.engine
    assessor = RegionAssessor.from_pretrained(model, engine.device, engine.bf16, engine.chunk, calibrated=False)
    raw = read_regions(assessor, dataset, out / PREDICTIONS, show_progress)
    facts = {
        "model_id": model_id(model), "split": dataset.split, "recipe_hash": dataset.manifest.get("recipe_hash"),
        "data_config_hash": dataset.manifest.get("config_hash"), "unseen": unseen,
        "precision": "bf16" if assessor.bf16 else "fp32",
        "settings": config.calibration.model_dump(mode="json"), "seagull_tune": __version__,
    }  # fmt: skip
    found = calibrate(raw, config.calibration, model_digest(model), facts)
    figure = out / FIGURE
    try:
        atomic_write(figure, [reliability_diagram(found.before, found.after)])
    except OSError as error:
        raise DataError(f"{figure} cannot be written: {error}. Choose another --out.") from error
    stored = found.calibration.save(model)
    if (model / CARD).is_file():
        write_card(model)
    return in_words(found, stored, figure)


def in_words(found: Calibrated, stored: Path, figure: Path) -> str:
    """What a calibration changed."""
    facts = found.calibration.facts
    return "\n".join(
        [
            f"{facts['n_regions']} regions of {facts['n_photographs']} photographs, each reported by a fit on others.",
            table_of(facts["before"], facts["after"]),
            abstaining_in_words(facts["abstaining"]),
            f"Calibration: {stored}",
            f"Figure: {figure}",
        ]
    )


def folder_of(config: CalibrateConfig) -> Path:
    """Where predictions and figure go."""
    if config.out is not None:
        return Path(config.out)
    model = Path(config.model).resolve()
    return model.with_name(f"{model.name}-calibration")


def read_regions(assessor: Assessor, dataset: RoiDataset, path: Path, show_progress: bool = True) -> RawReading:
    """What a model says of every labelled region of a data set; finished samples are kept in a file of predictions.

    Args:
        assessor: the tuned model, raw.
        dataset: the data.
        path: the file; samples that it holds are not read again.
        show_progress: whether a bar is shown on standard error.

    Raises:
        DataError: a photograph or the file cannot be used, or the file is of other regions.
    """
    judge = Judge(assessor, None, {})
    readings, labels = [], list[RegionLabel]()
    photographs, areas = list[str](), list[float]()
    with PredictionFile(path, run_key(assessor, dataset, None)) as file:
        for index in tqdm(dataset.labelled, desc="Reading", unit="samples", disable=not show_progress):
            sample = dataset.sample(index)
            found = file.found.get(sample.sample_id)
            # Files that were written before level probabilities were kept lack them.
            if found is None or MODEL not in found.readings or found.readings[MODEL].importance_levels is None:
                file.append(judge.read(dataset[index], (), None))
            record = dataset.image_record(sample.image_id)
            readings.append(file.found[sample.sample_id].readings[MODEL])
            if len(readings[-1]) != len(sample.labels):
                raise DataError(
                    f"{path}: sample {sample.sample_id!r} has {len(readings[-1])} regions, the data set says "
                    f"{len(sample.labels)}. Remove the file to read them again."
                )
            labels += sample.labels
            photographs += [record.scene_id] * len(sample.labels)
            areas += [region.area / (record.height * record.width) for region in record.regions]
    return RawReading.of(Reading.join(readings), Truth.of_labels(photographs, labels, areas))


def _open(config: CalibrateConfig) -> RoiDataset:
    return RoiDataset(config.data, config.split, config.image_root)


def _check_enough(dataset: RoiDataset, settings: CalibrationSettings) -> int:
    """How many labelled regions there are; too few are refused."""
    rows = [dataset.sample(index) for index in dataset.labelled]
    n_regions = sum(len(row.labels) for row in rows)
    scenes = {dataset.image_record(row.image_id).scene_id for row in rows}
    refuse_few(n_regions, len(scenes), settings, f"{dataset.folder}, split {dataset.split!r}")
    return n_regions
