"""Labels from a metric that judges whole pictures only, such as TOPIQ-FR: the crop of each region's bounding box.

Importance is what it means, literally: the region's pixels are restored and the whole picture is judged again. That
takes 2 R + 1 runs of the metric per sample, R regions; the map labelers take one.

pyiqa is under the PolyForm Noncommercial licence; only this file imports it, and only when a configuration accepts
that. The evaluation's ``crop_metric`` comes from here too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from data_builders.labelers.base import Judge, calibrated, check_distorted, open_masks
from seagull_tune.config.labels import Calibration
from seagull_tune.errors import DataError, MissingDependencyError, did_you_mean
from seagull_tune.fullref.measure import UNSCORED_ABOVE, RegionMeasures
from seagull_tune.regions.masks import box_of_mask
from seagull_tune.regions.windows import MaskWindows

Metric = Callable[[np.ndarray, np.ndarray], float]
"""(reference, distorted), uint8 RGB (H, W, 3) each -> raw value, higher is better."""

MIN_SIDE = 224
"""Smaller crops are enlarged to this short side: networks were trained on pictures of about this size."""


class CropLabeler:
    """A metric on crops. See :class:`data_builders.labelers.base.Labeler`.

    Args:
        metric: what judges a pair of pictures.
        version: names it.
        calibration: raw value -> quality; None takes values in [0, 1] as they are.
    """

    def __init__(self, metric: Metric, version: str, calibration: Calibration | None = None) -> None:
        self._metric, self.calibration = metric, calibration
        self.version = version if calibration is None else f"{version}; {calibration.version}"

    def open(self, reference: np.ndarray, masks: np.ndarray | MaskWindows) -> Judge:
        """The judge of a photograph and its regions."""
        windows = open_masks(reference, masks)
        return _CropJudge(self._metric, self.calibration, reference, windows.masks)


class _CropJudge:
    def __init__(
        self, metric: Metric, calibration: Calibration | None, reference: np.ndarray, masks: np.ndarray
    ) -> None:
        self._metric, self._calibration, self._reference, self._masks = metric, calibration, reference, masks

    def measure(self, distorted: np.ndarray) -> RegionMeasures:
        check_distorted(self._reference, distorted)
        raw = []
        for mask in self._masks:
            x0, y0, x1, y1 = box_of_mask(mask)
            raw.append(self._value(self._reference[y0:y1, x0:x1], distorted[y0:y1, x0:x1]))
        whole = self._value(self._reference, distorted)
        importance = np.full(len(self._masks), np.nan)
        if whole <= UNSCORED_ABOVE:
            for index, mask in enumerate(self._masks):
                restored = np.where(mask[:, :, None], self._reference, distorted)
                gain = self._value(self._reference, restored) - whole
                importance[index] = min(max(gain / (1.0 - whole), 0.0), 1.0)
        return RegionMeasures(calibrated(np.array(raw), self._calibration), importance, min(max(whole, 0.0), 1.0))

    def _value(self, reference: np.ndarray, distorted: np.ndarray) -> float:
        if np.array_equal(reference, distorted):
            return 1.0  # networks do not say 1 exactly for two equal pictures
        scale = MIN_SIDE / min(reference.shape[:2])
        if scale > 1.0:
            reference, distorted = (
                cv2.resize(side, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
                for side in (reference, distorted)
            )
        return self._metric(reference, distorted)


def pyiqa_metric(name: str, device: str) -> Metric:
    """A full-reference metric of pyiqa; its weights come from where pyiqa gets them.

    Raises:
        MissingDependencyError: pyiqa is not installed.
        DataError: pyiqa has no such full-reference metric.
    """
    metric = _pyiqa(name, "FR", device)
    if metric.lower_better:
        raise DataError(f"{name} is a distance; labels need a metric that says 1 for a pristine picture.")
    return lambda reference, distorted: _asked(metric, device, distorted, reference)


def pyiqa_judge(name: str, device: str) -> Callable[[np.ndarray], float]:
    """A no-reference metric of pyiqa: uint8 RGB (H, W, 3) -> value on a scale of its own, higher is better.

    Raises:
        MissingDependencyError: pyiqa is not installed.
        DataError: pyiqa has no such no-reference metric.
    """
    metric = _pyiqa(name, "NR", device)
    sign = -1.0 if metric.lower_better else 1.0
    return lambda picture: sign * _asked(metric, device, picture)


def _pyiqa(name: str, mode: str, device: str) -> Any:
    try:
        import pyiqa
    except ImportError as error:
        raise MissingDependencyError(
            "Metrics of pyiqa need pyiqa: pip install 'seagull-tune[topiq]' (PolyForm Noncommercial licence)."
        ) from error
    known = pyiqa.list_models(metric_mode=mode)
    if name not in known:
        kind = "full-reference" if mode == "FR" else "no-reference"
        raise DataError(f"pyiqa has no {kind} metric {name!r}.{did_you_mean(name, known)}")
    return pyiqa.create_metric(name, device=device, as_loss=False)


def _asked(metric: Any, device: str, *pictures: np.ndarray) -> float:
    import torch

    sides = [
        torch.from_numpy(np.ascontiguousarray(side.transpose(2, 0, 1))).float().div(255.0)[None].to(device)
        for side in pictures
    ]
    with torch.inference_mode():
        return float(metric(*sides))
