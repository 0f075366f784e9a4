"""A desk with a tiny model, and a visit to a photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from seagull_tune.config.web import WebConfig
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.segment import build_segmenter
from seagull_tune.web.desk import Desk
from seagull_tune.web.state import Visit
from tests.tiny import make_tiny_model
from tests.tiny_scorer import SPEC, make_tiny_scorer


@pytest.fixture(scope="package")
def desk() -> Desk:
    """A desk whose pages show photographs at 256 pixels."""
    config = WebConfig(shown_side=256, max_regions=20, max_new_tokens=12)
    return Desk(RegionAssessor(*make_tiny_model(), name="tiny@0"), build_segmenter("graph"), config)


@pytest.fixture(scope="package")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of 400x320 pixels: the page shows it smaller."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[:320, 50:450])).save(path)
    return path


@pytest.fixture
def visit(desk: Desk, photo: Path) -> Visit:
    """A visit to it, without regions."""
    return desk.open(photo)


@pytest.fixture(scope="package")
def scoring_desk(desk: Desk, photo: Path) -> Desk:
    """The same desk, with a scorer that is described by its model."""
    pixels = np.asarray(Image.open(photo))
    spec = SPEC.model_copy(update={"semantics": "numbers"})
    scorer = make_tiny_scorer(spec, [pixels, pixels[:100]], assessor=desk.assessor)
    return Desk(desk.assessor, desk.segmenter, desk.config, scorer)
