"""The model card: what the Hub reads, what people read, that its commands run, and that it tells of no machine."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

from seagull_tune.cli import app
from seagull_tune.config.train import TrainConfig
from seagull_tune.embedded import fingerprint
from seagull_tune.errors import CheckpointError
from seagull_tune.model.card import METRICS, origins, write_card
from seagull_tune.model.checkpoint import load_checkpoint, model_digest, model_id, save_checkpoint
from seagull_tune.model.places import PLACES, portable
from tests.tiny import make_tiny_model
from tests.unit.model.test_calibration import make
from tests.unit.model.test_checkpoint import with_lora

BASES = {
    "language_model": f"embedded:smollm2-135m-instruct@{fingerprint('smollm2-135m-instruct')}",
    "vision_tower": f"embedded:efficientnet-lite0@{fingerprint('efficientnet-lite0')}",
}
HASH = "0123456789abcdef" * 4
TRAINING: dict[str, Any] = {
    "seed": 7, "engine": "ddp", "world_size": 2, "steps": 120, "versions": {"torch": "2.15.0"}, "git_commit": "f" * 40,
    "derived_from": BASES,
    "earlier": [
        {"model": "bbbbbbbbbbbb"}, {"model": "aaaaaaaaaaaa", "steps": 90, "data": HASH, "trained": {"mfe": "full"}},
    ],
    "data": {
        "fingerprint": "ab" * 16, "config_hash": HASH, "label_source": "full-reference measure x-1", "licence": None,
        "measure": "x-1", "label_method": "seagull",
        "sizes": {"train": {"scenes": 3, "images": 4, "regions": 12, "samples": 24}},
    },
    "parts": [
        {"part": "mfe", "mode": "full", "trained": 1000, "total": 1000},
        {"part": "language_model", "mode": "lora", "trained": 234, "total": 2000},
    ],
}  # fmt: skip


def _figures(**changes: Any) -> dict[str, Any]:
    quality = {"srcc": 0.87, "plcc": 0.86, "ci95": [0.8, 0.9]}
    undefined = {"srcc": None, "plcc": None, "ci95": None}
    return {
        "quality": quality, "importance": undefined, "types": {"macro_f1": 0.7}, "severity": {"f1": 0.3},
        "direct": {"quality": quality}, "baselines": {"area_loss": {"importance": {**quality, "srcc": 0.5}}},
        "n_regions": 1128, "n_samples": 180, "n_photographs": 60, "split": "test", "precision": "bf16",
        "data_config_hash": HASH, **changes,
    }  # fmt: skip


def _finished(run: Path, training: dict[str, Any] | None = TRAINING, bases: dict[str, str] = BASES) -> Path:
    """A finished model in a run's folder; its configuration names places on this machine."""
    model, processor = make_tiny_model()
    with_lora(model)
    model.config.bases = dict(bases)
    places = {key: str(run / key) for key in ("out", "data", "image_root", "init", "cache_dir", "prompts")}
    config = TrainConfig.model_validate({**places, "seed": 7}).model_dump(mode="json")
    save_checkpoint(model, processor, run / "model", config, training=training)
    return run / "model"


def _sections(text: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    folder = _finished(tmp_path)
    (tmp_path / METRICS).write_text(json.dumps(_figures(model_id=f"elsewhere@{model_digest(folder)}")))
    data = ModelCard.load(write_card(folder)).data
    assert data.license == "apache-2.0" and data.library_name == "seagull-tune"
    assert data.pipeline_tag == "image-text-to-text" and {"region-of-interest", "lora"} <= set(data.tags)
    assert data.base_model == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert data.datasets == ["roi-image-quality-01234567"]
    found = {(result.metric_type, result.metric_name): result.metric_value for result in data.eval_results}
    assert found == {
        ("spearmanr", "Quality, Spearman's rank correlation"): 0.87,
        ("pearsonr", "Quality, Pearson's correlation"): 0.86,
        ("f1", "Distortion types, macro F1"): 0.7,
        ("f1", "Severities, macro F1 over 0 to 5"): 0.3,
    }, "what is not defined is left out"
    assert data.eval_results[0].dataset_split == "test"


def test_what_people_read(tmp_path: Path) -> None:
    folder = _finished(tmp_path)
    (tmp_path / METRICS).write_text(json.dumps(_figures(model_id=model_id(folder))))
    sections = _sections(write_card(folder).read_text())
    assert list(sections) == [
        "How to use", "What it is made from", "Training", "Parts", "Figures", "Calibration", "Limits",
        "Configuration",
    ]  # fmt: skip
    for reference in BASES.values():
        name, _, version = reference.removeprefix("embedded:").partition("@")
        assert f"| {name} | `{version}` | Apache-2.0 | named by this hash" in sections["What it is made from"]
    assert HASH in sections["Training"] and "| train | 3 | 4 | 12 | 24 |" in sections["Training"]
    assert "120 optimiser steps, on 2 processes (ddp), seed 7" in sections["Training"]
    assert "as model `aaaaaaaaaaaa`: 90 steps on ROI image quality 01234567 (mfe full)" in sections["Training"]
    assert "as model `bbbbbbbbbbbb`: how it was made is not recorded" in sections["Training"]
    assert (
        "| language_model | lora | 234 | 2,000 |" in sections["Parts"]
        and "| sum |  | 1,234 | 3,000 |" in sections["Parts"]
    )
    assert "| this model | 0.870 [0.800, 0.900] | 0.860 | - | - | 0.700 | 0.300 |" in sections["Figures"]
    assert "| baseline: area loss | - | - | 0.500" in sections["Figures"]
    assert "not human opinion" in sections["Limits"] and "3 scenes" in sections["Limits"]
    config = yaml.safe_load(sections["Configuration"].split("```yaml\n")[1].split("```")[0])
    assert config["seed"] == 7 and "data" not in config and "model" not in config
    assert sections["Configuration"].count("<details>") == sections["Configuration"].count("</details>") == 1


def test_the_card_tells_of_no_place_on_this_machine(tmp_path: Path) -> None:
    text = write_card(_finished(tmp_path / "secret-run")).read_text()
    assert str(tmp_path) not in text and "secret-run" not in text and str(Path.home()) + "/" not in text


def test_every_key_of_a_training_that_is_a_place_is_known() -> None:
    """A new key of this kind must be added to ``PLACES``, or end up in the cards of others."""
    fields = TrainConfig.model_fields
    texts = {
        name for name, field in fields.items() if str in (field.annotation, *get_args(field.annotation))
    }  # fmt: skip
    assert texts == set(PLACES)
    nested = portable({"a": {"b": ["/home/me/x", "ok", "C:\\x", "~/y"]}, "none": None})
    assert nested == {"a": {"b": ["(a path)", "ok", "(a path)", "(a path)"]}}


def test_a_card_changes_nothing_about_the_checkpoint_and_is_stable(tmp_path: Path) -> None:
    model, processor = make_tiny_model()
    save_checkpoint(model, processor, tmp_path / "model", training=TRAINING)
    before = model_id(tmp_path / "model")
    first = write_card(tmp_path / "model").read_bytes()
    assert write_card(tmp_path / "model").read_bytes() == first
    assert model_id(tmp_path / "model") == before
    again, _ = load_checkpoint(tmp_path / "model")
    assert again.state_dict().keys() == model.state_dict().keys()
    assert not list((tmp_path / "model").glob("*.partial"))


@pytest.mark.parametrize(
    ("training", "bases"),
    [
        ({**TRAINING, "derived_from": {}}, {}),
        (TRAINING, {**BASES, "language_model": "hub:someone/model@1a2b"}),
        ({**TRAINING, "data": {**TRAINING["data"], "label_method": "pyiqa"}}, BASES),
    ],
    ids=["nothing-known", "a-hub-model", "non-commercial-labels"],
)
def test_a_licence_that_is_not_known_is_not_made_up(
    tmp_path: Path, training: dict[str, Any], bases: dict[str, str]
) -> None:
    folder = _finished(tmp_path, training, bases)
    assert ModelCard.load(write_card(folder)).data.license == "other"


def test_weights_that_were_trained_in_full_still_come_from_their_base(tmp_path: Path) -> None:
    folder = _finished(tmp_path, bases={})
    assert origins(folder) == BASES
    card = ModelCard.load(write_card(folder))
    assert card.data.license == "apache-2.0" and "changed or copied, in this folder" in card.text


def test_a_checkpoint_of_which_nothing_is_known_has_a_card_too(tmp_path: Path) -> None:
    text = write_card(_finished(tmp_path, training=None, bases={})).read_text()
    assert "is not recorded" in text and "Not measured yet" in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quality": [1]}, "quality"),
        ({"quality": {"srcc": float("nan")}}, "srcc.* finite number"),
        ({"importance": {"ci95": [None, 1.0]}}, "ci95"),
        ({"n_regions": "many"}, "n_regions"),
        ({"baselines": {"area_loss": None}}, "area_loss"),
    ],
)
def test_damaged_figures_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    folder = _finished(tmp_path)
    (tmp_path / METRICS).write_text(json.dumps(_figures(model_id=model_id(folder), **changes)))
    with pytest.raises(CheckpointError, match=rf"{METRICS} is damaged .*{message}.*measure again"):
        write_card(folder)


FACTS: dict[str, Any] = {
    "n_regions": 1234, "n_photographs": 60, "folds": 5, "split": "validation", "precision": "fp32",
    "data_config_hash": HASH, "unseen": True,
    "before": {"quality": {"calibration_error": 0.2, "srcc": None}, "types": {"calibration_error": 0.1}},
    "after": {"quality": {"calibration_error": 0.04, "srcc": None}, "types": {"calibration_error": 0.02}},
}  # fmt: skip


def test_the_card_tells_of_a_calibration(tmp_path: Path) -> None:
    folder = _finished(tmp_path)
    (tmp_path / METRICS).write_text(json.dumps(_figures(model_id=model_id(folder))))
    plain = _sections(write_card(folder).read_text())
    assert "None: scores and probabilities are as the training left them" in plain["Calibration"]
    assert "split test, bf16, not calibrated)" in plain["Figures"]
    stored = make(model_digest(folder), facts=FACTS)
    stored.save(folder)
    (tmp_path / METRICS).write_text(
        json.dumps(_figures(model_id=f"{model_id(folder)}+{stored.digest}", calibrated=True))
    )
    sections = _sections(write_card(folder).read_text())
    said = sections["Calibration"]
    assert f"`{stored.digest}`" in said and "deviates by more than 0.250, and of regions below 100 pixels" in said
    assert "1,234 regions of 60 photographs (ROI image quality 01234567, split validation, fp32)" in said
    assert "| quality: calibration error | 0.200 | 0.040 |" in said
    assert "| quality: SRCC of the score | - | - |" in said and "| types: calibration error | 0.100 | 0.020 |" in said
    assert "is not known" not in said and "split test, bf16, calibrated)" in sections["Figures"]
    make(model_digest(folder), facts={**FACTS, "unseen": False}).save(folder)
    assert "Whether it was trained on some of these photographs is not known" in write_card(folder).read_text()
    make(model_digest(folder), facts={**FACTS, "n_regions": "many"}).save(folder)
    with pytest.raises(CheckpointError, match=r"calibration\.json is damaged .*n_regions.*calibrate again"):
        write_card(folder)


def test_figures_may_be_undefined(tmp_path: Path) -> None:
    folder = _finished(tmp_path)
    nothing = dict.fromkeys(("quality", "importance", "types", "severity", "direct"))
    (tmp_path / METRICS).write_text(json.dumps(_figures(**{"model_id": model_id(folder), **nothing})))
    assert "| this model | - | - | - | - | - | - |" in write_card(folder).read_text()


def test_figures_of_another_model_are_not_shown(tmp_path: Path) -> None:
    folder = _finished(tmp_path)
    (tmp_path / METRICS).write_text(json.dumps(_figures(model_id="model@000000000000")))
    card = ModelCard.load(write_card(folder))
    assert card.data.eval_results is None and "Not measured yet" in card.text
    (tmp_path / METRICS).write_text("{half")
    with pytest.raises(CheckpointError, match=r"metrics\.json is damaged.*measure again"):
        write_card(folder)


def test_the_data_card_is_linked_inside_the_run_only(tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = _finished(run)
    (run / "data").mkdir()
    (run / "data" / "README.md").write_text("# the data\n")
    text = write_card(folder).read_text()
    (link,) = re.findall(r"\[data card\]\((.+?)\)", text)
    assert link == "../data/README.md" and (folder / link).is_file()
    model, processor = make_tiny_model()
    far = tmp_path / "a" / "b" / "c" / "model"
    save_checkpoint(model, processor, far, {"data": str(run / "data")}, training=TRAINING)
    assert "data card" not in write_card(far).read_text()


def test_the_commands_of_the_card_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, processor = make_tiny_model()
    save_checkpoint(model, processor, tmp_path / "model")
    text = write_card(tmp_path / "model").read_text()
    (code,) = re.findall(r"```python\n(.+?)```", text, flags=re.DOTALL)
    (shell,) = re.findall(r"```bash\n(.+?)```", text, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path / "model")
    (tmp_path / "example.py").write_text(code)
    runpy.run_path(str(tmp_path / "example.py"))
    assert capsys.readouterr().out.startswith("face 0.")
    make_photo, *commands = [shlex.split(line) for line in shell.splitlines()]
    subprocess.run([sys.executable, *make_photo[1:]], check=True)
    assert [command[:2] for command in commands] == [["seagull-tune", "assess"], ["seagull-tune", "ask"]]
    for command in commands:
        result = CliRunner().invoke(app, command[1:])
        assert result.exit_code == 0, result.output
