"""The command line of the training scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seagull_tune.tune.launch import DEFAULTS, main

SCRIPTS = [pytest.param(stage, id=stage) for stage in DEFAULTS]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder: a dry run looks at the data set of its configuration, where there is one."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("stage", SCRIPTS)
def test_dry_run_prints_the_resolved_configuration(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(stage, ["--dry-run", "--set", "optimisation.batch_size=3", "--set", "out=runs/here"])
    plan, configuration = capsys.readouterr().out.split("Configuration:\n")
    assert "into runs/here" in plan and "Memory per GPU" in plan
    printed = yaml.safe_load(configuration)
    assert printed["optimisation"]["batch_size"] == 3 and printed["out"] == "runs/here"
    assert printed["stage"]["language_model"] == ("lora" if stage == "finetune" else "frozen")


@pytest.mark.parametrize("stage", SCRIPTS)
def test_all_wrong_keys_at_once(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(stage, ["--dry-run", "--set", "optimisaton.steps=3", "--set", "stage.mfe=melted", "--set", "seed=x"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("ConfigError: ")
    assert "optimisation" in message and "melted" in message and "seed" in message


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_plan_for_no_gpus_is_refused(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main("finetune", ["--dry-run", "--processes", number])
    assert ended.value.code == 2 and f"{number} GPUs; allowed: a whole number from 1" in capsys.readouterr().err


def test_a_data_set_that_is_not_there_is_one_sentence(
    tmp_path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main("pretrain", ["--set", f"out={tmp_path}/o", "--set", f"data={tmp_path}/no", "--set", f"init={checkpoint}"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "DataError: " in message and str(tmp_path / "no") in message and "Traceback" not in message


def test_a_dry_run_knows_the_engine_that_a_launcher_starts(
    project_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    file = project_root / "configs" / "deepspeed" / "zero3-offload.json"
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(file))
    main("finetune", ["--dry-run"])
    plan = capsys.readouterr().out
    assert "ZeRO-3 + offload     4 " in plan and "DDP" not in plan
    monkeypatch.setenv("RANK", "3")  # one of them is enough
    main("finetune", ["--dry-run"])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("stage", SCRIPTS)
def test_scripts_run_from_another_folder_and_their_help_loads_no_torch(
    stage: str, project_root: Path, tmp_path: Path
) -> None:
    script = project_root / "scripts" / f"{stage}.py"
    probe = (
        "import runpy, sys\n"
        f"sys.argv = ['{stage}.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(script)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PYTHONPATH": str(project_root), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--engine-config" in done.stdout
