"""Two real processes on the CPU, under plain data parallel and DeepSpeed ZeRO-2 and ZeRO-3, against one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from seagull_tune.config.base import dump_config
from seagull_tune.config.train import TrainConfig
from seagull_tune.model.checkpoint import load_checkpoint
from seagull_tune.model.lora import is_lora_parameter
from seagull_tune.tune.recipe import build_trainer, prepare, train
from tests.tiny import make_tiny_checkpoint
from tests.tiny_data import make_tiny_dataset

pytestmark = pytest.mark.integration
torch.set_num_threads(1)
STEPS = 20
# DeepSpeed looks for ninja on the path; a virtual environment that is not activated has its own.
SEARCH_PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return make_tiny_dataset(folder / "roi")


@pytest.fixture(scope="module")
def start(folder: Path) -> Path:
    return make_tiny_checkpoint(folder / "tiny")


@pytest.fixture(scope="module")
def single(folder: Path, data: Path, start: Path) -> Path:
    """The curve of one process whose batch is what two processes see together."""
    train(_config(folder, "single", data, start, batch_size=4))
    return folder / "single"


def _config(folder: Path, name: str, data: Path, start: Path, batch_size: int = 2, **changes: Any) -> TrainConfig:
    losses = {"answer": 1.0, "level": 1.0, "ranking": 1.0}
    return TrainConfig.model_validate(
        {
            "out": str(folder / name), "data": str(data), "init": str(start), "cache_dir": str(folder / "front"),
            "stage": {"language_model": "lora"}, "lora": {"rank": 4}, "losses": losses, "log_every": 1,
            "optimisation": {"steps": STEPS, "batch_size": batch_size}, **changes,
        }
    )  # fmt: skip


def _curve(run: Path, key: str = "loss") -> dict[int, float]:
    log = json.loads((run / "run.json").read_text())["train"]["log"]
    return {entry["step"]: float(entry[key]) for entry in log if key in entry}


def _launch(root: Path, launcher: Path, config: TrainConfig, *options: str) -> subprocess.CompletedProcess[str]:
    """``accelerate launch`` of scripts/finetune.py with two processes."""
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(dump_config(config))
    return _start(root, launcher, "scripts/finetune.py", "--config", str(file), *options)


def _start(root: Path, launcher: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A script in two processes of accelerate's launcher."""
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(launcher),
        "--main_process_port", "0", script, *arguments,
    ]  # fmt: skip
    environment = {**os.environ, "PATH": SEARCH_PATH, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=300)


def _check_run(run: Path, engine: str, single: Path) -> None:
    """Every loss, each by itself too, is that of one process at every step, and what was trained is there."""
    record = json.loads((run / "run.json").read_text())["train"]
    assert (record["engine"], record["world_size"], record["steps"]) == (engine, 2, STEPS)
    for name in ("loss", "loss_answer", "loss_level", "loss_ranking", "loss_direct_quality", "loss_direct_severity"):
        curve, expected = _curve(run, name), _curve(single, name)
        assert curve.keys() == expected.keys() and len(curve) == STEPS
        assert max(abs(curve[step] - expected[step]) for step in expected) < 1e-4, name
    tensors = load_file(run / "model" / "trained.safetensors")
    adapters = load_file(run / "model" / "adapter" / "adapter_model.safetensors")
    assert all(value.numel() > 0 for value in (*tensors.values(), *adapters.values()))
    assert len(adapters) == 28 and any(name.startswith("mfe.") for name in tensors)
    model, _ = load_checkpoint(run / "model")
    moved = [p for name, p in model.named_parameters() if is_lora_parameter(name) and "lora_B" in name]
    assert moved and all(bool(p.any()) for p in moved), "adapters that start at zero were not trained, or not gathered"


def test_two_processes_of_plain_data_parallel(
    project_root: Path, folder: Path, data: Path, start: Path, single: Path
) -> None:
    # Without the cache of the others, so that one process computes it while the other waits.
    config = _config(folder, "ddp", data, start, expect_engine="ddp", evaluate_every=10, cache_dir=None)
    done = _launch(project_root, project_root / "configs" / "accelerate" / "ddp.yaml", config)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("vision_tower") == done.stdout.count("Finished") == 1, "only the main process prints"
    _check_run(folder / "ddp", "ddp", single)
    evaluated = _curve(folder / "ddp", "eval_loss")
    assert evaluated.keys() == {10, 20}
    alone = config.model_copy(update={"init": str(folder / "ddp" / "model"), "out": str(folder / "evaluated")})
    result = build_trainer(alone, prepare(alone)).evaluate()
    assert abs(evaluated[20] - result["eval_loss"]) < 1e-4


@pytest.fixture
def _deepspeed() -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed (it is for Linux on x86-64)")
    if not (shutil.which("c++") or shutil.which("g++")):
        pytest.skip("no C++ compiler: DeepSpeed builds an operator at first use")
    if not shutil.which("ninja", path=SEARCH_PATH):
        pytest.skip("no ninja: DeepSpeed builds an operator at first use")


@pytest.fixture(scope="module")
def launchers(folder: Path, project_root: Path) -> dict[str, Path]:
    """The shipped launchers; under ZeRO-3 even the smallest weights are spread, as large ones would be."""
    shipped = project_root / "configs"
    settings = json.loads((shipped / "deepspeed" / "zero3.json").read_text())
    settings["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    (folder / "zero3.json").write_text(json.dumps(settings))
    launcher = yaml.safe_load((shipped / "accelerate" / "zero3-cpu.yaml").read_text())
    launcher["deepspeed_config"]["deepspeed_config_file"] = str(folder / "zero3.json")
    (folder / "zero3-launcher.yaml").write_text(yaml.safe_dump(launcher))
    return {"zero2": shipped / "accelerate" / "zero2-cpu.yaml", "zero3": folder / "zero3-launcher.yaml"}


@pytest.mark.usefixtures("_deepspeed")
@pytest.mark.parametrize("stage", ["zero2", "zero3"])
def test_two_processes_of_deepspeed(
    stage: str, project_root: Path, folder: Path, data: Path, start: Path, single: Path,
    launchers: dict[str, Path],
) -> None:  # fmt: skip
    """A whole run, then its second half once more from the checkpoint in its middle."""
    run = folder / stage
    config = _config(folder, stage, data, start, expect_engine="deepspeed", save_every=10, keep=5)
    done = _launch(project_root, launchers[stage], config)
    assert done.returncode == 0, done.stderr[-3000:]
    _check_run(run, "deepspeed", single)
    model, _ = load_checkpoint(run / "checkpoint-10")
    assert all(bool(torch.isfinite(p).all()) and p.numel() for p in model.parameters())

    (run / "run.json").rename(folder / f"{stage}-first-run.json")
    whole = load_file(run / "model" / "trained.safetensors")
    shutil.rmtree(run / "model")
    shutil.rmtree(run / f"checkpoint-{STEPS}")
    again = _launch(project_root, launchers[stage], config, "--resume")
    assert again.returncode == 0, again.stderr[-3000:]
    _check_run(run, "deepspeed", single)
    for name, value in load_file(run / "model" / "trained.safetensors").items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=1e-5)


@pytest.mark.usefixtures("_deepspeed")
def test_a_process_of_zero3_whose_batch_has_no_region_does_not_hang(
    project_root: Path, folder: Path, launchers: dict[str, Path]
) -> None:
    """Weights are gathered module by module: a process that leaves one out would wait for the others for ever."""
    done = _start(project_root, launchers["zero3"], "tests/integration/no_region_worker.py", str(folder / "no-region"))
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads((folder / "no-region" / "seen.json").read_text())
    assert (seen["engine"], seen["processes"], len(seen["losses"])) == ("deepspeed", 2, 3)
    assert all(loss > 0 for loss in seen["losses"]) and seen["moved"] > 0, (
        "the other process's regions were learnt from"
    )


def test_the_shipped_launcher_configurations_are_whole(project_root: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    files = sorted((project_root / "configs" / "accelerate").glob("*.yaml"))
    assert {file.stem for file in files} >= {"ddp", "zero2-cpu", "zero3-cpu", "zero3-offload-gpu", "fsdp2-gpu"}
    for file in files:
        assert load_config_from_file(str(file)).num_machines == 1
        named = yaml.safe_load(file.read_text()).get("deepspeed_config", {}).get("deepspeed_config_file")
        if named is not None:
            assert json.loads((project_root / named).read_text())["zero_optimization"]["stage"] == int(file.stem[4])
