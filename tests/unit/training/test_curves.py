"""The picture of a run: what is drawn, and what it is drawn from."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seagull_tune.training.curves import CURVES, draw_curves, panels_of, running_mean, write_curves


def _log(n: int) -> list[dict[str, Any]]:
    """As our Trainer logs: a step every 10, an evaluation every 50, the means of the run at its end."""
    log: list[dict[str, Any]] = []
    for step in range(10, 10 * n + 1, 10):
        fall = 1 / (1 + step / 50)
        log.append(
            {
                "loss": 3 * fall, "loss_level": 2 * fall, "loss_answer": fall, "grad_norm": 1 + fall,
                "learning_rate": 1e-3 * fall, "lr_mfe": 1e-4 * fall, "lr_language_model": 1e-3 * fall,
                "samples_per_second": 4.0, "epoch": 1.0, "step": step,
            }
        )  # fmt: skip
        if step % 50 == 0:
            log.append({"eval_loss": 3.5 * fall, "eval_loss_level": 2.2 * fall, "eval_runtime": 9.0, "step": step})
    return [*log, {"train_runtime": 60.0, "train_loss": 1.0, "step": 10 * n}]


@pytest.mark.parametrize("name", ["a$b_{$c ünï", "caf\udce9"], ids=["formula", "no Unicode"])
def test_any_name_of_a_folder_is_drawn(name: str) -> None:
    assert draw_curves(_log(1), name) is not None


def test_every_loss_has_a_panel_and_the_held_out_values_are_in_it() -> None:
    panels = {panel.title: panel for panel in panels_of(_log(20))}
    assert list(panels) == [
        "Loss: all (weighted sum)", "Loss: level", "Loss: answer", "Learning rates", "Gradient norm", "Throughput"
    ]  # fmt: skip
    level = panels["Loss: level"]
    assert level.held_out is not None and level.held_out[0].tolist() == [50, 100, 150, 200]
    assert panels["Loss: answer"].held_out is None and len(panels["Loss: answer"].lines["training"][0]) == 20
    assert set(panels["Learning rates"].lines) == {"mfe", "language_model"}
    assert panels["Throughput"].unit == "samples / s"


def test_other_figures_of_evaluations_have_panels_of_their_own() -> None:
    (panel,) = panels_of([{"eval_quality_srcc": 0.5, "eval_samples_per_second": 3.0, "step": 10}])
    assert panel.title == "Held out: quality srcc" and panel.lines == {}


@pytest.mark.parametrize("n", [1, 5, 200])
def test_logs_of_any_length_are_drawn(n: int) -> None:
    drawn = draw_curves(_log(n), "run")
    assert drawn is not None
    image = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB"))
    assert image.shape[0] > 500 and image.shape[1] == 1260
    assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20, "something is drawn"


def test_nothing_logged_draws_nothing_and_writes_nothing(tmp_path: Path) -> None:
    assert draw_curves([{"train_runtime": 1.0, "step": 3}], "run") is None
    assert write_curves(tmp_path, []) is None and not list(tmp_path.iterdir())


def test_the_picture_is_replaced_whole(tmp_path: Path) -> None:
    write_curves(tmp_path, _log(3))
    first = (tmp_path / CURVES).read_bytes()
    assert write_curves(tmp_path, _log(9)) == tmp_path / CURVES
    assert (tmp_path / CURVES).read_bytes() != first and [p.name for p in tmp_path.iterdir()] == [CURVES]


def test_the_running_mean_is_that_of_what_is_there() -> None:
    np.testing.assert_allclose(running_mean(np.array([3.0, 0.0, 3.0, 6.0])), [1.5, 2.0, 3.0, 4.5])
    ramp = np.arange(600.0)
    np.testing.assert_allclose(running_mean(ramp)[10:-10], ramp[10:-10], atol=1e-9)
