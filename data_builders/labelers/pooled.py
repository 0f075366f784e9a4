"""Labelers of one map per picture, pooled under all masks: our measure, and the published ones of ``maps``.

Importance is the region's share of the picture's loss, ``sum of weight (1 - similarity)`` inside over that of the whole
picture, for every labeler alike; not scored where the picture's weighted mean similarity is above ``UNSCORED_ABOVE``.

Legend: H, W image size; R regions; K planes.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from data_builders.labelers.base import Judge, calibrated, check_pair
from data_builders.labelers.maps import MapMetric
from seagull_tune.config.labels import Calibration
from seagull_tune.fullref.features import check_image
from seagull_tune.fullref.measure import (
    MEASURE_VERSION,
    UNSCORED_ABOVE,
    Reference,
    RegionMeasures,
    measure_regions,
)

_CHANNELS = 4  # cv2.mean takes so many at once


class SeagullLabeler:
    """Our masked measure (:mod:`seagull_tune.fullref`). See :class:`data_builders.labelers.base.Labeler`."""

    version = MEASURE_VERSION
    calibration: Calibration | None = None

    def open(self, reference: np.ndarray) -> Judge:
        """The judge of a photograph."""
        return _SeagullJudge(reference)


class _SeagullJudge:
    def __init__(self, reference: np.ndarray) -> None:
        self._reference = Reference(reference)

    def measure(self, distorted: np.ndarray, masks: np.ndarray) -> RegionMeasures:
        return measure_regions(self._reference.compare(distorted), masks)


class MapLabeler:
    """A published measure with its calibration. See :class:`data_builders.labelers.base.Labeler`."""

    def __init__(self, metric: MapMetric, calibration: Calibration | None) -> None:
        self._metric, self.calibration = metric, calibration
        self.version = metric.name if calibration is None else calibration.version

    def open(self, reference: np.ndarray) -> Judge:
        """The judge of a photograph."""
        return _MapJudge(self._metric, self.calibration, reference)


class _MapJudge:
    def __init__(self, metric: MapMetric, calibration: Calibration | None, reference: np.ndarray) -> None:
        check_image(reference, "reference")
        self._metric, self._calibration, self._reference = metric, calibration, reference

    def measure(self, distorted: np.ndarray, masks: np.ndarray) -> RegionMeasures:
        check_pair(self._reference, distorted, masks)
        maps = self._metric.maps(self._reference, distorted)
        weights = maps.weights
        planes = [weights, *(weights * plane for plane in maps.planes), weights * (1.0 - maps.similarity)]
        sums = masked_sums(planes, masks)  # (R, K + 2)
        whole = masked_sums(planes, np.ones((1, *distorted.shape[:2]), np.bool_))[0]
        raw = self._metric.score(sums[:, 1:-1] / sums[:, :1])
        image_quality = float(1.0 - whole[-1] / whole[0])
        if image_quality > UNSCORED_ABOVE:
            importance = np.full(len(masks), np.nan)
        else:
            importance = np.clip(sums[:, -1] / whole[-1], 0.0, 1.0)
        return RegionMeasures(calibrated(raw, self._calibration), importance, image_quality)


def masked_sums(planes: Sequence[np.ndarray], masks: np.ndarray) -> np.ndarray:
    """Sums of planes, float32 (H, W) each, under masks, bool (R, H, W): float64 (R, number of planes)."""
    masks = np.ascontiguousarray(masks)
    areas = np.array([np.count_nonzero(mask) for mask in masks], np.float64)[:, None]
    columns = []
    for start in range(0, len(planes), _CHANNELS):
        part = [np.ascontiguousarray(plane, dtype=np.float32) for plane in planes[start : start + _CHANNELS]]
        merged = cv2.merge(part)
        # cv2.mean sums in double precision, all planes in one look at the mask.
        means = [cv2.mean(merged, mask.view(np.uint8))[: len(part)] for mask in masks]
        columns.append(np.array(means, np.float64).reshape(-1, len(part)))
    return np.concatenate(columns, axis=1) * areas
