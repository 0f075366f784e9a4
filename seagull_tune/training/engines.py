"""How an engine spreads a training over processes, read from what starts it: an accelerate configuration or launch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from seagull_tune.config.base import parse_yaml, resolve_asset
from seagull_tune.errors import ConfigError

Kind = Literal["single", "ddp", "zero", "fsdp"]
_NOTHING = (None, "none", "None")


@dataclass(frozen=True)
class Engine:
    """What an engine spreads over its processes, or keeps in the machine's memory.

    Attributes:
        kind: plain training of one process, data parallel, DeepSpeed's ZeRO, or FSDP2.
        processes: one per GPU.
        stage: of ZeRO: 1 spreads optimizer states, 2 gradients too, 3 weights too; 0 elsewhere.
        offload_optimizer, offload_weights: kept in the machine's memory.
    """

    kind: Kind
    processes: int = 1
    stage: int = 0
    offload_optimizer: bool = False
    offload_weights: bool = False

    @property
    def name(self) -> str:
        """As the tables call it."""
        named = {"single": "one process", "ddp": "DDP", "zero": f"ZeRO-{self.stage}", "fsdp": "FSDP2"}[self.kind]
        return named + (" + offload" if self.offload_optimizer or self.offload_weights else "")

    @property
    def shards_weights(self) -> bool:
        """Whether a process holds only its share of the weights."""
        return self.kind == "fsdp" or self.stage == 3

    def over(self, processes: int) -> Engine:
        """The same engine over another number of processes."""
        kind = self.kind
        if kind in ("single", "ddp"):
            kind = "ddp" if processes > 1 else "single"
        return replace(self, kind=kind, processes=processes)


def all_engines(processes: int) -> tuple[Engine, ...]:
    """One of each of ``configs/accelerate/``, over so many processes, and one process alone."""
    return (
        Engine("single"),
        Engine("ddp", processes),
        Engine("zero", processes, stage=2),
        Engine("zero", processes, stage=3),
        Engine("zero", processes, stage=3, offload_optimizer=True, offload_weights=True),
        Engine("fsdp", processes),
    )


def engine_from_file(file: Path | str) -> Engine:
    """The engine of an accelerate configuration (YAML), with the DeepSpeed settings (JSON) that it may name.

    Raises:
        ConfigError: it cannot be read, or names an engine that is not known here.
    """
    values = _mapping(Path(file))
    named = values.get("distributed_type", "NO")
    kind = "NO" if named is False else str(named)  # an unquoted NO is read as a truth value
    processes = _whole(values.get("num_processes") or 1, "num_processes", file, lowest=1)
    if kind == "DEEPSPEED":
        section = _section(values, "deepspeed_config", file)
        own = section.get("deepspeed_config_file")
        return _zero(_deepspeed_settings(Path(str(own))) if own else section, processes, own or file)
    if kind == "FSDP":
        return _fsdp(_section(values, "fsdp_config", file), processes)
    if kind in ("NO", "MULTI_GPU", "MULTI_CPU"):
        return Engine("single").over(processes)
    raise ConfigError(f"{file}: distributed_type is {kind!r}; known here: NO, MULTI_GPU, MULTI_CPU, DEEPSPEED, FSDP.")


def engine_from_launch(environment: Mapping[str, str]) -> Engine | None:
    """The engine that ``accelerate launch`` is starting, as it tells its processes; None without a launcher.

    Args:
        environment: of this process.

    Raises:
        ConfigError: it tells something that no launcher tells, or names a file that cannot be read.
    """
    deepspeed, fsdp = (
        environment.get(f"ACCELERATE_USE_{name}", "false").lower() == "true" for name in ("DEEPSPEED", "FSDP")
    )
    if not deepspeed and not fsdp and "WORLD_SIZE" not in environment:
        return None
    place = "The launcher's environment"
    processes = _whole(environment.get("WORLD_SIZE", "1"), "WORLD_SIZE", place, lowest=1)
    if deepspeed:
        if (file := environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")) != "none":
            return _zero(_deepspeed_settings(Path(file)), processes, file)
        prefix = "ACCELERATE_DEEPSPEED_"
        keys = ("zero_stage", "offload_optimizer_device", "offload_param_device")
        return _zero({key: environment.get(prefix + key.upper()) for key in keys}, processes, place)
    if fsdp:
        return _fsdp({"fsdp_offload_params": environment.get("FSDP_OFFLOAD_PARAMS")}, processes)
    return Engine("single").over(processes)


def _whole(value: Any, name: str, place: Path | str, lowest: int, highest: int | None = None) -> int:
    """A whole number of a configuration, which YAML, JSON and an environment may bring as text."""
    try:
        number = int(str(value))
    except ValueError:
        number = lowest - 1
    if number < lowest or (highest is not None and number > highest):
        allowed = f"a whole number from {lowest}" + (f" to {highest}" if highest is not None else "")
        raise ConfigError(f"{place}: {name} is {str(value)[:40]!r}; allowed: {allowed}.")
    return number


def _section(values: Mapping[str, Any], name: str, place: Path | str) -> Mapping[str, Any]:
    """A group of keys inside a configuration; empty where it is not there."""
    found = values.get(name) or {}
    if not isinstance(found, Mapping):
        raise ConfigError(f"{place}: {name} is {str(found)[:40]!r}; allowed: a mapping of keys to values.")
    return found


def _zero(settings: Mapping[str, Any], processes: int, place: Path | str) -> Engine:
    stage = settings.get("zero_stage")
    return Engine(
        "zero", processes, _whole(2 if stage is None else stage, "the stage of ZeRO", place, lowest=0, highest=3),
        offload_optimizer=settings.get("offload_optimizer_device") not in _NOTHING,
        offload_weights=settings.get("offload_param_device") not in _NOTHING,
    )  # fmt: skip


def _fsdp(settings: Mapping[str, Any], processes: int) -> Engine:
    offload = str(settings.get("fsdp_offload_params", "false")).lower() == "true"
    return Engine("fsdp", processes, offload_optimizer=offload, offload_weights=offload)


def _deepspeed_settings(file: Path) -> dict[str, Any]:
    """DeepSpeed's own JSON, by the keys of an accelerate configuration."""
    zero = _section(_mapping(file), "zero_optimization", file)
    return {
        "zero_stage": zero.get("stage"),
        "offload_optimizer_device": _section(zero, "offload_optimizer", file).get("device"),
        "offload_param_device": _section(zero, "offload_param", file).get("device"),
    }


def _mapping(file: Path) -> dict[str, Any]:
    path = file if file.exists() or file.parts[:1] != ("configs",) else resolve_asset(file.as_posix())
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else parse_yaml(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"{file} cannot be read as the configuration of an engine: {error}. Name a file of configs/accelerate/."
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {str(values)[:40]!r}; allowed: an accelerate configuration.")
    return values
