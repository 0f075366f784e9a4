"""Configuration of `calibrate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seagull_tune.config.answer import Engine
from seagull_tune.config.base import StrictModel


class CalibrationSettings(StrictModel):
    """How a calibration is fitted.

    Attributes:
        folds: the photographs are divided into so many parts; every region is reported with what was fitted on the
            other parts.
        min_regions, min_photographs: fewer of them are refused.
        knots: inner knots of the monotone map, at even shares of the raw scores.
        prior: so many regions' worth of weight pulls every knot to where it would change nothing: where few scores lie,
            the map stays near the raw score.
        min_slope: of the map; above 0, so that no two regions become equal.
        keep: share of the regions that are relied on; of the others, whose deviation is largest, the model abstains.
        min_pixels: the model also abstains for regions of fewer pixels of the photograph as the vision tower sees it.
            256 is 16 x 16, a cell of the map of stride 16.
    """

    folds: Annotated[int, Field(ge=2, le=50)] = 5
    min_regions: Annotated[int, Field(ge=20)] = 200
    min_photographs: Annotated[int, Field(ge=2)] = 5
    knots: Annotated[int, Field(ge=1, le=20)] = 5
    prior: Annotated[float, Field(gt=0.0)] = 3.0
    min_slope: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.9
    min_pixels: Annotated[int, Field(ge=0)] = 256


class CalibrateConfig(StrictModel):
    """What `seagull-tune calibrate` does.

    Attributes:
        model: checkpoint folder; the calibration is stored in it.
        data: data set, of photographs that the model was not trained on.
        image_root: where its photographs are now, if they were moved.
        split: split of the data set. Of ``train`` the model is surer than of anything else; and what it was calibrated
            on cannot test it any more.
        out: folder of the predictions and the figure; None takes ``<model>-calibration``.
        calibration: how it is fitted.
        engine: where and how the model runs.
    """

    model: str = "runs/quickstart/model"
    data: Annotated[str, Field(min_length=1)]
    image_root: str | None = None
    split: Literal["validation", "test"] = "validation"
    out: str | None = None
    calibration: CalibrationSettings = CalibrationSettings()
    engine: Engine = Engine()
