"""The scorer's training in two processes: the same as in one with the same global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from seagull_tune.config.base import dump_config, load_config
from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.rsa.train import train
from tests.rsa_parts import make_rated
from tests.tiny import TOWER

pytestmark = pytest.mark.integration


def _config(out: Path, rated: Path, batch_size: int) -> RsaTrainConfig:
    values = {
        "out": out, "data.file": rated, "data.mos.scene": "group", "split.test": 0.25,
        "cache_dir": out.parent / "cache",
        "data.mos.scale": "{low: 0, high: 5, higher_is_better: true}",
        "scorer": "{semantics: none, width: 16, heads: 2, dropout: 0, input_dropout: 0}",
        "scorer.backbone": f"{{name: {TOWER}, weights: null, max_side: 96}}", "optimisation.epochs": 3,
        "optimisation.batch_size": batch_size, "log_every": 1, "save_every": 0, "device": "cpu",
    }  # fmt: skip
    return load_config(RsaTrainConfig, None, [f"{key}={value}" for key, value in values.items()])


def test_two_processes_train_as_one(project_root: Path, tmp_path: Path) -> None:
    rated = make_rated(tmp_path / "rated")
    alone, both = _config(tmp_path / "alone", rated, 8), _config(tmp_path / "both", rated, 4)
    train(alone)
    (tmp_path / "both.yaml").write_text(dump_config(both))
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/ddp.yaml",
        "--main_process_port", "0", "scripts/train_rsa.py", "--config", str(tmp_path / "both.yaml"),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project_root)}
    done = subprocess.run(
        command, cwd=project_root, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((Path(c.out) / "run.json").read_text())["rsa"] for c in (alone, both))
    assert one["steps"] == two["steps"] == 3
    for name in ("loss_plcc", "loss_rank", "loss_l1"):
        first, second = ([e[name] for e in run["log"] if name in e] for run in (one, two))
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-4, err_msg=name)
    weights = [load_file(Path(c.out) / "model" / "rsa.safetensors") for c in (alone, both)]
    for key, values in weights[0].items():
        np.testing.assert_allclose(values, weights[1][key], rtol=0, atol=1e-4, err_msg=key)
