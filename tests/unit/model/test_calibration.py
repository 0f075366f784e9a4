"""The file beside the weights: a round trip, refused where it is damaged or stale, and what applying it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from seagull_tune.errors import CheckpointError
from seagull_tune.levels import level_score, said_severity
from seagull_tune.model.calibration import (
    CALIBRATION,
    Calibration,
    ScoreMap,
    expected_levels,
    load_calibration,
    tempered,
    with_means,
)
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.model.merge import check_merge, merge_checkpoint
from seagull_tune.records import Region, Scores
from seagull_tune.regions.boxes import box_region
from tests.tiny import make_tiny_checkpoint

MAP = ScoreMap(temperature=2.0, raw=(0.0, 0.5, 1.0), calibrated=(0.1, 0.4, 0.9), means=(0.05, 0.3, 0.95))
SEVERITIES = (0.2, 0.1, 0.4, 0.2, 0.05, 0.05)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("calibration") / "model")


@pytest.fixture
def stored(checkpoint: Path) -> Calibration:
    (checkpoint / CALIBRATION).unlink(missing_ok=True)
    return make(model_digest(checkpoint))


def make(digest: str = "0", **changes: object) -> Calibration:
    values = {
        "model": digest, "quality": MAP, "importance": None, "types_temperature": 2.0, "max_deviation": 0.25,
        "min_pixels": 100, "facts": {"split": "validation"},
    }  # fmt: skip
    return Calibration.model_validate({**values, **changes})


def make_scores(quality_levels: tuple[float, ...] = (0.0, 0.1, 0.2, 0.7, 0.0)) -> Scores:
    return Scores(
        level_score(quality_levels), 0.25, quality_levels, (0.0, 1.0, 0.0, 0.0, 0.0), {"blur": SEVERITIES},
        {"blur": 0.8},
    )  # fmt: skip


def test_a_round_trip(checkpoint: Path, stored: Calibration) -> None:
    assert load_calibration(checkpoint) is None, "it is no required part"
    assert stored.save(checkpoint) == checkpoint / CALIBRATION
    assert load_calibration(checkpoint) == stored
    assert not list(checkpoint.glob("*.partial"))
    other = make(model_digest(checkpoint), types_temperature=1.0)
    other.save(checkpoint)
    assert load_calibration(checkpoint) == other and other.digest != stored.digest
    assert make("1", facts={}).digest == make("2").digest, "what answers depend on, nothing else"


@pytest.mark.parametrize(
    "damage",
    [
        b"{", b"\xff\xfe", b"[]", {"version": 2}, {"types_temperature": 0.0}, {"max_deviation": "NaN"}, {"surprise": 1},
        {"quality": {"temperature": 1.0, "raw": [0.0, 1.0], "calibrated": [0.9, 0.1], "means": [0.0, 1.0]}},
        {"quality": {"temperature": 1.0, "raw": [0.0, 0.5], "calibrated": [0.0, 0.5], "means": [0.0, 1.0]}},
        {"quality": {"temperature": 1.0, "raw": [0.0, 0.5, 1.0], "calibrated": [0.0, 1.0], "means": [0.0, 1.0]}},
        {"quality": {"temperature": 1.0, "raw": [0.0, 1.0], "calibrated": [0.0, 1.0], "means": [0.0, 1.5]}},
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused_with_the_remedy(checkpoint: Path, stored: Calibration, damage: object) -> None:
    path = stored.save(checkpoint)
    if isinstance(damage, bytes):
        path.write_bytes(damage)
    else:
        assert isinstance(damage, dict)
        path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(CheckpointError, match=r"calibration\.json is damaged.*seagull-tune calibrate --model"):
        load_calibration(checkpoint)


def test_a_calibration_of_other_weights_is_refused(checkpoint: Path, stored: Calibration) -> None:
    stored.model_copy(update={"model": "feedfacefeed"}).save(checkpoint)
    with pytest.raises(CheckpointError, match=r"belongs to the weights feedfacefeed.*seagull-tune calibrate"):
        load_calibration(checkpoint)
    with pytest.raises(CheckpointError, match="feedfacefeed"):
        check_merge(checkpoint, checkpoint.with_name("merged"))


def test_merging_carries_it(checkpoint: Path, stored: Calibration, tmp_path: Path) -> None:
    stored.save(checkpoint)
    merge_checkpoint(checkpoint, tmp_path / "merged")
    found = load_calibration(tmp_path / "merged")
    assert found is not None and found.model == model_digest(tmp_path / "merged")
    assert found.digest == stored.digest and found.facts == stored.facts


def test_scores_keep_their_order_and_levels_have_their_means() -> None:
    rng = np.random.default_rng(0)
    levels = rng.dirichlet(np.full(5, 0.3), 200)
    found = make().apply([make_scores(tuple(row)) for row in levels.tolist()])
    raw, scores = expected_levels(levels), np.array([s.quality for s in found])
    order = np.argsort(raw)
    assert (np.diff(scores[order]) >= 0).all() and scores.min() >= 0.1 and scores.max() <= 0.9
    means = np.interp(raw, MAP.raw, MAP.means)
    assert [level_score(s.quality_levels) for s in found] == pytest.approx(means.tolist(), abs=1e-6)
    assert all(s.importance == 0.25 and s.importance_levels == (0.0, 1.0, 0.0, 0.0, 0.0) for s in found)
    assert make().apply([]) == []
    alone = make().apply([make_scores(tuple(levels[7].tolist()))])[0]
    assert alone.quality == pytest.approx(found[7].quality, abs=1e-12)


def test_the_types_that_are_named_stay_as_they_are() -> None:
    found = make().apply([make_scores()])[0]
    assert found.types["blur"] == pytest.approx(1 / (1 + 0.25**0.5))
    assert found.types["blur"] == pytest.approx(1.0 - found.severities["blur"][0])
    assert sum(found.severities["blur"]) == pytest.approx(1.0)
    assert said_severity(found.severities["blur"]) == said_severity(SEVERITIES)
    certain = Scores(0.5, 0.5, (0.2,) * 5, (0.2,) * 5, {"blur": (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)}, {"blur": 0.0})
    assert make().apply([certain])[0].severities == certain.severities


def test_abstaining() -> None:
    calibration, region = make(), box_region((0, 0, 50, 50), 100, 100)
    sure, torn = make_scores((0.0, 0.0, 1.0, 0.0, 0.0)), make_scores((0.5, 0.0, 0.0, 0.0, 0.5))
    assert not calibration.abstains(sure, region, (100, 100))
    assert calibration.abstains(torn, region, (100, 100))
    # A quarter of the picture; at 18 x 22 pixels the tower sees 99 of it.
    assert calibration.abstains(sure, region, (18, 22)) and not calibration.abstains(sure, region, (20, 20))
    assert isinstance(region, Region)


def test_extremes_stay_numbers() -> None:
    certain = np.eye(5)
    for temperature in (0.2, 10.0):
        levels = with_means(tempered(certain, temperature), np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
        assert np.isfinite(levels).all()
        np.testing.assert_allclose(expected_levels(levels), [0.0, 0.25, 0.5, 0.75, 1.0], atol=1e-3)
