"""The recipe's steps: what is visited, what is measured, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from seagull_tune.config.train import LossWeights, TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, DataError, TrainingError
from seagull_tune.model.modeling import SeagullOutput
from seagull_tune.model.projector import DirectLogits
from seagull_tune.tune.front_cache import front_statistics
from seagull_tune.tune.recipe import check_start, prepare, roi_losses, visited_rows, visits_per_row
from tests.tiny import our_branches


def _config(tmp_path: Path, data: Path | str = "data", **changes: Any) -> TrainConfig:
    return TrainConfig.model_validate({"out": str(tmp_path / "run"), "data": str(data), **changes})


# -- visits -----------------------------------------------------------------------------------------------------------


def test_passes_visit_everything(tmp_path: Path) -> None:
    config = _config(tmp_path, optimisation={"passes": 3})
    assert list(visited_rows(config, 100)) == list(range(100)) and visits_per_row(config, 100) == 3


def test_few_steps_visit_a_random_part_once(tmp_path: Path) -> None:
    config = _config(tmp_path, optimisation={"steps": 5, "batch_size": 4, "accumulate": 2})
    chosen = visited_rows(config, 1000)
    assert len(set(chosen)) == 40 and visits_per_row(config, len(chosen)) == 1
    assert list(chosen) == sorted(chosen) and max(chosen) > 500, "the first rows are all of the same few photographs"
    assert chosen == visited_rows(config, 1000) != visited_rows(config.model_copy(update={"seed": 1}), 1000)


def test_many_steps_visit_everything_often(tmp_path: Path) -> None:
    config = _config(tmp_path, optimisation={"steps": 25, "batch_size": 10, "passes": 1})
    assert list(visited_rows(config, 100)) == list(range(100))
    assert visits_per_row(config, 100) == 3


# -- preparation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_front", [True, False])
def test_constants_are_measured_on_the_training_rows(
    tmp_path: Path, data: Path, checkpoint: Path, rows: RoiDataset, cache_front: bool
) -> None:
    prepared = prepare(_config(tmp_path, data, init=str(checkpoint), cache_front=cache_front))
    assert prepared.model.mfe.measured
    statistics = front_statistics(rows, prepared.model, prepared.processor, range(len(rows)))
    expected = statistics.maps.double().mean(dim=0).float()
    torch.testing.assert_close(our_branches(prepared.model)[0].standardize.mean, expected, rtol=1e-3, atol=1e-3)
    grid = statistics.grid.flatten(0, 1).double().mean(dim=0).float()
    assert prepared.model.projector.standardize is not None
    torch.testing.assert_close(prepared.model.projector.standardize.mean, grid, rtol=1e-3, atol=1e-3)
    assert (prepared.train.cache is not None) == cache_front
    assert prepared.held_out is None, "evaluation is off"


def test_constants_that_a_model_brings_are_kept(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint

    model, processor = load_checkpoint(checkpoint)
    branches = our_branches(model)
    for standardizer in (branch.standardize for branch in branches):
        standardizer.measure(torch.randn(3, standardizer.mean.shape[0]) + 5)
    save_checkpoint(model, processor, tmp_path / "measured")
    prepared = prepare(_config(tmp_path, data, init=str(tmp_path / "measured")))
    assert torch.equal(our_branches(prepared.model)[0].standardize.mean, branches[0].standardize.mean)


def test_the_data_set_is_looked_at_before_the_model(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no data set"):
        prepare(_config(tmp_path, tmp_path / "none", init=str(tmp_path / "no_model_either")))


def test_a_short_run_computes_only_what_it_visits(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    config = _config(tmp_path, data, init=str(checkpoint), optimisation={"steps": 2, "batch_size": 3}, evaluate_every=1)
    prepared = prepare(config)
    assert len(prepared.train) == 6
    assert all(prepared.train[index].statistics is not None for index in range(6))
    assert prepared.held_out is not None and len(prepared.held_out) == 6
    assert prepared.held_out[5].statistics is not None


def test_fresh_adapters_do_not_depend_on_the_cache(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    """The first run computes the cache, the second finds it, the third has none; all draw the same adapters."""
    config = _config(tmp_path, data, init=str(checkpoint), stage={"language_model": "lora"})
    runs = [prepare(config), prepare(config), prepare(config.model_copy(update={"cache_front": False}))]
    adapters = [{n: p for n, p in run.model.named_parameters() if "lora_A" in n} for run in runs]
    assert len(adapters[0]) == 14
    for name, parameter in adapters[0].items():
        assert all(torch.equal(parameter, other[name]) for other in adapters[1:]), name


# -- losses -----------------------------------------------------------------------------------------------------------


def test_losses_of_weight_zero_are_not_computed() -> None:
    direct = DirectLogits(torch.randn(2, 5), torch.randn(2, 5), torch.randn(2, 8, 6))
    batch = {
        "quality_target": torch.eye(5)[:2], "importance_target": torch.eye(5)[:2],
        "severity_target": torch.zeros(2, 8, dtype=torch.long), "target_ids": torch.tensor([1, 2]),
    }  # fmt: skip
    output = SeagullOutput(logits=torch.randn(2, 9), direct=direct)
    weights = LossWeights(answer=0.5, level=0.0, direct_quality=2.0, direct_importance=0.0, direct_severity=0.0)
    named = roi_losses(weights)(output, batch)
    assert {name: weight for name, (weight, _) in named.items()} == {"direct_quality": 2.0, "answer": 0.5}
    assert set(roi_losses(LossWeights())(output, batch)) == {"direct_quality", "direct_importance", "direct_severity"}


# -- what is refused --------------------------------------------------------------------------------------------------


def test_an_existing_run_is_not_overwritten(tmp_path: Path) -> None:
    config = _config(tmp_path)
    half = tmp_path / "run" / "checkpoint-4"
    half.mkdir(parents=True)
    check_start(config, resume=False)  # half a checkpoint is none
    (half / "trainer_state.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds checkpoints of an earlier run: continue it with --resume"):
        check_start(config, resume=False)
    check_start(config, resume=True)


@pytest.mark.parametrize("engine", ["ddp", "deepspeed", "fsdp"])
def test_an_engine_that_is_not_the_one_asked_for_is_refused(tmp_path: Path, engine: str) -> None:
    with pytest.raises(TrainingError, match=f"asks for the engine '{engine}', but 'single' is running"):
        check_start(_config(tmp_path, expect_engine=engine), resume=False)
    check_start(_config(tmp_path, expect_engine="single"), resume=False)
