"""What the doctor finds, and what it says when something is not there."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from seagull_tune import doctor
from seagull_tune.embedded import EMBEDDED
from seagull_tune.wheels import CACHE_VARIABLE


def shown(report: doctor.Report) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(doctor.render(report))
    return stream.getvalue()


def test_it_lists_versions_devices_and_features() -> None:
    report = doctor.collect()
    versions = {package.name: package.version for package in report.packages}
    assert versions["torch"] == metadata.version("torch")
    assert versions["pyiqa"] is None or isinstance(versions["pyiqa"], str)
    assert report.devices[0].name == "cpu" and report.devices[0].memory_gib > 0.5
    ready = {feature.name: feature.ready for feature in report.features}
    assert ready["build data sets"] and ready["train and fine-tune"] and ready["evaluate"]
    plain = json.loads(json.dumps(report.to_dict()))
    assert {feature["name"]: feature["ready"] for feature in plain["features"]} == ready
    text = shown(report)
    for name in (*ready, "Cache", report.cache):
        assert name in text


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "peft" else real(name))
    report = doctor.collect()
    lacking = {feature.name: feature for feature in report.features if not feature.ready}
    assert lacking["train and fine-tune"].lacks == ("peft",)
    assert lacking["train and fine-tune"].remedy == "pip install peft"
    assert "pip install peft" in shown(report)


def test_an_old_package_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name == "timm" else real(name))
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["timm>=1.0.20", "gradio>=6; extra == 'web'"])
    timm = next(package for package in doctor.collect().packages if package.name == "timm")
    assert (timm.fits, timm.supported) == (False, ">=1.0.20")


def test_deepspeed_without_compiler_or_ninja_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CXX", raising=False)
    feature = next(f for f in doctor.collect().features if f.name == "DeepSpeed training")
    if "deepspeed" not in feature.lacks:
        assert feature.lacks == ("C++ compiler", "ninja")
        assert "apt-get install g++" in feature.remedy and "ninja" not in feature.lacks[0]


def test_sam_needs_a_checkpoint(tmp_path: Path) -> None:
    def sam(checkpoint: Path | None) -> doctor.Feature:
        return next(f for f in doctor.collect(checkpoint).features if f.name == "regions from SAM")

    (tmp_path / "sam.pth").write_bytes(b"x")
    assert not sam(None).ready
    assert "no such file" in sam(tmp_path / "nothing.pth").lacks[0]
    assert sam(tmp_path / "sam.pth").ready


def test_an_empty_cache_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "nothing" / "here"))
    report = doctor.collect()
    assert [model.cached for model in report.models] == [False] * len(EMBEDDED)
    assert "fetched at first use (93 MB)" in shown(report)
    assert not (tmp_path / "nothing").exists()


def test_importing_the_doctor_loads_no_heavy_package() -> None:
    heavy = ("torch", "transformers", "rich", "numpy")
    code = f"import sys, seagull_tune.doctor; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
