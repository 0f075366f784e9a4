"""Both stages on a tiny model and real photographs: losses fall, and killed runs go on as if they had not been."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seagull_tune.config.base import dump_config
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.instructions.rules import TASK_RULES
from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint
from seagull_tune.training.trainer import STAGING, last_checkpoint
from seagull_tune.tune.recipe import train
from tests.tiny import make_tiny_model
from tests.tiny_data import make_tiny_dataset

pytestmark = pytest.mark.integration
torch.set_num_threads(1)

TEXT: dict[str, Any] = {
    "stage": {"language_model": "lora"}, "lora": {"rank": 4}, "losses": {"answer": 1.0, "level": 1.0},
}  # fmt: skip
CORE_TASKS = {name: 0.0 for name, rule in TASK_RULES.items() if not rule.core and rule.pictures == 1}
"""Weights that leave the later tasks out: sixty steps do not teach a tiny model eleven kinds of answers."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_dataset(tmp_path_factory.mktemp("training") / "roi")


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    """Tiny checkpoints to start from, by dropout."""
    folder = tmp_path_factory.mktemp("starts")
    for dropout in (0.0, 0.2):
        save_checkpoint(*make_tiny_model(dropout=dropout), folder / str(dropout))
    return {dropout: folder / str(dropout) for dropout in (0.0, 0.2)}


def _config(out: Path, data: Path, init: Path, **changes: Any) -> TrainConfig:
    plain = {"out": str(out), "data": str(data), "init": str(init), "log_every": 1, **changes}
    return TrainConfig.model_validate(plain)


def _log(run: Path, key: str = "loss") -> dict[int, float]:
    """Step -> value, from the record of a finished run."""
    entries = json.loads((run / "run.json").read_text())["train"]["log"]
    return {entry["step"]: float(entry[key]) for entry in entries if key in entry}


def test_both_stages_learn_and_the_result_answers(data: Path, starts: dict[float, Path], tmp_path: Path) -> None:
    first = _config(
        tmp_path / "pretrain", data, starts[0.0], stage={"projector": "frozen"}, evaluate_every=30,
        optimisation={"steps": 60, "batch_size": 6, "learning_rates": {"mfe": 3e-3, "direct_head": 3e-3}},
    )  # fmt: skip
    folder = train(first)
    losses = list(_log(tmp_path / "pretrain").values())
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])
    assert len(_log(tmp_path / "pretrain", "eval_loss")) == 2
    second = _config(
        tmp_path / "finetune", data, folder, stage={"language_model": "full"}, losses=TEXT["losses"],
        cache_dir=str(tmp_path / "pretrain" / "front"), conversation={"task_weights": CORE_TASKS},
        optimisation={"steps": 60, "batch_size": 6, "learning_rates": {"language_model": 5e-3, "projector": 3e-3}},
    )  # fmt: skip
    model_folder = train(second)
    for key, share in (("loss_answer", 0.4), ("loss_level", 0.7)):
        values = list(_log(tmp_path / "finetune", key).values())
        assert np.mean(values[-5:]) < share * np.mean(values[:5]), key
    record = json.loads((tmp_path / "finetune" / "run.json").read_text())["train"]
    assert (record["engine"], record["world_size"], record["steps"]) == ("single", 1, 60)
    assert {row["part"]: row["mode"] for row in record["parts"]}["language_model"] == "full"
    assert list((tmp_path / "finetune" / "tensorboard").glob("events.out.tfevents*"))
    manifest = (model_folder / "checkpoint.json").read_text()
    assert str(tmp_path) not in manifest and json.loads(manifest)["resolved_config"]["init"] == "../../pretrain/model"
    sample = RoiDataset(data, "validation")[0]
    found = RegionAssessor.from_pretrained(model_folder).assess(sample.image, sample.regions)
    assert len(found) == len(sample.regions) and all(0 <= result.scores.quality <= 1 for result in found)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("stage", ["pretrain", "finetune"])
def test_resume_gives_the_curve_of_a_run_that_was_not_stopped(
    data: Path, starts: dict[float, Path], tmp_path: Path, stage: str, dropout: float
) -> None:
    """The second half of the run is lost and done again from the checkpoint in its middle."""
    changes: dict[str, Any] = {"optimisation": {"passes": 3, "batch_size": 4}, "save_every": 5, "keep": 9}
    if stage == "finetune":
        changes |= {"stage": TEXT["stage"], "lora": {"rank": 4, "dropout": dropout}}
        changes |= {"losses": {**TEXT["losses"], "ranking": 0.5}}
    config = _config(tmp_path / "run", data, starts[dropout], **changes)
    whole = train(config)
    run = tmp_path / "run"
    shutil.copytree(run, tmp_path / "whole")
    assert len(_log(run)) == 14
    # As a kill in the middle of the second save leaves it, and beside it a folder that was copied by half.
    shutil.rmtree(whole)
    (run / "run.json").unlink()
    shutil.rmtree(run / "checkpoint-14")
    (run / STAGING).mkdir()
    (run / "checkpoint-10").rename(run / STAGING / "checkpoint-10")
    (run / STAGING / "checkpoint-10" / "trainer_state.json").unlink()
    (run / "checkpoint-12").mkdir()
    (run / "checkpoint-12" / "checkpoint.json").write_text("{}")
    found = last_checkpoint(run)
    assert found is not None and found.name == "checkpoint-5"

    again = train(config, resume=True)
    _assert_same_curve(_log(run), _log(tmp_path / "whole"))
    first, second = (load_checkpoint(path)[0].state_dict() for path in (again, tmp_path / "whole" / "model"))
    # A mapping: a failure names the tensor.
    torch.testing.assert_close({name: first[name] for name in second}, dict(second), rtol=0, atol=1e-6)
    assert not (run / STAGING).exists()


def _assert_same_curve(found: dict[int, float], expected: dict[int, float]) -> None:
    assert found.keys() == expected.keys()
    assert max(abs(found[step] - expected[step]) for step in expected) < 1e-6


def test_the_released_extractor_trains_and_answers_but_is_not_cached(data: Path, tmp_path: Path) -> None:
    save_checkpoint(*make_tiny_model(mfe="seagull"), tmp_path / "start")
    with pytest.raises(ConfigError, match=r"cache_front.*whole feature maps"):
        train(_config(tmp_path / "cached", data, tmp_path / "start"))
    steps = {"steps": 24, "batch_size": 6, "learning_rates": {"mfe": 3e-3, "direct_head": 3e-3}}
    folder = train(_config(tmp_path / "run", data, tmp_path / "start", cache_front=False, optimisation=steps, **TEXT))
    # Its own losses: a language model of random weights has the words still to learn.
    kinds = [_log(tmp_path / "run", f"loss_direct_{kind}").values() for kind in ("quality", "importance", "severity")]
    losses = [sum(step) for step in zip(*kinds, strict=True)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    parts = {p["part"]: p for p in json.loads((tmp_path / "run" / "run.json").read_text())["train"]["parts"]}
    assert parts["mfe"]["trained"] == parts["mfe"]["total"] > 0
    rendered = RoiDataset(data, "validation")[0]
    assert RegionAssessor.from_pretrained(folder).assess(rendered.image, rendered.regions)


def test_a_run_is_not_overwritten_and_a_finished_one_resumes_at_its_end(
    data: Path, starts: dict[float, Path], tmp_path: Path
) -> None:
    config = _config(tmp_path / "run", data, starts[0.0], optimisation={"steps": 4, "batch_size": 4}, save_every=2)
    folder = train(config)
    before = (folder / "trained.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="continue it with --resume"):
        train(config)
    assert (train(config, resume=True) / "trained.safetensors").read_bytes() == before


def test_the_cache_changes_the_curve_by_rounding_only(data: Path, starts: dict[float, Path], tmp_path: Path) -> None:
    curves = []
    for cached in (True, False):
        config = _config(
            tmp_path / str(cached), data, starts[0.0], **TEXT, cache_front=cached,
            optimisation={"steps": 5, "batch_size": 3},
        )  # fmt: skip
        train(config)
        curves.append(list(_log(tmp_path / str(cached)).values()))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-2)


def test_a_killed_script_goes_on(data: Path, starts: dict[float, Path], tmp_path: Path, project_root: Path) -> None:
    """SIGKILL in the middle of `python scripts/pretrain.py`; the resumed run has the curve of one left alone."""
    changes = {**TEXT, "optimisation": {"steps": 60, "batch_size": 4}, "save_every": 8, "workers": 0}
    killed, whole = (_config(tmp_path / name, data, starts[0.0], **changes) for name in ("killed", "whole"))
    file = tmp_path / "run.yaml"
    file.write_text(dump_config(killed))
    process = subprocess.Popen(
        [sys.executable, str(project_root / "scripts" / "pretrain.py"), "--config", str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project_root)}, cwd=tmp_path,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while last_checkpoint(tmp_path / "killed") is None and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors[-2000:]
    found = last_checkpoint(tmp_path / "killed")
    assert found is not None and not (tmp_path / "killed" / "model").exists()

    train(killed, resume=True)
    train(whole)
    _assert_same_curve(_log(tmp_path / "killed"), _log(tmp_path / "whole"))
