"""Configuration files, overrides, and what is said when they are wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from seagull_tune.config.base import StrictModel, dump_config, load_config, parse_yaml, resolve_asset
from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError


class Optimizer(StrictModel):
    learning_rate: float = Field(1e-3, gt=0)
    kind: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.0


class Stage(StrictModel):
    name: str
    steps: int = Field(10, ge=1)


class Run(StrictModel):
    seed: int = 0
    note: str | None = None
    optimizer: Optimizer = Optimizer()
    stages: tuple[Stage, ...] = ()
    extra: dict[str, Optimizer] = Field(default_factory=dict)


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_file_and_overrides_fill_the_model(tmp_path: Path) -> None:
    file = write(
        tmp_path, "run.yaml", "seed: 3\noptimizer:\n  learning_rate: 1e-4\nstages:\n- name: one\n- name: two\n"
    )
    config = load_config(Run, file, ["optimizer.kind=sgd", "stages.1.steps=7", "note='a: b'"])
    assert (config.seed, config.optimizer.kind, config.note) == (3, "sgd", "a: b")
    assert config.optimizer.learning_rate == pytest.approx(1e-4, rel=1e-12)
    assert [stage.steps for stage in config.stages] == [10, 7]


def test_defaults_without_a_file() -> None:
    assert load_config(Run) == Run()


def test_override_sets_a_group_that_the_file_does_not_have() -> None:
    config = load_config(Run, overrides=["extra.vision.learning_rate=2e-3", "stages=[{name: a, steps: 2}]"])
    assert config.extra["vision"].learning_rate == pytest.approx(0.002)
    assert config.stages == (Stage(name="a", steps=2),)


def test_base_is_merged_deeply_under_the_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path, "base.yaml", "seed: 1\nnote: below\noptimizer: {learning_rate: 0.5, weight_decay: 0.1}\n")
    write(tmp_path / "sub", "middle.yaml", "base: ../base.yaml\nseed: 2\n")
    file = write(tmp_path / "sub", "top.yaml", "base: middle.yaml\noptimizer: {learning_rate: 0.25}\n")
    config = load_config(Run, file)
    assert (config.seed, config.note) == (2, "below")
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (0.25, 0.1)


def test_of_several_bases_the_later_lies_over_the_earlier(tmp_path: Path) -> None:
    write(tmp_path, "root.yaml", "seed: 1\nnote: root\n")
    write(tmp_path, "a.yaml", "base: root.yaml\nseed: 2\noptimizer: {learning_rate: 0.5}\n")
    write(tmp_path, "b.yaml", "base: root.yaml\noptimizer: {weight_decay: 0.1}\n")  # a file may be under two others
    config = load_config(Run, write(tmp_path, "top.yaml", "base: [a.yaml, b.yaml]\nnote: top\n"))
    assert (config.seed, config.note) == (1, "top")  # b.yaml brings root.yaml's seed again
    assert (config.optimizer.learning_rate, config.optimizer.weight_decay) == (0.5, 0.1)


def test_a_shipped_file_is_a_base_anywhere(tmp_path: Path) -> None:
    names = "base: [configs/train/modern-4b-finetune.yaml, configs/model/qwen3-8b.yaml]\n"
    config = load_config(TrainConfig, write(tmp_path, "my-8b.yaml", names + "out: o\n"))
    assert "Qwen3-8B" in config.model.language_model and config.out == "o"
    with pytest.raises(ConfigError, match=r"no shipped file 'configs/model/qwen3-9b\.yaml'\. Did you mean"):
        load_config(TrainConfig, write(tmp_path, "odd.yaml", "base: configs/model/qwen3-9b.yaml\n"))
    # One that is there goes before a shipped one of the same name.
    (tmp_path / "configs" / "model").mkdir(parents=True)
    write(tmp_path / "configs" / "model", "qwen3-8b.yaml", "model: {language_model: hub:MINE/Own@1}\n")
    assert load_config(TrainConfig, tmp_path / "my-8b.yaml").model.language_model == "hub:MINE/Own@1"


def test_bases_in_a_circle_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "base: b.yaml\n")
    write(tmp_path, "b.yaml", "base: a.yaml\n")
    with pytest.raises(ConfigError, match="circle"):
        load_config(Run, tmp_path / "a.yaml")


def test_ten_wrong_keys_at_once_are_all_reported(tmp_path: Path) -> None:
    wrong = [f"wrong_{i}" for i in range(8)]
    text = "".join(f"{key}: {i}\n" for i, key in enumerate(wrong))
    file = write(tmp_path, "run.yaml", text + "optimizer:\n  learning_rat: 0.1\n  wieght_decay: 0.2\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Run, file)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("10 problems")
    for key in [*wrong, "optimizer.learning_rat", "optimizer.wieght_decay"]:
        assert sum(line.strip().startswith(f"{key}: unknown key") for line in lines) == 1
    assert all(str(file) in line for line in lines)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("sed=1", ["sed: unknown key (value 1).", "Did you mean 'seed'?", "override 'sed=1'"]),
        ("stages=[{name: a, stepps: 1}]", ["stages.0.stepps", "Did you mean 'steps'?"]),
        ("extra={v: {kinds: sgd}}", ["extra.v.kinds", "Did you mean 'kind'?"]),
        ("seed=abc", ["seed: is 'abc'; allowed: a valid integer"]),
        ("optimizer.kind=adam", ["optimizer.kind: is 'adam'; allowed: 'adamw' or 'sgd'", "Did you mean 'adamw'?"]),
        ("optimizer.learning_rate=-1", ["optimizer.learning_rate: is -1; allowed: greater than 0"]),
        ("optimizer.learning_rate=.nan", ["optimizer.learning_rate", "finite"]),
        ("stages=[{steps: 1}]", ["stages.0.name: is missing"]),
        ("seed", ["override 'seed': allowed: 'key=value'"]),
        ("seed.x.y=1", ["seed.x.y=1", "'seed' is 5, which has no keys"]),
        ("note=[1", ["the value is not YAML"]),
        ("stages.0.steps=1", ["stages.0.steps=1"]),
    ],
)
def test_messages_name_key_value_allowed_and_hint(tmp_path: Path, override: str, expected: list[str]) -> None:
    file = write(tmp_path, "run.yaml", "seed: 5\nstages: []\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Run, file, [override])
    for text in expected:
        assert text in str(caught.value)


def test_the_line_names_the_file_or_the_override_that_set_the_value(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "seed: x\n")
    file = write(tmp_path, "top.yaml", "base: base.yaml\noptimizer: {kind: nope}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Run, file, ["note=[1]"])
    text = str(caught.value)
    assert f"[{tmp_path / 'base.yaml'}]" in text and f"[{file}]" in text and "[override 'note=[1]']" in text
    assert text.startswith("3 problems")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "occurs twice"),
        ("- 1\n", "allowed: a mapping"),
        ("a: [1\n", "is not YAML"),
        ("base: [1]\n", "allowed: the path of one YAML file, or a list of them"),
        ("base: {a: b.yaml}\n", "allowed: the path of one YAML file, or a list of them"),
        ("seed: !!python/object/apply:os.getcwd []\n", "is not YAML"),
    ],
)
def test_unreadable_files_are_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, "bad.yaml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(Run, file)
    assert "bad.yaml" in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    for path in (tmp_path / "photo.jpg", tmp_path):
        with pytest.raises(ConfigError, match=f"{path} cannot be read: .* Name a YAML file in UTF-8"):
            load_config(Run, path)


def test_missing_file_gets_a_near_name(tmp_path: Path) -> None:
    write(tmp_path, "finetune.yaml", "")
    with pytest.raises(ConfigError, match=r"finetun\.yaml.*Did you mean 'finetune\.yaml'"):
        load_config(Run, tmp_path / "finetun.yaml")


def test_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(Run, write(tmp_path, "empty.yaml", "")) == Run()


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    config = Run(seed=4, note="ü: #", optimizer=Optimizer(learning_rate=3e-5), stages=(Stage(name="s"),))
    assert load_config(Run, write(tmp_path, "dump.yaml", dump_config(config))) == config


def test_models_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Run().seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("-2E+3", -2000.0), ("1e", "1e"), ("3", 3), ("off", False)]
)
def test_numbers_as_people_write_them(text: str, value: object) -> None:
    assert parse_yaml(text) == value


def test_yaml_merge_keys_still_work() -> None:
    assert parse_yaml("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\n")["d"] == {"b": 1, "c": 3}


def test_assets_are_found_and_wrong_names_get_a_hint() -> None:
    assert resolve_asset("configs").is_dir()
    with pytest.raises(ConfigError, match="no shipped file"):
        resolve_asset("configs/nothing-here.yaml")
    for name in ("../pyproject.toml", "configs/../pyproject.toml", "/etc/passwd"):
        with pytest.raises(ConfigError, match="starts with configs/ or prompts/"):
            resolve_asset(name)


def test_reserved_base_field_is_a_programming_error() -> None:
    class Wrong(StrictModel):
        base: str = ""

    with pytest.raises(TypeError, match="reserved"):
        load_config(Wrong)


def test_import_loads_no_heavy_package() -> None:
    heavy = ("torch", "numpy", "transformers")
    code = f"import sys, seagull_tune.config.base; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
