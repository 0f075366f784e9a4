"""What is read of one sample: by the model, by its direct head, and by everything that stands beside them.

Legend: H, W image size; R regions of an image.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import cv2
import numpy as np

from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.data.reader import RenderedSample
from seagull_tune.errors import DataError
from seagull_tune.evaluate.baselines import CLASSICAL, TRIVIAL, Baselines
from seagull_tune.evaluate.outcomes import DIRECT, MODEL, RAW, Reading
from seagull_tune.evaluate.predictions import Prediction, TextResult
from seagull_tune.records import Region, RegionAssessment
from seagull_tune.regions.boxes import box_region

CROP, BOX_DRAWN = "crop", "box_drawn"
RED = (255, 0, 0)
MIN_SIDE = 32
"""Smaller crops are enlarged to this short side before a metric of others sees them."""

Metric = Callable[[np.ndarray], float]
"""A picture uint8 (H, W, 3), sRGB -> its value, higher is better, on any scale."""

Reader = Callable[[np.ndarray, Sequence[Region], np.ndarray], Reading]
"""(picture uint8 (H, W, 3), R regions, masks bool (R, H, W)) -> what is said of the R regions."""


class Assessor(Protocol):
    """What is measured; :class:`seagull_tune.infer.assessor.RegionAssessor` is one."""

    name: str
    bf16: bool

    def assess(
        self, image: np.ndarray, regions: Sequence[Region], text: Collection[int] = ()
    ) -> list[RegionAssessment]:
        """Judges regions of one photograph uint8 (H, W, 3), in their order, those in ``text`` also in words."""
        ...


class Judge:
    """Reads samples with a model and its baselines, and only what is missing of each.

    Args:
        assessor: the model.
        baselines: those stored with it; None leaves them out.
        extra: further readers by name, see :func:`extra_readers`.

    Attributes:
        names: all readers, in the order of the figures; of a calibrated model, ``RAW`` comes with its own.
    """

    def __init__(self, assessor: Assessor, baselines: Baselines | None, extra: Mapping[str, Reader]) -> None:
        self._assessor, self._baselines, self._extra = assessor, baselines, dict(extra)
        stored = (TRIVIAL, CLASSICAL) if baselines is not None else ()
        self.names: tuple[str, ...] = (MODEL, DIRECT, *stored, *self._extra)

    def complete(self, done: Prediction | None, described: Sequence[int]) -> bool:
        """Whether nothing is missing of a sample of which the regions ``described`` are to be put in words."""
        if done is None:
            return False
        return set(described) <= {text.region for text in done.texts} and set(self.names) <= set(done.readings)

    def read(self, rendered: RenderedSample, described: Sequence[int], done: Prediction | None) -> Prediction:
        """Reads what is missing of one sample with at least one region."""
        readings = dict(done.readings) if done is not None else {}
        texts, seconds = (done.texts, done.seconds) if done is not None else ((), 0.0)
        if done is None or MODEL not in readings or not set(described) <= {text.region for text in texts}:
            started = time.monotonic()
            answers = self._assessor.assess(rendered.image, rendered.regions, text=described)
            seconds = time.monotonic() - started
            readings[MODEL] = Reading.of_scores([answer.scores for answer in answers])
            readings[DIRECT] = Reading.of_scores([answer.direct for answer in answers])
            raw = [answer.raw for answer in answers if answer.raw is not None]
            if raw:
                readings[RAW] = Reading.of_scores(raw)
            texts = tuple(TextResult(i, answers[i].text, answers[i].unparsable) for i in described)
        if self._baselines is not None and not {TRIVIAL, CLASSICAL} <= set(readings):
            readings |= self._baselines.predict(rendered.image, rendered.masks)
        for name, reader in self._extra.items():
            if name not in readings:
                readings[name] = reader(rendered.image, rendered.regions, rendered.masks)
        return Prediction(rendered.sample.sample_id, readings, texts, seconds)


def extra_readers(
    settings: EvaluationSettings, assessor: Assessor, baselines: Baselines | None, metric: Metric | None
) -> dict[str, Reader]:
    """The optional baselines that the settings name.

    Args:
        settings: which.
        assessor: the model.
        baselines: without them, ``crop`` is left out.
        metric: what ``settings.crop_metric`` names; whoever starts the measurement brings it.

    Raises:
        DataError: a metric is named, and none was brought.
    """
    found: dict[str, Reader] = {}
    if CROP in settings.baselines and baselines is not None:
        found[CROP] = _classical_on_boxes(baselines)
    if settings.crop_metric is not None:
        if metric is None:
            raise DataError(f"evaluation.crop_metric names {settings.crop_metric.metric!r}, but no metric was brought.")
        found[metric_reader_name(settings.crop_metric.metric)] = _metric_on_crops(metric)
    if BOX_DRAWN in settings.baselines:
        found[BOX_DRAWN] = _model_on_drawn_boxes(assessor)
    return found


def metric_reader_name(metric: str) -> str:
    """What a metric of others is called among the baselines."""
    return f"{CROP}_{metric}"


def _classical_on_boxes(baselines: Baselines) -> Reader:
    def read(image: np.ndarray, regions: Sequence[Region], masks: np.ndarray) -> Reading:
        boxes = np.zeros_like(masks)
        for box, region in zip(boxes, regions, strict=True):
            x0, y0, x1, y1 = region.box_xyxy
            box[y0:y1, x0:x1] = True
        return baselines.predict(image, boxes)[CLASSICAL]

    return read


def _metric_on_crops(metric: Metric) -> Reader:
    def read(image: np.ndarray, regions: Sequence[Region], masks: np.ndarray) -> Reading:
        values = []
        for region in regions:
            x0, y0, x1, y1 = region.box_xyxy
            crop = np.ascontiguousarray(image[y0:y1, x0:x1])
            scale = MIN_SIDE / min(crop.shape[:2])
            if scale > 1.0:
                crop = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            value = metric(crop)
            if not np.isfinite(value):
                raise DataError(f"The metric says {value!r} of the crop {region.box_xyxy}; allowed: finite numbers.")
            values.append(value)
        return Reading(quality=np.array(values, np.float64))

    return read


def _model_on_drawn_boxes(assessor: Assessor) -> Reader:
    def read(image: np.ndarray, regions: Sequence[Region], masks: np.ndarray) -> Reading:
        height, width = image.shape[:2]
        whole = box_region((0, 0, width, height), height, width)
        answers = [assessor.assess(draw_box(image, region.box_xyxy), [whole])[0] for region in regions]
        said = Reading.of_scores([answer.scores for answer in answers])
        # The importance of a whole picture for itself says nothing of the box.
        return replace(said, importance=None)

    return read


def draw_box(image: np.ndarray, box_xyxy: tuple[int, int, int, int]) -> np.ndarray:
    """A copy of a picture uint8 (H, W, 3) with a red frame around a box, outside of it where there is room.

    So the evidence inside stays as it is; the frame is about 0.6 % of the longer side thick, at least two pixels.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box_xyxy
    thick = max(2, round(max(height, width) * 0.006))
    left, top, right, bottom = max(0, x0 - thick), max(0, y0 - thick), min(width, x1 + thick), min(height, y1 + thick)
    out = image.copy()
    out[top : top + thick, left:right] = RED
    out[bottom - thick : bottom, left:right] = RED
    out[top:bottom, left : left + thick] = RED
    out[top:bottom, right - thick : right] = RED
    return out
