"""What the benchmark of training speed compares trains the same: the plain ways give the same losses and gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.train_speed import ITEMS, Meter, longest, without
from seagull_tune.config.train import TrainConfig
from seagull_tune.training.trainer import SeagullTrainer
from seagull_tune.tune.recipe import Prepared, prepare


@pytest.fixture(scope="module")
def run(data: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Prepared]:
    config = TrainConfig.model_validate(
        {
            "out": str(tmp_path_factory.mktemp("speed") / "run"), "data": str(data), "init": str(checkpoint),
            "stage": {"language_model": "lora"}, "lora": {"rank": 2}, "losses": {"answer": 1.0, "level": 1.0},
            "optimisation": {"steps": 4, "batch_size": 3},
        }
    )  # fmt: skip
    return config, prepare(config)


def _step(trainer: SeagullTrainer, n_samples: int = 3) -> tuple[float, Tensor]:
    """Loss and gradients of the first samples."""
    model = trainer.model
    model.zero_grad()
    loss = trainer.compute_loss(model, trainer.data_collator([trainer.train_dataset[i] for i in range(n_samples)]))
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("item", ["logits", "padding"])
def test_the_plain_way_gives_the_same_loss(item: str, run: tuple[TrainConfig, Prepared]) -> None:
    torch.manual_seed(0)
    expected, gradient = _step(without(frozenset(), *run))
    found, other = _step(without(frozenset({item}), *run))
    assert found == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(other, gradient, rtol=0, atol=1e-5)


def test_the_front_that_is_not_cached_differs_by_its_rounding(run: tuple[TrainConfig, Prepared]) -> None:
    expected, _ = _step(without(frozenset(), *run))
    trainer = without(frozenset({"cache"}), *run)
    assert trainer.train_dataset[0].statistics is None
    assert _step(trainer)[0] == pytest.approx(expected, rel=1e-2)


def test_plain_is_one_question_padded_to_the_longest(run: tuple[TrainConfig, Prepared]) -> None:
    trainer = without(frozenset(ITEMS), *run)
    items = [trainer.train_dataset[index] for index in range(3)]
    assert all(item.encoded is not None and len(set(item.mentions)) == 1 for item in items)
    batch = trainer.data_collator(items)
    assert batch["input_ids"].shape == (3, longest(trainer.train_dataset))
    assert "logits_index" not in trainer.model_inputs


def test_steps_are_timed_after_the_warm_up(run: tuple[TrainConfig, Prepared]) -> None:
    trainer, meter = without(frozenset(), *run), Meter()
    trainer.losses = meter.counting(trainer.losses)
    trainer.add_callback(meter)
    trainer.train()
    assert len(meter.seconds) == len(meter.tokens) == 2, "four steps, two of them warm-up"
    trained, read, squares, padded = meter.tokens[0]
    assert 0 < trained < read <= padded and squares >= read
    assert min(meter.rate(0), meter.rate(1)) > 0
