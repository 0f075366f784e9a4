"""The benchmarks of the extractor, at sizes that take no time: they run, and measure what they say."""

from __future__ import annotations

import pytest
import torch

from benchmarks import mfe_speed, mfe_step
from benchmarks.memory import Peak
from seagull_tune.config.base import load_config
from seagull_tune.config.train import TrainConfig
from tests.tiny import make_tiny_model

torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> mfe_speed.Case:
    for name, value in {"SIDE": 64, "TEXT_WIDTH": 32, "CHANNELS": (4, 6, 8, 10), "MAP_SIDES": (16, 8, 4, 2)}.items():
        monkeypatch.setattr(mfe_speed, name, value)
    return mfe_speed.Case(images=2, regions=3, device="cpu", hidden=16)


@pytest.mark.parametrize("name", ["ours", "released"])
def test_both_extractors_run_on_the_same_maps(name: str, small: mfe_speed.Case) -> None:
    encoder, arguments = mfe_speed.extractor(name, small), mfe_speed.inputs(name, small)
    other = mfe_speed.inputs("ours" if name == "released" else "released", small)
    for mine, theirs in zip(arguments["maps"], other["maps"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert encoder(encoder.observe(**arguments)).shape == (6, 2, 32)
    gflop, megabytes, least = mfe_speed.floor_of(encoder, arguments, (1e9, 1e9))
    assert 0 < least == pytest.approx(gflop + megabytes / 1e3)
    assert mfe_speed.peak_of(name, small) >= 0


def test_times_are_taken_in_turn() -> None:
    order: list[str] = []
    times = mfe_speed.alternately([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert order == list("ababab") and [len(column) for column in times] == [3, 3]


def test_peak_sees_memory_that_is_given_back() -> None:
    with Peak() as nothing:
        pass
    with Peak() as much:
        values = torch.ones(30 << 20)
        del values
    assert much.bytes - nothing.bytes == pytest.approx(120 << 20, rel=0.1)


def test_the_extractor_is_part_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mfe_step, "assemble", lambda spec, seed: make_tiny_model(seed))
    config = load_config(
        TrainConfig, "configs/embedded/finetune.yaml", ["optimisation.batch_size=2", "optimisation.bf16=false"]
    )
    bench = mfe_step.make_bench(config.model, config, "cpu")
    before = [p.detach().clone() for p in bench.model.mfe.parameters()]
    bench.extractor()
    gradients = [p.grad for p in bench.model.mfe.parameters()]
    assert all(g is not None and bool(g.any()) for g in gradients)
    assert all(p.grad is None for p in bench.model.language_model.parameters())
    bench.whole()
    assert any(not torch.equal(p, q) for p, q in zip(bench.model.mfe.parameters(), before, strict=True))
    assert mfe_step.share_of([[(2.0, 4.0)] * 3, [(0.2, 1.0)] * 3], 1) == 0.25
