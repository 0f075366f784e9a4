"""What all commands share: help with an example, --dry-run, --config, --set, errors as one sentence, a fast start."""

from __future__ import annotations

import errno
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from seagull_tune.cli import app
from seagull_tune.cli.app import ORDER, Commands, overrides
from seagull_tune.config.base import load_config
from seagull_tune.config.data import SceneTable
from seagull_tune.config.distortions import SeverityTable
from seagull_tune.config.exchange import Scale
from seagull_tune.config.rsa import RsaSpec
from seagull_tune.rsa.checkpoint import ScorerManifest
from tests.tiny_data import make_tiny_dataset

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
LOWER_LAYERS = ("torch", "transformers", "datasets", "cv2", "pandas", "numpy", "timm", "skimage")

SHIPPED = {
    r"configs/data/(builtin-scenes|severity|label-calibration)\.yaml": None,
    r"configs/data/[\w-]+\.yaml": "build --out {out} --config {file}",
    r"configs/\w+/(quickstart|bench_roi)\.yaml": "quickstart --config {file}",
    r"configs/\w+/[\w-]*pretrain[\w-]*\.yaml": "pretrain --config {file}",
    r"configs/\w+/[\w-]*finetune[\w-]*\.yaml": "finetune --config {file}",
    r"configs/model/[\w-]+\.yaml": "pretrain --out {out}/run --data {out} --config {file}",
    r"configs/evaluate/[\w-]+\.yaml": "evaluate --protocol {file} --data {out}",
    r"configs/rsa/[\w-]+\.yaml": None,  # scripts/train_rsa.py reads them: tests/unit/rsa/test_train.py
    r"configs/accelerate/[\w-]+\.yaml": "finetune --engine-config {file}",
}
"""Which command reads a shipped file; None: it is no command's configuration."""


def shipped_files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in (root / "configs").rglob("*.y*ml"))


def examples(name: str) -> list[str]:
    lines = (COMMANDS[name].epilog or "").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("seagull-tune ")]


def test_every_command_of_the_plan_is_there(run: Callable) -> None:
    assert set(COMMANDS) == set(ORDER)
    shown = run("--help").output
    places = [shown.index(f"\n  {name} ") for name in ORDER]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ORDER)
def test_help_has_a_runnable_example_and_the_shared_options(name: str, run: Callable) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    for option in ("--config", "--set", "--dry-run"):
        assert option in result.output
    assert examples(name)
    for line in examples(name):
        assert line in result.output
        assert line.split()[1] == name


@pytest.mark.parametrize("name", ORDER)
def test_examples_run(
    name: str, run: Callable, photo: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every example as it is printed, in a folder that has what it names, with --dry-run."""
    folder = tmp_path / "home"
    (folder / "photos").mkdir(parents=True)
    for target in ("photo.jpg", "a.jpg", "b.jpg"):
        (folder / target).write_bytes(photo.read_bytes())
    for number in range(3):
        (folder / "photos" / f"{number}.jpg").write_bytes(photo.read_bytes() + bytes([number]))
    (folder / "label_maps").mkdir()
    (folder / "rois.json").write_text('[{"img": "a.jpg", "points": [0, 0, 9, 9]}]')
    for run_name in ("quickstart", "bench-roi", "mine/finetune"):
        (folder / "runs" / run_name).mkdir(parents=True)
        (folder / "runs" / run_name / "model").symlink_to(tiny_model)
    scorer = ScorerManifest(
        spec=RsaSpec(), channels=1, semantics=0, scale=Scale(low=0, high=5, higher_is_better=True), backbone="x"
    )
    (folder / "runs" / "rsa" / "model").mkdir(parents=True)
    (folder / "runs" / "rsa" / "model" / "rsa.json").write_text(scorer.model_dump_json())
    if name == "calibrate":
        made = make_tiny_dataset(tmp_path / "made")
        for place in ("runs/mine/data", "data/held-out"):
            shutil.copytree(made, folder / place)
        # Held-out sets are larger than what a test can build.
        monkeypatch.setattr("seagull_tune.evaluate.calibrate._check_enough", lambda *of: 200)
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    for line in examples(name):
        result = run(*shlex.split(line)[1:], "--dry-run")
        assert result.exit_code == 0, f"{line}\n{result.output}"
        assert "Configuration:" in result.output
    assert sorted(folder.rglob("*")) == before, "a dry run wrote something"


@pytest.fixture(scope="module")
def loaded() -> None:
    """What a plan imports, so that no test is charged for it."""
    import seagull_tune.tune.plan  # noqa: F401


@pytest.mark.parametrize("file", shipped_files(ROOT))
@pytest.mark.usefixtures("loaded")
def test_dry_run_of_every_shipped_file(
    file: str, run: Callable, project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("AutoTokenizer", "AutoConfig", "AutoModelForCausalLM"):  # nothing is loaded, no hub is asked
        monkeypatch.setattr(f"transformers.{name}.from_pretrained", None)
    rules = [command for pattern, command in SHIPPED.items() if re.fullmatch(pattern, file)]
    assert rules, f"{file}: no command is known for it"
    if rules[0] is None:
        return
    started = time.process_time()
    result = run(*rules[0].format(file=project_root / file, out="data").split(), "--dry-run")
    assert result.exit_code == 0, f"{file}\n{result.output}"
    assert time.process_time() - started < 10  # seconds of a processor; the whole is held to it on a quiet machine
    assert list(tmp_path.iterdir()) == []
    if file.startswith("configs/train/"):
        assert all(words in result.output for words in ("not there yet", "Memory per GPU", "ZeRO-3", "A100-80"))


def test_the_tables_among_the_shipped_files(project_root: Path) -> None:
    folder = project_root / "configs" / "data"
    assert load_config(SceneTable, folder / "builtin-scenes.yaml").scenes
    assert load_config(SeverityTable, folder / "severity.yaml").variants


def test_the_printed_configuration_is_read_back(run: Callable, photo: Path, tmp_path: Path) -> None:
    (photo.parent / "second.png").write_bytes(photo.read_bytes() + b"another file")
    line = ("build", "--images", photo.parent, "--out", tmp_path / "d", "--dry-run")
    first = run(*line, "--samples", "7").output
    text = first.split("Configuration:\n", 1)[1]
    values = yaml.safe_load(text)
    assert values["samples_per_image"] == 7 and values["source"] == str(photo.parent)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    assert run(*line, "--config", tmp_path / "c.yaml").output.split("Configuration:\n", 1)[1] == text


def test_flags_and_sets_become_overrides() -> None:
    assert overrides({"a": None, "b.c": Path("x y"), "d": True}, ["b.c=z"]) == ['b.c="x y"', "d=true", "b.c=z"]


def test_ten_wrong_keys_at_once(refused: Callable) -> None:
    wrong = [f"wrong_{i}=1" for i in range(8)]
    sets = [part for text in [*wrong, "optimisation.stepz=3", "seed=x"] for part in ("--set", text)]
    said = refused("pretrain", "--dry-run", *sets)
    assert said.startswith("ConfigError: 10 problems")
    assert all(f"wrong_{i}" in said for i in range(8))
    assert "Did you mean 'steps'?" in said


def test_a_wrong_key_inside_a_section_of_the_quickstart(refused: Callable) -> None:
    said = refused("quickstart", "--dry-run", "--set", "pretrain.optimisation.stepz=3", "--set", "outt=x")
    assert "2 problems" in said and "pretrain.optimisation.stepz" in said and "Did you mean 'steps'?" in said


def test_a_missing_configuration_file(refused: Callable, tmp_path: Path) -> None:
    assert "no.yaml" in refused("finetune", "--config", tmp_path / "no.yaml", "--dry-run")


def test_debug_shows_the_traceback(run: Callable) -> None:
    result = run("--debug", "pretrain", "--set", "nonsense=1", "--dry-run")
    assert type(result.exception).__name__ == "ConfigError"


def test_what_the_system_refuses_is_one_sentence(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "sheet.png")

    monkeypatch.setattr("seagull_tune.doctor.collect", full)
    assert "No space left on device: 'sheet.png'" in refused("doctor")


def test_an_unknown_command(run: Callable) -> None:
    result = run("asess")
    assert result.exit_code == 2 and "asess" in result.stderr


def test_version(run: Callable) -> None:
    assert re.fullmatch(r"seagull-tune \d+\.\d+\.\d+\S*\n", run("--version").output)


def test_commands_is_the_group() -> None:
    assert isinstance(get_command(app), Commands)


def test_help_loads_nothing_heavy(project_root: Path) -> None:
    code = (
        "import sys\nfrom seagull_tune.cli import main\nsys.argv = ['seagull-tune', 'assess', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', [name for name in {LOWER_LAYERS!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project_root)
    assert "LOADED []" in done.stdout


def test_help_is_fast(project_root: Path) -> None:
    """0.5 s on a quiet machine; processor time is held here, since tests share the machine."""
    import resource

    best = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "seagull_tune.cli", "--help"], check=True, capture_output=True, cwd=project_root
        )
        wall = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert best < 0.5


def test_python_dash_m(project_root: Path) -> None:
    command = [sys.executable, "-m", "seagull_tune.cli", "finetune", "--set", "x=1", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project_root, check=False)
    assert done.returncode == 2 and done.stderr.startswith("ConfigError:") and "Traceback" not in done.stderr
