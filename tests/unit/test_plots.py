"""A training log as lines."""

from __future__ import annotations

import numpy as np

from seagull_tune.plots import logged

LOG = (
    {"loss": 2.0, "loss_level": 1.0, "step": 1},
    {"loss": float("nan"), "step": 2, "note": "text", "flag": True},
    {"eval_loss": 3, "step": 2},
    {"loss": 1.0},
    {"loss": 0.5, "step": 3},
)


def test_a_log_is_read_by_name_and_what_cannot_be_drawn_is_left_out() -> None:
    found = logged(LOG)
    assert sorted(found) == ["eval_loss", "loss", "loss_level"]
    np.testing.assert_array_equal(found["loss"], [[1, 3], [2.0, 0.5]])
    assert logged([]) == {}
