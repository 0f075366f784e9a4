"""Labelers: reference, distorted picture, masks -> quality and importance of every region."""

from __future__ import annotations

from data_builders.labelers.base import Judge, Labeler, shipped_calibration
from data_builders.labelers.maps import METRICS
from data_builders.labelers.pooled import MapLabeler, SeagullLabeler
from seagull_tune.config.labels import LabelSource

__all__ = ["Judge", "Labeler", "make_labeler"]


def make_labeler(config: LabelSource) -> Labeler:
    """The labeler of a configuration.

    Raises:
        DataError: no calibration for the method, or an unknown metric.
        MissingDependencyError: pyiqa is not installed.
    """
    if config.method == "seagull":
        return SeagullLabeler()
    if config.method == "pyiqa":
        from data_builders.labelers.crops import CropLabeler, pyiqa_metric

        return CropLabeler(pyiqa_metric(config.metric, config.device), f"pyiqa {config.metric}", config.calibration)
    return MapLabeler(METRICS[config.method], config.calibration or shipped_calibration(config.method))
