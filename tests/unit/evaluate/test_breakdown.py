"""Figures by group: the right regions in each, and null with a note where a group says nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seagull_tune.evaluate.breakdown import SIZES, breakdown_of, groups_of
from seagull_tune.evaluate.figures import Notes
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES


def _truth(count: int = 40) -> Truth:
    rng = np.random.default_rng(1)
    severities = np.zeros((count, 8), np.int64)
    severities[np.arange(count), np.arange(count) % 4] = np.arange(count) % 6
    quality = 1.0 - severities.max(axis=1) / 6 - rng.random(count) / 20
    return Truth(np.repeat(np.arange(count // 4), 4).astype(str), quality, quality / 2, severities, rng.random(count))


def test_every_region_is_in_its_groups() -> None:
    truth = _truth()
    groups = groups_of(truth)
    assert list(groups) == ["type", "severity", "size"]
    assert list(groups["type"]) == list(DISTORTION_TYPES) and list(groups["severity"]) == list(SEVERITY_NAMES)
    for axis in ("severity", "size"):
        assert (np.sum(list(groups[axis].values()), axis=0) == 1).all(), "one group of each axis"
    assert (groups["type"]["blur"] == (truth.severities[:, 0] > 0)).all()
    assert (groups["severity"]["serious"] == (truth.severities.max(axis=1) == 4)).all()
    low, high = SIZES["medium"]
    assert (groups["size"]["medium"] == ((truth.area >= low) & (truth.area < high))).all()
    whole = Truth(**{**truth.__dict__, "area": np.ones(len(truth))})
    assert groups_of(whole)["size"]["large"].all(), "a region may be the whole picture"


def test_figures_of_a_group_are_those_of_its_regions_alone() -> None:
    truth, notes = _truth(), Notes()
    wrong = np.where(truth.severities.max(axis=1) == 5, 1.0 - truth.quality, truth.quality) + 0.01
    reading = Reading(wrong, truth.importance, (truth.severities > 0) * 1.0, truth.severities)
    found = breakdown_of(reading, truth, notes)
    severe, slight = found["severity"]["catastrophic"], found["severity"]["slight"]
    assert severe["quality"]["srcc"] == pytest.approx(-1.0) and slight["quality"]["srcc"] == pytest.approx(1.0)
    assert slight["quality"]["bias"] == pytest.approx(0.01) and slight["quality"]["rmse"] == pytest.approx(0.01)
    assert severe["types"]["sample_f1"] == severe["severity"]["sample_f1"] == 1.0
    assert sum(group["n_regions"] for group in found["severity"].values()) == len(truth)
    assert found["type"]["resolution"]["n_regions"] == 0
    assert found["type"]["resolution"]["quality"] == {"srcc": None, "rmse": None, "bias": None}
    (line,) = (line for line in notes.lines if line.startswith("breakdown.type"))
    assert "resolution (there are 0 regions; 3 are needed)" in line and "blur" not in line
    json.dumps(found, allow_nan=False)


def test_what_nobody_diagnosed_is_only_cut_by_size() -> None:
    truth, notes = _truth(), Notes()
    unknown = Truth(**{**truth.__dict__, "severities": np.full((len(truth), 8), -1)})
    found = breakdown_of(Reading(quality=truth.quality), unknown, notes, ("quality",))
    assert list(found) == ["size"] and set(found["size"]["large"]) == {"n_regions", "n_photographs", "quality"}
    assert [line.split(":")[0] for line in notes.lines][:2] == ["breakdown.type", "breakdown.severity"]
