"""Labelers of one map per picture, pooled under all masks: our measure, and the published ones of ``maps``.

Importance is the region's share of the picture's loss, ``sum of weight (1 - similarity)`` inside over that of the whole
picture, for every labeler alike; not scored where the picture's weighted mean similarity is above ``UNSCORED_ABOVE``.

Legend: H, W image size; R regions; K planes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_builders.labelers.base import Judge, calibrated, check_distorted, open_masks
from data_builders.labelers.maps import MapMetric
from seagull_tune.config.labels import Calibration
from seagull_tune.fullref.measure import (
    MEASURE_VERSION,
    UNSCORED_ABOVE,
    Reference,
    RegionMeasures,
    measure_regions,
)
from seagull_tune.regions.windows import CHANNELS, MaskWindows


class SeagullLabeler:
    """Our masked measure (:mod:`seagull_tune.fullref`). See :class:`data_builders.labelers.base.Labeler`."""

    version = MEASURE_VERSION
    calibration: Calibration | None = None

    def open(self, reference: np.ndarray, masks: np.ndarray | MaskWindows) -> Judge:
        """The judge of a photograph and its regions."""
        return _SeagullJudge(reference, masks)


class _SeagullJudge:
    def __init__(self, reference: np.ndarray, masks: np.ndarray | MaskWindows) -> None:
        self._windows = open_masks(reference, masks)
        self._reference = Reference(reference)

    def measure(self, distorted: np.ndarray) -> RegionMeasures:
        return measure_regions(self._reference.compare(distorted), self._windows)


class MapLabeler:
    """A published measure with its calibration. See :class:`data_builders.labelers.base.Labeler`."""

    def __init__(self, metric: MapMetric, calibration: Calibration | None) -> None:
        self._metric, self.calibration = metric, calibration
        self.version = metric.name if calibration is None else calibration.version

    def open(self, reference: np.ndarray, masks: np.ndarray | MaskWindows) -> Judge:
        """The judge of a photograph and its regions."""
        return _MapJudge(self._metric, self.calibration, reference, masks)


class _MapJudge:
    def __init__(
        self,
        metric: MapMetric,
        calibration: Calibration | None,
        reference: np.ndarray,
        masks: np.ndarray | MaskWindows,
    ) -> None:
        self._windows = open_masks(reference, masks)
        self._everything = MaskWindows(np.ones((1, *reference.shape[:2]), np.bool_))
        self._metric, self._calibration, self._reference = metric, calibration, reference

    def measure(self, distorted: np.ndarray) -> RegionMeasures:
        check_distorted(self._reference, distorted)
        maps = self._metric.maps(self._reference, distorted)
        weights = maps.weights
        planes = [weights, *(weights * plane for plane in maps.planes), weights * (1.0 - maps.similarity)]
        sums = masked_sums(planes, self._windows)  # (R, K + 2)
        whole = masked_sums(planes, self._everything)[0]
        raw = self._metric.score(sums[:, 1:-1] / sums[:, :1])
        image_quality = float(1.0 - whole[-1] / whole[0])
        if image_quality > UNSCORED_ABOVE:
            importance = np.full(len(sums), np.nan)
        else:
            importance = np.clip(sums[:, -1] / whole[-1], 0.0, 1.0)
        return RegionMeasures(calibrated(raw, self._calibration), importance, image_quality)


def masked_sums(planes: Sequence[np.ndarray], windows: MaskWindows) -> np.ndarray:
    """Sums of planes, float32 (H, W) each, under R masks: float64 (R, number of planes)."""
    columns = []
    for start in range(0, len(planes), CHANNELS):
        part = [np.ascontiguousarray(plane, dtype=np.float32) for plane in planes[start : start + CHANNELS]]
        columns.append(windows.means(np.dstack(part)))
    return np.concatenate(columns, axis=1) * windows.areas[:, None]
