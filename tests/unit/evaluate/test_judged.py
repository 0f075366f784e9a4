"""Truth and readings beside the figures: a round trip, and refusals that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.evaluate.judged import Judged, judged_path
from seagull_tune.evaluate.protocols import evaluate_model


def test_a_round_trip(assessor: Any, roi: RoiDataset, out: Path) -> None:
    settings = EvaluationSettings(bootstrap_draws=0, texts_per_image=0)
    evaluation = evaluate_model(assessor, roi, settings, out, show_progress=False)
    found = Judged.load(out)
    assert found.samples.tolist() == evaluation.samples.tolist()
    assert set(found.readings) == set(evaluation.readings)
    for left, right in ((found.truth, evaluation.truth), (found.readings["model"], evaluation.readings["model"])):
        for name, value in right.__dict__.items():
            assert getattr(left, name).dtype == value.dtype
            assert np.array_equal(getattr(left, name), value, equal_nan=value.dtype.kind == "f"), name
    levels = found.readings["model"].quality_levels
    assert levels is not None and levels.shape == (len(found.truth), 5)


def test_what_is_missing_or_damaged_is_named(assessor: Any, roi: RoiDataset, out: Path) -> None:
    with pytest.raises(DataError, match=r"no metrics\.json\.judged\.npz beside .*Run the measurement again"):
        Judged.load(out)
    evaluate_model(
        assessor, roi, EvaluationSettings(bootstrap_draws=0, texts_per_image=0), out, show_progress=False
    )  # fmt: skip
    path = judged_path(out)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not an archive"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            Judged.load(out)
    with path.open("wb") as file:
        np.savez(file, samples=np.array(["a"]))
    with pytest.raises(DataError, match="damaged"):
        Judged.load(out)
