"""Fitting the severity table on a real photograph."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from data_builders.calibrate import (
    TARGETS,
    Photograph,
    built_in_photographs,
    fit_variant,
    folder_photographs,
    median_quality,
    write_table,
)
from seagull_tune.config.base import load_config
from seagull_tune.config.distortions import SeverityTable
from seagull_tune.distortions import VARIANTS
from seagull_tune.errors import DataError


@pytest.fixture(scope="module")
def photographs() -> list[Photograph]:
    """One small photograph, prepared."""
    return [Photograph.of(np.ascontiguousarray(skimage.data.coffee()[60:252, 150:406]))]


def test_fitted_levels_meet_the_targets(photographs: list[Photograph], tmp_path: Path) -> None:
    variant = VARIANTS["exposure", "under"]
    levels = fit_variant(variant, photographs, TARGETS, grid=9)
    assert [level.severity for level in levels] == [1, 2, 3, 4, 5]
    stops = [level.params["stops"] for level in levels]
    assert stops == sorted(stops)
    for level, target in zip(levels, TARGETS, strict=True):
        assert median_quality(variant, level.params, photographs) == pytest.approx(target, abs=0.03)
    table = SeverityTable(targets=TARGETS, measured_on="a test", variants={"exposure": {"under": levels}})
    write_table(table, tmp_path / "severity.yaml")
    assert load_config(SeverityTable, tmp_path / "severity.yaml") == table


def test_a_variant_that_cannot_reach_a_target_does_not_offer_it(photographs: list[Photograph]) -> None:
    levels = fit_variant(VARIANTS["colorfulness", "desaturate"], photographs, (0.9, 0.001), grid=5)
    assert [level.severity for level in levels] == [1]


def test_sources_of_photographs(tmp_path: Path) -> None:
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in built_in_photographs())
    with pytest.raises(DataError, match=r"no .* photograph"):
        folder_photographs(tmp_path, 3)
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.jpg is not a readable image"):
        folder_photographs(tmp_path, 3)
