"""Engines, read from what starts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seagull_tune.errors import ConfigError
from seagull_tune.training.engines import Engine, all_engines, engine_from_file, engine_from_launch

SHIPPED = {
    "ddp": Engine("ddp", 2),
    "zero2-cpu": Engine("zero", 2, stage=2),
    "zero2-gpu": Engine("zero", 1, stage=2),
    "zero3-cpu": Engine("zero", 2, stage=3),
    "zero3-gpu": Engine("zero", 1, stage=3),
    "zero3-offload-gpu": Engine("zero", 1, stage=3, offload_optimizer=True, offload_weights=True),
    "fsdp2-gpu": Engine("fsdp", 1),
}


def test_every_shipped_configuration_is_read(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the DeepSpeed files that they name are found among the shipped ones
    found = {file.stem: engine_from_file(file) for file in (project_root / "configs" / "accelerate").glob("*.yaml")}
    assert found == SHIPPED


def test_a_shipped_name_works_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert engine_from_file("configs/accelerate/zero3-gpu.yaml") == SHIPPED["zero3-gpu"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("distributed_type: XLA\n", "distributed_type is 'XLA'"),
        ("- 1\n", "allowed: an accelerate configuration"),
        ("a: [\n", "cannot be read as the configuration of an engine"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {deepspeed_config_file: no.json}\n", "no.json cannot be read"),
        (
            "distributed_type: MULTI_GPU\nnum_processes: many\n",
            "num_processes is 'many'; allowed: a whole number from 1",
        ),
        ("distributed_type: MULTI_GPU\nnum_processes: -2\n", "num_processes is '-2'"),
        (
            "distributed_type: DEEPSPEED\ndeepspeed_config: file.json\n",
            "deepspeed_config is 'file.json'; allowed: a map",
        ),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: auto}\n", "stage of ZeRO is 'auto'; .* 0 to 3"),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 9}\n", "stage of ZeRO is '9'"),
        ("distributed_type: FSDP\nfsdp_config: yes please\n", "fsdp_config is 'yes please'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        engine_from_file(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        engine_from_file(tmp_path / "absent.yaml")


def test_a_folder_or_a_binary_is_no_engine(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\x00\xff\xfe\x80")
    for file in (tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(ConfigError, match="cannot be read as the configuration of an engine"):
            engine_from_file(file)


def test_an_unquoted_no_and_an_empty_number_mean_one_process(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("distributed_type: NO\nnum_processes:\n")
    assert engine_from_file(tmp_path / "a.yaml") == Engine("single")


def test_stage_zero_spreads_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "distributed_type: DEEPSPEED\nnum_processes: 4\ndeepspeed_config: {zero_stage: 0}\n"
    )
    assert engine_from_file(tmp_path / "a.yaml") == Engine("zero", 4, stage=0)


def test_a_damaged_environment_is_named() -> None:
    with pytest.raises(ConfigError, match="WORLD_SIZE is 'x'"):
        engine_from_launch({"WORLD_SIZE": "x"})


def test_the_launcher_says_what_it_starts() -> None:
    """Names as accelerate 1.15 sets them for its processes."""
    zero = {"WORLD_SIZE": "4", "ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
    device = {
        "ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu",
        "ACCELERATE_DEEPSPEED_OFFLOAD_PARAM_DEVICE": "none",
    }
    assert engine_from_launch({}) is None
    assert engine_from_launch({"WORLD_SIZE": "1"}) == Engine("single")
    assert engine_from_launch({"WORLD_SIZE": "3"}) == Engine("ddp", 3)
    assert engine_from_launch(zero) == Engine("zero", 4, stage=3)
    assert engine_from_launch(zero | device) == Engine("zero", 4, stage=3, offload_optimizer=True)
    fsdp = {"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_OFFLOAD_PARAMS": "true"}
    assert engine_from_launch(fsdp) == Engine("fsdp", 2, offload_optimizer=True, offload_weights=True)


def test_names_and_numbers_of_processes() -> None:
    assert len({engine.name for engine in all_engines(8)}) == 6
    assert [engine.processes for engine in all_engines(8)] == [1, 8, 8, 8, 8, 8]
    assert Engine("single").over(2) == Engine("ddp", 2) and Engine("ddp", 2).over(1) == Engine("single")
    assert Engine("zero", 2, stage=2).over(5) == Engine("zero", 5, stage=2)
