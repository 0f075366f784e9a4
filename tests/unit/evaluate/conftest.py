"""A small real data set, and an assessor whose answers are simple functions of the pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.evaluate.baselines import Baselines, fit_baselines
from seagull_tune.levels import DISTORTION_TYPES, soft_levels
from seagull_tune.records import Region, RegionAssessment, Scores
from seagull_tune.regions.masks import decode

SAMPLES = 5


@pytest.fixture(scope="session")
def roi(tmp_path_factory: pytest.TempPathFactory) -> RoiDataset:
    """Three photographs of about 160 pixels, five samples each."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name in ("astronaut", "chelsea", "coffee"):
        image = getattr(skimage.data, name)()
        scale = 160 / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        Image.fromarray(small).save(folder / f"{name}.png")
    values = {"source": str(folder), "samples_per_image": SAMPLES, "seed": 3, "split": {"all_into": "test"}}
    build_dataset(BuildConfig.model_validate(values), folder / "roi", show_progress=False)
    return RoiDataset(folder / "roi", "test")


@pytest.fixture(scope="session")
def baselines(roi: RoiDataset) -> Baselines:
    """Baselines fitted on the same data set (nothing here tests how well they generalise)."""
    return fit_baselines(roi, seed=1, max_regions=400, show_progress=False)


def make_scores(quality: float, importance: float, severities: Sequence[int]) -> Scores:
    """Scores whose most probable severities are the given ones."""
    per_type = {}
    for name, severity in zip(DISTORTION_TYPES, severities, strict=True):
        row = np.full(6, 0.02)
        row[severity] = 0.9
        per_type[name] = tuple(row.tolist())
    types = {name: 1.0 - row[0] for name, row in per_type.items()}
    return Scores(quality, importance, soft_levels(quality), soft_levels(importance), per_type, types)


class PixelAssessor:
    """Answers from the region's contrast and brightness; counts its calls, and can be made to fail."""

    bf16 = False

    def __init__(self, name: str = "pixels@0", unparsable: Callable[[Region], bool] = lambda region: False) -> None:
        self.name, self.unparsable = name, unparsable
        self.calls = 0
        self.described = 0
        self.fail_at: int | None = None

    def assess(
        self, image: np.ndarray, regions: Sequence[Region], text: Collection[int] = ()
    ) -> list[RegionAssessment]:
        """One assessment per region."""
        self.calls += 1
        if self.fail_at is not None and self.calls >= self.fail_at:
            raise KeyboardInterrupt
        return [self._assess(image, region, index in text) for index, region in enumerate(regions)]

    def _assess(self, image: np.ndarray, region: Region, text: bool) -> RegionAssessment:
        self.described += text
        grey = image[decode(region)].mean(axis=1) / 255.0
        quality, importance = float(np.clip(2 * grey.std(), 0, 1)), float(grey.mean())
        severities = [int(5 * quality)] + [0] * 7
        return RegionAssessment(
            region=region,
            scores=make_scores(quality, importance, severities),
            direct=make_scores(importance, quality, [0] * 8),
            text="It is fine." if text else "",
            unparsable=text and self.unparsable(region),
            model_id=self.name,
            resolution=image.shape[:2],
        )


@pytest.fixture
def assessor() -> PixelAssessor:
    """A fresh assessor."""
    return PixelAssessor()


@pytest.fixture
def make_assessor() -> type[PixelAssessor]:
    """The assessor's class, for tests that need several."""
    return PixelAssessor


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where a metrics file goes."""
    return tmp_path / "run" / "metrics.json"
