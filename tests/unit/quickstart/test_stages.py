"""Stages: finished ones are skipped, cut-off ones go on, changed ones and all after them are done anew."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seagull_tune.errors import ConfigError, DataError
from seagull_tune.quickstart.stages import Stages, differences


class Kitchen:
    """A run of two stages that leave a file each."""

    def __init__(self, out: Path) -> None:
        self.out, self.said, self.done = out, [], []  # type: ignore[var-annotated]

    def run(self, salt: int = 1, broken: str = "") -> list[str]:
        """Returns the stages that were done now."""
        self.said, self.done = [], []
        stages = Stages(self.out, self.said.append)
        for name, settings in (("soup", {"salt": salt, "pot": {"size": 2}}), ("bread", {"flour": 1})):
            work = functools.partial(self.cook, name, broken)
            stages.run(name, settings, [name], work, stale=[f"{name}-crumbs"])
        self.seconds = stages.seconds
        return self.done

    def cook(self, name: str, broken: str) -> Mapping[str, Any]:
        (self.out / name).mkdir(exist_ok=True)
        (self.out / name / "begun").write_text("x")
        (self.out / f"{name}-crumbs").write_text("x")
        if name == broken:
            raise KeyboardInterrupt
        self.done.append(name)
        return {"cook": name}


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path / "run")


def prepared(kitchen: Kitchen) -> Kitchen:
    kitchen.out.mkdir()
    assert kitchen.run() == ["soup", "bread"]
    return kitchen


def test_a_second_run_does_nothing_and_says_so(kitchen: Kitchen) -> None:
    prepared(kitchen)
    assert kitchen.run() == []
    assert [line.split("]")[0] for line in kitchen.said] == ["[soup", "[bread"]
    assert all("skipped" in line for line in kitchen.said)
    assert set(kitchen.seconds) == {"soup", "bread"}


def test_the_record_of_the_run(kitchen: Kitchen) -> None:
    record = json.loads((prepared(kitchen).out / "run.json").read_text())
    assert record["soup"]["cook"] == "soup" and record["soup"]["config"]["salt"] == 1
    assert record["bread"]["peak_memory_gb"] > 0 and record["bread"]["seconds"] >= 0


def test_a_changed_setting_redoes_that_stage_and_those_after_it(kitchen: Kitchen) -> None:
    prepared(kitchen)
    assert kitchen.run(salt=2) == ["soup", "bread"]
    assert any("salt was 1, is now 2" in line for line in kitchen.said)
    assert any("a stage before it" in line for line in kitchen.said)
    assert kitchen.run(salt=2) == []


def test_what_another_configuration_left_is_removed_first(kitchen: Kitchen) -> None:
    prepared(kitchen)
    (kitchen.out / "soup" / "old").write_text("x")
    kitchen.run(salt=2, broken="")
    assert not (kitchen.out / "soup" / "old").exists()
    assert (kitchen.out / "soup-crumbs").exists()


def test_a_cut_off_stage_goes_on_with_what_it_has(kitchen: Kitchen) -> None:
    kitchen.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(broken="bread")
    (kitchen.out / "bread" / "half").write_text("x")
    assert kitchen.run() == ["bread"]
    assert (kitchen.out / "bread" / "half").exists()
    assert any("[bread] goes on" in line for line in kitchen.said)


def test_cut_off_then_changed_starts_anew(kitchen: Kitchen) -> None:
    kitchen.out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        kitchen.run(broken="soup")
    (kitchen.out / "soup" / "half").write_text("x")
    assert kitchen.run(salt=3) == ["soup", "bread"]
    assert not (kitchen.out / "soup" / "half").exists()


def test_a_result_that_was_removed_is_made_again(kitchen: Kitchen) -> None:
    prepared(kitchen)
    (kitchen.out / "bread" / "begun").unlink()
    (kitchen.out / "bread").rmdir()
    assert kitchen.run() == ["bread"]
    assert any("its result is gone" in line for line in kitchen.said)


def test_what_somebody_else_put_there_is_not_touched(kitchen: Kitchen) -> None:
    (kitchen.out / "soup").mkdir(parents=True)
    (kitchen.out / "soup" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="soup is there already"):
        kitchen.run()
    assert (kitchen.out / "soup" / "mine").exists()


def test_a_damaged_record(kitchen: Kitchen) -> None:
    prepared(kitchen)
    (kitchen.out / "stages" / "soup.json").write_text("{")
    with pytest.raises(DataError, match=r"soup\.json is damaged"):
        kitchen.run()


def test_differences() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None}) == ["a.c was 2, is now 3"]
