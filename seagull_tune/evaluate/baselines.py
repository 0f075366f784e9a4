"""What a tuned model is set beside: baselines from the same training data, stored with its checkpoint.

    trivial     says the same of every region: mean quality and importance, the more frequent answer per type
    classical   natural-scene statistics of the region in a ridge regression with a Gaussian kernel
    area_loss   for importance: area * (1 - quality), with the quality that the tuned model predicts

Legend: H, W image size; R regions of an image; N training regions; F features; T distortion types.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from tqdm import tqdm

from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import CheckpointError, DataError
from seagull_tune.evaluate.kernel_ridge import KernelRidge, fit_kernel_ridge
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.evaluate.scene_statistics import FEATURE_NAMES, region_features
from seagull_tune.files import STAGING_SUFFIX
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES
from seagull_tune.records import RegionLabel

BASELINES_FILE = "baselines.safetensors"
FORMAT_VERSION = 1
TRIVIAL, CLASSICAL, AREA_LOSS = "trivial", "classical", "area_loss"
_ARRAYS = ("mean", "scale", "rows", "duals", "offset")
_THRESHOLDS = np.arange(0.05, 0.96, 0.01)
_LOG_FLOOR = 1e-3
_LOG_FEATURES = np.array(
    [name.endswith(("shape", "variance", "deviation", "colourfulness", "chroma_mean")) for name in FEATURE_NAMES]
)


def area_loss(area: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """The importance baseline: area shares (N,) times one minus predicted quality (N,)."""
    return area * (1.0 - quality)


def _regression_features(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Features (R, F) as the regression reads them: strongly skewed ones as logarithms."""
    features = region_features(image, masks)
    features[:, _LOG_FEATURES] = np.log(features[:, _LOG_FEATURES] + _LOG_FLOOR)
    return features


@dataclass(frozen=True, eq=False)
class Baselines:
    """Fitted baselines.

    Attributes:
        quality, importance: means over the training regions; importance is None where no region has one.
        severities: int64 (T,), the most frequent severity of each type.
        types: float64 (T,), 1 where a type is there more often than not.
        heads: the classical regressors, by what they predict: ``quality``, ``types``, and ``importance`` unless it is
            None.
        thresholds: float64 (T,), output of the ``types`` regressor from which on a type is taken to be there; chosen
            for the best F1 on photographs that the regressor was not fitted on.
        facts: what they were fitted on.
    """

    quality: float
    importance: float | None
    severities: np.ndarray
    types: np.ndarray
    heads: Mapping[str, KernelRidge]
    thresholds: np.ndarray
    facts: Mapping[str, Any]

    def predict(self, image: np.ndarray, masks: np.ndarray) -> dict[str, Reading]:
        """What the baselines say of regions of one photograph.

        Args:
            image: uint8 (H, W, 3), sRGB.
            masks: bool (R, H, W), none empty.

        Returns:
            Readings of R regions under ``trivial`` and ``classical``.
        """
        count = len(masks)
        features = _regression_features(image, masks)
        read = {name: head.predict(features) for name, head in self.heads.items()}
        trivial = Reading(
            quality=np.full(count, self.quality),
            importance=None if self.importance is None else np.full(count, self.importance),
            types=np.tile(self.types, (count, 1)),
            severities=np.tile(self.severities, (count, 1)),
        )
        classical = Reading(
            quality=read["quality"][:, 0].clip(0, 1),
            importance=read["importance"][:, 0].clip(0, 1) if "importance" in read else None,
            types=(read["types"] - self.thresholds + 0.5).clip(0, 1),
        )
        return {TRIVIAL: trivial, CLASSICAL: classical}

    @property
    def digest(self) -> str:
        """SHA-256 of all that predictions depend on, in hex: predictions of other baselines are never mixed in."""
        return hashlib.sha256(self._to_bytes()).hexdigest()

    def save(self, folder: Path) -> Path:
        """Writes ``baselines.safetensors`` into an existing folder (the checkpoint's), atomically; returns the file."""
        target = Path(folder) / BASELINES_FILE
        staging = target.with_name(target.name + STAGING_SUFFIX)
        staging.write_bytes(self._to_bytes())
        os.replace(staging, target)
        return target

    def _to_bytes(self) -> bytes:
        tensors = {"severities": self.severities, "types": self.types, "thresholds": self.thresholds}
        for name, head in self.heads.items():
            tensors |= {f"{name}.{array}": np.ascontiguousarray(getattr(head, array)) for array in _ARRAYS}
        settings = {
            "version": FORMAT_VERSION, "features": FEATURE_NAMES,
            "quality": self.quality, "importance": self.importance,
            "heads": {name: {"gamma": head.gamma, "penalty": head.penalty} for name, head in self.heads.items()},
            "facts": dict(self.facts),
        }  # fmt: skip
        return bytes(save(tensors, metadata={"seagull_tune_baselines": json.dumps(settings, sort_keys=True)}))

    @classmethod
    def load(cls, folder: Path) -> Baselines:
        """Reads the baselines of a checkpoint folder.

        Raises:
            CheckpointError: there are none, or the file is damaged or of another version.
        """
        path = Path(folder) / BASELINES_FILE
        if not path.is_file():
            raise CheckpointError(
                f"{folder} holds no {BASELINES_FILE}: baselines are fitted and stored at the end of a training run."
            )
        try:
            with safe_open(path, framework="np") as file:
                settings = json.loads((file.metadata() or {}).get("seagull_tune_baselines", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged ({error}). Fit the baselines again.") from error
        if settings.get("version") != FORMAT_VERSION or tuple(settings.get("features", ())) != FEATURE_NAMES:
            raise CheckpointError(
                f"{path}: baselines of version {settings.get('version')!r} with {len(settings.get('features', ()))} "
                f"features; this program reads version {FORMAT_VERSION} with its own {len(FEATURE_NAMES)}. Fit the "
                "baselines again."
            )
        try:
            heads = {
                name: KernelRidge(**{array: tensors[f"{name}.{array}"] for array in _ARRAYS}, **found)
                for name, found in settings["heads"].items()
            }
            return cls(
                settings["quality"], settings["importance"], tensors["severities"], tensors["types"], heads,
                tensors["thresholds"], settings["facts"],
            )  # fmt: skip
        except KeyError as error:
            raise CheckpointError(f"{path} is damaged: {error} is missing. Fit the baselines again.") from error


def choose_samples(dataset: RoiDataset, seed: int, max_regions: int) -> list[int]:
    """Which samples the baselines are fitted on: the images in turn, until about ``max_regions`` regions are there.

    Returns:
        Sorted indices into the data set, so that every photograph is read once.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    per_image: dict[str, list[int]] = {}
    counts: dict[int, int] = {}
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        per_image.setdefault(sample.image_id, []).append(index)
        counts[index] = len(sample.labels)
    queues = [[int(i) for i in rng.permutation(per_image[image_id])] for image_id in sorted(per_image)]
    order = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    chosen: list[int] = []
    total = 0
    for index in order:
        if chosen and total + counts[index] > max_regions:
            break
        chosen.append(index)
        total += counts[index]
    return sorted(chosen)


def fit_baselines(dataset: RoiDataset, seed: int = 0, max_regions: int = 4000, show_progress: bool = True) -> Baselines:
    """Fits the baselines on (a seeded choice of) the training data of a model.

    Args:
        dataset: the training split.
        seed: of the choice of samples and of the folds.
        max_regions: about this many regions are used; time grows with it, for the last step with its cube.
        show_progress: whether a bar is shown on standard error.

    Raises:
        DataError: a photograph cannot be read, or no sample has a region.
    """
    started = time.monotonic()
    features, photographs, areas = [], [], []
    labels: list[RegionLabel] = []
    chosen = choose_samples(dataset, seed, max_regions)
    for index in tqdm(chosen, desc="Baselines", unit="samples", disable=not show_progress):
        rendered = dataset[index]
        if not rendered.regions:
            continue
        features.append(_regression_features(rendered.image, rendered.masks))
        photographs += [rendered.scene_id] * len(rendered.regions)
        labels += rendered.labels
        areas += [region.area / (region.height * region.width) for region in rendered.regions]
    if not features:
        raise DataError(f"{dataset.folder}: no sample of the {dataset.split!r} split has a region to fit baselines on.")
    facts = {
        "data": str(dataset.manifest.get("config_hash", "")), "split": dataset.split, "seed": seed,
        "n_samples": len(features), "n_regions": len(labels), "n_photographs": len(set(photographs)),
    }  # fmt: skip
    fitted = fit_arrays(np.concatenate(features), Truth.of_labels(photographs, labels, areas), seed, facts)
    if show_progress:
        spent = time.monotonic() - started
        tqdm.write(
            f"Baselines: {len(labels)} regions of {len(set(photographs))} photographs in {spent:.0f} s", sys.stderr
        )
    return fitted


def fit_arrays(features: np.ndarray, truth: Truth, seed: int, facts: Mapping[str, Any]) -> Baselines:
    """Fits the baselines on features (N, F) and the truth of N regions.

    Raises:
        DataError: of no region the severities are known.
    """
    known = truth.diagnosed
    if not known.any():
        raise DataError("Of no region is it known which distortions it has; the baselines need such training data.")
    severities = truth.severities[known]
    present = (severities > 0).astype(np.float64)  # (K, T)
    groups = truth.photographs.tolist()
    heads = {"quality": fit_kernel_ridge(features, truth.quality[:, None], groups, seed)[0]}
    heads["types"], held_out = fit_kernel_ridge(features[known], present, truth.photographs[known].tolist(), seed)
    scored = np.isfinite(truth.importance)
    if scored.any():
        kept = truth.photographs[scored].tolist()
        heads["importance"] = fit_kernel_ridge(features[scored], truth.importance[scored, None], kept, seed)[0]
    counts = np.stack([(severities == level).sum(axis=0) for level in range(len(SEVERITY_NAMES))])  # (6, T)
    return Baselines(
        quality=float(truth.quality.mean()),
        importance=float(truth.importance[scored].mean()) if scored.any() else None,
        severities=counts.argmax(axis=0),
        types=(present.mean(axis=0) > 0.5).astype(np.float64),
        heads=heads,
        thresholds=best_thresholds(held_out.predicted, present[held_out.rows] > 0),
        facts=dict(facts),
    )


def best_thresholds(predicted: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Per type, the threshold with the best F1; 0.5 where there is nothing to choose by."""
    chosen = np.full(len(DISTORTION_TYPES), 0.5)
    for column in range(len(chosen)):
        true = present[:, column]
        if not true.any():
            continue
        said = predicted[:, column, None] >= _THRESHOLDS  # (N, thresholds)
        hits = (said & true[:, None]).sum(axis=0)
        chosen[column] = _THRESHOLDS[int((2 * hits / (said.sum(axis=0) + true.sum())).argmax())]
    return chosen
