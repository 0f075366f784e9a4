"""What all labelers share: the protocol, and the map from raw values to quality.

Legend: H, W image size; R regions.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from seagull_tune.config.base import load_config
from seagull_tune.config.labels import Calibration, CalibrationTable
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.fullref.features import check_image
from seagull_tune.fullref.measure import RegionMeasures
from seagull_tune.regions.windows import MaskWindows

CALIBRATION_ASSET = "configs/data/label-calibration.yaml"


class Judge(Protocol):
    """One photograph's side of a measure, and its regions, opened once for many distorted versions."""

    def measure(self, distorted: np.ndarray) -> RegionMeasures:
        """Quality and importance of every region.

        Args:
            distorted: uint8 RGB (H, W, 3), the size of the reference.

        Raises:
            DataError: the image cannot be used.
        """
        ...


class Labeler(Protocol):
    """A full-reference measure of regions.

    Attributes:
        version: names measure and calibration; stored with every data set.
        calibration: the map from raw values to quality; None where it belongs to the measure, or values are taken as
            they are.
    """

    version: str
    calibration: Calibration | None

    def open(self, reference: np.ndarray, masks: np.ndarray | MaskWindows) -> Judge:
        """The judge of a photograph and its regions.

        Args:
            reference: uint8 RGB (H, W, 3).
            masks: bool (R, H, W), each with at least one pixel, may overlap; or the same prepared.

        Raises:
            DataError: the image cannot be used.  RegionError: a mask cannot be used.
        """
        ...


def shipped_calibration(method: str) -> Calibration:
    """The calibration of ``configs/data/label-calibration.yaml``.

    Raises:
        DataError: it has none for this method.
    """
    methods = load_config(CalibrationTable, CALIBRATION_ASSET).methods
    if method not in methods:
        raise DataError(f"{CALIBRATION_ASSET} has no calibration of {method!r}.{did_you_mean(method, methods)}")
    return methods[method]


def open_masks(reference: np.ndarray, masks: np.ndarray | MaskWindows) -> MaskWindows:
    """Checks what a judge is opened with, and prepares the masks.

    Raises:
        DataError: the reference is no uint8 RGB image.  RegionError: a mask is empty, or of another size.
    """
    check_image(reference, "reference")
    windows = MaskWindows.of(masks)
    windows.check_size(reference.shape[:2])
    return windows


def check_distorted(reference: np.ndarray, distorted: np.ndarray) -> None:
    """Checks what a judge is asked about; ``reference`` was checked when it was opened.

    Raises:
        DataError: the distorted image is no uint8 RGB image, or of another size.
    """
    check_image(distorted, "distorted")
    if distorted.shape != reference.shape:
        raise DataError(f"The distorted image is {distorted.shape}, its reference {reference.shape}; one size.")


def calibrated(raw: np.ndarray, calibration: Calibration | None) -> np.ndarray:
    """Quality, float64 (R,) in [0, 1], of raw values (R,); without a calibration values are clipped only."""
    if calibration is None:
        return np.clip(raw, 0.0, 1.0)
    return np.interp(raw, calibration.raw, calibration.quality)
