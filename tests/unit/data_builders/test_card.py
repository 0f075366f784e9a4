"""The data card: what it says, and that others can open the folder by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from data_builders.card import write_card
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.data.schema import open_tables
from seagull_tune.instructions.templates import load_prompts


def test_the_card_says_what_is_there(dataset: Path) -> None:
    text = (dataset / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    head = yaml.safe_load(header)
    assert (
        head["pretty_name"].startswith("ROI image quality ")
        and head["license"] == "other"
        and head["size_categories"] == ["n<1K"]
    )
    assert [entry["config_name"] for entry in head["configs"]] == ["samples", "images"]
    images, samples = open_tables(dataset)
    regions = sum(map(len, images.table["regions"].to_pylist()))
    totals = [0, 0, 0, 0]
    for line in body.splitlines():
        if line.startswith(("| train", "| test")):
            totals = [a + int(b) for a, b in zip(totals, line.split("|")[2:6], strict=True)]
    assert totals == [3, 3, regions, 12]
    steps = [step for recipe in samples.table["recipe"].to_pylist() for step in recipe]
    name = f"{steps[0]['type']}/{steps[0]['variant']}"
    count = sum(f"{step['type']}/{step['variant']}" == name for step in steps)
    assert f"- {name}: {count}\n" in body
    assert "full-reference measure" in body and "- unknown: the photographs" in body
    assert all(f"{key} {version}" in body for key, version in load_prompts().versions.items())
    assert write_card(dataset).read_text() == text


def test_licences_of_built_in_photographs_are_listed(tmp_path: Path) -> None:
    config = BuildConfig.model_validate(
        {"source": "builtin:installed", "select": {"ids": ["coffee"]}, "max_side": 96, "samples_per_image": 1}
    )
    build_dataset(config, tmp_path / "a", show_progress=False)
    text = (tmp_path / "a" / "README.md").read_text()
    assert ": coffee\n" in text and "unknown" not in text.split("## Licences")[1]


def test_a_stated_licence_is_no_other_data_set(photographs: Path, tmp_path: Path) -> None:
    settings = {"source": str(photographs), "samples_per_image": 1}
    build_dataset(BuildConfig.model_validate(settings), tmp_path / "a", show_progress=False)
    again = build_dataset(
        BuildConfig.model_validate({**settings, "licence": "CC-BY-4.0"}), tmp_path / "a", show_progress=False
    )
    assert again.n_built == 0
    text = (tmp_path / "a" / "README.md").read_text()
    assert "license: cc-by-4.0\n" in text and "- CC-BY-4.0: the photographs" in text


def test_datasets_opens_the_folder_without_this_package(dataset: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["seagull_tune"] = sys.modules["data_builders"] = None  # importing them is an error
import datasets
samples = datasets.load_dataset({str(dataset)!r}, "samples", split="rows")
images = datasets.load_dataset({str(dataset)!r}, "images", split="rows")
assert len(samples) == 12 and len(images) == 3, (len(samples), len(images))
assert samples[0]["labels"][0]["quality"] <= 1.0 and samples[0]["picture"] is None, samples[0]
assert sorted(images["image_id"]) == ["astronaut", "chelsea", "coffee"]
assert datasets.load_dataset({str(dataset)!r})["rows"].column_names == samples.column_names
"""
    cache = {"HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={**environment, **cache}
    )
    assert done.returncode == 0, done.stderr
