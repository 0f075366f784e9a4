"""The whole way with tiny real parts: data, both trainings, figures, report; skipped, redone, killed, measured."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import yaml
from PIL import Image
from typer.testing import CliRunner, Result

from seagull_tune.cli import app
from tests.tiny import make_tiny_checkpoint

pytestmark = pytest.mark.integration

STAGES = ("data", "pretrain", "finetune", "model", "test", "evaluate")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs to train and to test on, a tiny model to start from, and the run's configuration."""
    folder = tmp_path_factory.mktemp("home")
    crops = {"train": ("astronaut", "coffee"), "test": ("chelsea", "rocket")}
    for split, names in crops.items():
        (folder / split).mkdir()
        for name in names:
            pixels = np.ascontiguousarray(getattr(skimage.data, name)()[20:132, 60:188, :3])
            Image.fromarray(pixels).save(folder / split / f"{name}.png")
    make_tiny_checkpoint(folder / "start")
    training = {"out": "set by the run", "data": "set by the run", "log_every": 1, "save_every": 1}
    config = {
        "out": str(folder / "run"),
        "data": {"source": str(folder / "train"), "samples_per_image": 5},
        "test": {"source": str(folder / "test"), "samples_per_image": 3, "split": {"all_into": "test"}},
        "pretrain": {
            **training, "init": str(folder / "start"), "stage": {"projector": "frozen"},
            "optimisation": {"steps": 2, "batch_size": 2},
        },
        "finetune": {
            **training, "stage": {"language_model": "lora"}, "lora": {"rank": 2, "alpha": 4.0},
            "losses": {"answer": 1.0, "level": 1.0}, "optimisation": {"steps": 2, "batch_size": 2},
        },
        "baselines": {"max_regions": 60},
        "evaluation": {"bootstrap_draws": 20},
    }  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder


def quickstart(home: Path, *more: str) -> Result:
    return run("quickstart", "--config", home / "run.yaml", *more)


@pytest.fixture(scope="module")
def finished(home: Path) -> Path:
    """The folder of a finished run."""
    result = quickstart(home)
    assert result.exit_code == 0, result.output
    said = result.stdout
    places = [said.index(f"[{name}] done") for name in STAGES]
    assert places == sorted(places)
    assert "Asked about region 1 of " in said and "quality SRCC" in said and "peak memory" in said
    return home / "run"


def said_of(output: str, name: str) -> str:
    return " ".join(re.findall(rf"^\[{name}\] (.*)$", output, flags=re.MULTILINE))


def test_what_a_run_leaves(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    for reader in (metrics, metrics["direct"]):
        assert {"srcc", "plcc", "plcc_logistic", "krcc", "rmse", "ci95", "within_image_srcc"} <= set(reader["quality"])
        assert {"macro_f1", "sample_f1"} <= set(reader["types"]) and {"accuracy", "f1"} <= set(reader["severity"])
    assert {"unparsable", "n_regions", "n_images", "recipe_hash"} <= set(metrics)
    assert "srcc" in metrics["baselines"]["classical"]["quality"]
    assert "<svg" in (finished / "report.html").read_text() or "<img" in (finished / "report.html").read_text()
    assert json.loads((finished / "answer.json").read_text())["question"] == "How is the quality of this region?"
    record = json.loads((finished / "run.json").read_text())
    assert set(record["run"]["stage_seconds"]) == set(STAGES) and record["run"]["peak_memory_gb"] > 0
    assert record["finetune"]["config"]["optimisation"]["steps"] == 2
    assert {"adapter", "baselines.safetensors", "checkpoint.json"} <= {
        path.name for path in (finished / "model").iterdir()
    }


def test_the_card_of_the_finished_model(finished: Path, home: Path) -> None:
    """It is refreshed when the model is measured, links to its data, knows its first stage, and names no place."""
    text = (finished / "model" / "README.md").read_text()
    metrics = json.loads((finished / "metrics.json").read_text())
    header = yaml.safe_load(text.split("---\n")[1])
    (result,) = header["model-index"][0]["results"]
    assert {"type": "f1", "name": "Distortion types, macro F1", "value": metrics["types"]["macro_f1"]} in result[
        "metrics"
    ]
    assert "| baseline: classical |" in text and str(home) not in text
    (link,) = re.findall(r"\[data card\]\((.+?)\)", text)
    assert (finished / "model" / link).resolve() == (finished / "data" / "README.md").resolve()
    before = json.loads((finished / "model" / "checkpoint.json").read_text())["training"]["earlier"]
    assert [entry["steps"] for entry in before] == [None, 2], "the start, then the first stage"
    assert f"as model `{before[1]['model']}`: 2 steps" in text
    assert (finished / "finetune" / "curves.png").is_file() and (
        finished / "finetune" / "model" / "README.md"
    ).is_file()


def test_the_finished_model_answers(finished: Path, home: Path) -> None:
    line = run("assess", home / "test" / "chelsea.png", "--model", finished / "model", "--box", "5,5,90,90")
    assert line.exit_code == 0, line.output
    assert json.loads(line.stdout)["model_id"].startswith("run@")


def test_a_second_run_skips_everything(finished: Path, home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (finished / "model").rglob("*")}
    result = quickstart(home)
    assert result.exit_code == 0, result.output
    assert all("skipped" in said_of(result.stdout, name) for name in STAGES)
    assert "Asked about region 1 of " in result.stdout
    assert before == {path: path.stat().st_mtime_ns for path in (finished / "model").rglob("*")}


def test_evaluate_photographs(finished: Path, home: Path, tmp_path: Path) -> None:
    line = (
        "evaluate", "--model", finished / "model", "--images", home / "test", "--seed", "3",
        "--out", tmp_path / "m.json", "--samples", "2", "--set", "evaluation.bootstrap_draws=10",
    )  # fmt: skip
    result = run(*line)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["seed"] == 3 and metrics["n_images"] == 2 and "classical" in metrics["baselines"]
    assert run(*line).exit_code == 0
    assert json.loads((tmp_path / "m.json").read_text())["recipe_hash"] == metrics["recipe_hash"]
    other = run(*line, "--set", "data.seed=4")
    assert other.exit_code == 0, other.output
    assert json.loads((tmp_path / "m.json").read_text())["recipe_hash"] != metrics["recipe_hash"]
    nothing = run("evaluate", "--model", finished / "model", "--seed", "1")
    assert nothing.exit_code == 2 and "--images DIR" in nothing.stderr


def test_a_changed_training_redoes_it_and_what_follows(finished: Path, home: Path) -> None:
    """Last of those that share the run: it changes it."""
    result = quickstart(home, "--set", "finetune.optimisation.steps=3")
    assert result.exit_code == 0, result.output
    for name in ("data", "pretrain"):
        assert "skipped" in said_of(result.stdout, name)
    assert "optimisation.steps was 2, is now 3" in said_of(result.stdout, "finetune")
    for name in ("finetune", "model", "test", "evaluate"):
        assert "done in" in said_of(result.stdout, name)
    record = json.loads((finished / "finetune" / "run.json").read_text())
    assert record["train"]["steps"] == 3


def test_pretrain_and_finetune_by_themselves(finished: Path, home: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((home / "run.yaml").read_text())
    for name in ("pretrain", "finetune"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config[name]))
    common = ("--data", finished / "data", "--set", "optimisation.steps=1")
    first = run("pretrain", "--config", tmp_path / "pretrain.yaml", "--out", tmp_path / "a", *common)
    assert first.exit_code == 0, first.output
    assert f"Finished checkpoint: {tmp_path / 'a' / 'model'}" in first.stdout
    line = (
        "--config",
        tmp_path / "finetune.yaml",
        "--init",
        tmp_path / "a" / "model",
        "--out",
        tmp_path / "b",
        *common,
    )
    assert run("finetune", *line).exit_code == 0
    again = run("finetune", *line)
    assert again.exit_code == 2 and "--resume" in again.stderr
    assert (tmp_path / "b" / "model" / "adapter").is_dir()


def test_a_killed_run_goes_on(home: Path, tmp_path: Path) -> None:
    """Kill -9 in the middle of either training; the same command finishes, and no stage is done twice."""
    out = tmp_path / "run"
    sets = _sets([f"out={out}", "pretrain.optimisation.steps=6", "finetune.optimisation.steps=6"])
    _kill_when_there_is(out / "pretrain" / "checkpoint-2", home, sets)
    log = _kill_when_there_is(out / "finetune" / "checkpoint-1", home, sets)
    assert "skipped" in said_of(log, "data") and "goes on where it was cut off" in said_of(log, "pretrain")
    result = quickstart(home, *sets)
    assert result.exit_code == 0, result.output
    assert "skipped" in said_of(result.stdout, "pretrain")
    assert "goes on where it was cut off" in said_of(result.stdout, "finetune")
    assert json.loads((out / "metrics.json").read_text())["n_images"] == 2
    for stage in ("pretrain", "finetune"):
        log_history = json.loads((out / stage / "run.json").read_text())["train"]["log"]
        assert [entry["step"] for entry in log_history if "loss" in entry] == [1, 2, 3, 4, 5, 6]


def _kill_when_there_is(target: Path, home: Path, sets: Sequence[str]) -> str:
    """Starts a run in a process of its own, kills it as soon as a folder appears, and returns what it said."""
    line = [sys.executable, "-m", "seagull_tune.cli", "quickstart", "--config", str(home / "run.yaml"), *sets]
    said = home / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            line, stdout=file, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        deadline = time.monotonic() + 240
        while not target.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert target.exists(), said.read_text()
    return said.read_text()


def _sets(texts: Sequence[str]) -> list[str]:
    return [part for text in texts for part in ("--set", text)]
