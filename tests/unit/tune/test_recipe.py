"""The recipe's steps: what is visited, what is measured, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from data_builders.importers import import_dataset
from seagull_tune.config.exchange import ImportConfig
from seagull_tune.config.train import LossWeights, TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.files import only_run_in
from seagull_tune.model.modeling import SeagullOutput
from seagull_tune.model.projector import DirectLogits
from seagull_tune.tune.facts import run_facts
from seagull_tune.tune.front_cache import front_statistics
from seagull_tune.tune.recipe import (
    make_light,
    move_front,
    prepare,
    roi_losses,
    train,
    visited_rows,
    visits_per_row,
)
from tests.tiny import make_tiny_model, our_branches
from tests.tiny_data import make_tiny_dataset


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


def test_the_facts_of_a_run_name_data_devices_and_parts(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    config = _config(tmp_path, data, init=str(checkpoint), seed=7)
    prepared = prepare(config)
    facts = run_facts(config, prepared.train, prepared.table, prepared.derived_from)
    assert json.loads(json.dumps(facts)) == facts, "plain values"
    assert (facts["seed"], facts["engine"], facts["world_size"], len(facts["devices"])) == (7, "single", 1, 1)
    assert facts["devices"][0].startswith("cpu (") or torch.cuda.is_available()
    assert facts["data"]["fingerprint"] == prepared.train.rows.fingerprint and facts["data"]["measure"]
    assert len(facts["data"]["config_hash"]) == 64
    assert facts["data"]["sizes"]["train"]["samples"] == len(prepared.train.rows)
    assert facts["data"]["sizes"]["validation"]["images"] == 1
    assert facts["data"]["photographs"] is None, "nobody knows what the start was trained on"
    assert {row["part"] for row in facts["parts"]} >= {"mfe", "language_model"}


def test_two_runs_do_not_share_a_folder(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    config = _config(tmp_path, data, init=str(checkpoint))
    with only_run_in(Path(config.out)), pytest.raises(DataError, match="Another run is working in"):
        train(config)
    assert not (Path(config.out) / "run.json").exists()


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


# -- memory -----------------------------------------------------------------------------------------------------------


def test_the_language_model_is_not_moved_with_the_front() -> None:
    model, _ = make_tiny_model()
    move_front(model, torch.device("meta"))
    assert all(p.is_meta == (not n.startswith("language_model.")) for n, p in model.named_parameters())


@pytest.mark.parametrize(("bases", "kind"), [({"language_model": "hub:a@b"}, torch.bfloat16), ({}, torch.float32)])
def test_only_weights_of_a_base_are_made_light(tmp_path: Path, bases: dict[str, str], kind: torch.dtype) -> None:
    model, _ = make_tiny_model()
    model.config.bases = bases
    for parameter in model.language_model.parameters():
        parameter.requires_grad_(False)
    make_light(model, _config(tmp_path))  # not in mixed precision
    assert {p.dtype for p in model.language_model.parameters()} == {torch.float32}
    make_light(model, _config(tmp_path, optimisation={"bf16": True}))
    assert {p.dtype for p in model.language_model.parameters()} == {kind}
    assert {p.dtype for p in model.mfe.parameters()} == {torch.float32}


def test_checkpointing_changes_nothing_but_memory(tmp_path: Path, data: Path, checkpoint: Path) -> None:
    """Adapters on frozen embeddings, and the parts before them: the losses of three steps agree to 1e-5."""
    logs = []
    for on in (False, True):
        config = _config(
            tmp_path / str(on), data, init=str(checkpoint), log_every=1, losses={"answer": 1.0, "level": 1.0},
            stage={"language_model": "lora"}, lora={"rank": 4},
            optimisation={"steps": 3, "batch_size": 4, "gradient_checkpointing": on},
        )  # fmt: skip
        train(config)
        log = json.loads((tmp_path / str(on) / "run" / "run.json").read_text())
        logs.append([entry["loss"] for entry in log["train"]["log"] if "loss" in entry])
    assert len(logs[0]) == 3 and logs[0] == pytest.approx(logs[1], abs=1e-5)
    assert logs[0][0] != logs[0][2]


# -- samples without regions ------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A data set with regions into which opinion scores of whole pictures, which have none, were imported."""
    folder = make_tiny_dataset(tmp_path / "roi", samples_per_image=2)
    scores = tmp_path / "roi" / "photographs" / "scores.csv"
    scores.write_text("image,mos\nchelsea.png,1\ncoffee.png,2\n")
    settings = {
        "format": "mos", "source": str(scores), "split": {"test": 0.0, "validation": 0.0},
        "mos": {"scale": {"low": 1, "high": 5, "higher_is_better": True}},
    }  # fmt: skip
    import_dataset(ImportConfig.model_validate(settings), tmp_path / "mos", show_progress=False)
    for path in sorted((tmp_path / "mos").glob("*/*.parquet")):
        shutil.copyfile(path, folder / path.parent.name / f"z-{path.name}")
    return folder


@pytest.mark.parametrize("losses", [{}, {"answer": 1.0, "level": 1.0}], ids=["direct", "text"])
def test_samples_without_regions_are_not_visited(
    tmp_path: Path, mixed: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], losses: dict[str, float]
) -> None:
    rows = RoiDataset(mixed, "train")
    assert [len(rows[index].regions) > 0 for index in range(len(rows))] == [True] * 6 + [False] * 2
    prepared = prepare(_config(tmp_path, mixed, init=str(checkpoint), losses=losses, optimisation={"passes": 2}))
    assert "2 samples have no labelled region" in capsys.readouterr().out
    assert [len(prepared.train[index].labels) > 0 for index in range(len(prepared.train))] == [True] * 12


def test_a_split_without_any_region_is_refused_before_the_model_is_loaded(tmp_path: Path, mixed: Path) -> None:
    config = _config(tmp_path, tmp_path / "mos", init=str(tmp_path / "no_model"))
    with pytest.raises(DataError, match=r"no sample of the split 'train' has a labelled region.*seagull-tune build"):
        prepare(config)
