"""Training a scorer: it learns, goes on after a kill as if nothing had been, and leaves a whole scorer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from seagull_tune.config.base import load_config, resolve_asset
from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.errors import CheckpointError, ConfigError, DataError
from seagull_tune.images import read_image
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.rsa import launch
from seagull_tune.rsa.checkpoint import read_manifest
from seagull_tune.rsa.features import CellExtractor
from seagull_tune.rsa.scorer import RsaScorer
from seagull_tune.rsa.train import RsaTrainer, train

Configure = Callable[..., RsaTrainConfig]


@pytest.fixture(scope="module")
def run(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> RsaTrainConfig:
    """A finished training."""
    config = configure(
        tmp_path_factory.mktemp("run") / "rsa", optimisation__epochs=25, optimisation__learning_rate=3e-3, save_every=30
    )
    train(config)
    return config


def test_it_learns_and_leaves_a_scorer(run: RsaTrainConfig, rated: Path) -> None:
    out = Path(run.out)
    log = [entry for entry in json.loads((out / "run.json").read_text())["rsa"]["log"] if "loss_l1" in entry]
    assert {"loss_plcc", "loss_rank", "loss_l1"} <= log[0].keys()
    assert np.mean([e["loss"] for e in log[-5:]]) < 0.6 * np.mean([e["loss"] for e in log[:5]])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n"] == 4 and set(metrics) == {"n", "srcc", "plcc", "plcc_fit"}
    scorer = RsaScorer.from_pretrained(out / "model", device="cpu")
    sharp, blurred = scorer.score([rated.parent / "04.png", rated.parent / "07.png"])
    assert sharp.score > blurred.score + 0.5 and 0 <= blurred.score_01 < sharp.score_01 <= 1
    assert sharp.score == pytest.approx(5 * sharp.score_01, abs=1e-6)


def test_its_card_and_record(run: RsaTrainConfig) -> None:
    folder = Path(run.out) / "model"
    card = (folder / "README.md").read_text()
    assert "0 to 5 (higher is better)" in card and "12 pictures of 6 groups" in card and "On 4 pictures" in card
    assert not read_manifest(folder).describer.digest and read_manifest(folder).training["test_pictures"] == 4
    place = str(Path(run.out).parent)
    assert all(place not in path.read_text() for path in (folder / "README.md", folder / "rsa.json")), "no place"


def test_features_are_computed_once(
    run: RsaTrainConfig, configure: Configure, tmp_path: Path, monkeypatch: Any
) -> None:
    calls: list[str] = []
    compute = CellExtractor._compute

    def counted(self: CellExtractor, image: np.ndarray, name: str) -> Any:
        calls.append(name)
        return compute(self, image, name)

    monkeypatch.setattr(CellExtractor, "_compute", counted)
    train(configure(tmp_path / "again", optimisation__epochs=1, cache_dir=Path(run.out) / "cache"))
    assert calls == []


def test_a_killed_run_goes_on_as_if_nothing_had_been(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    whole = configure(tmp_path / "whole", optimisation__epochs=4, save_every=4, cache_dir=cache)
    train(whole)
    config = configure(tmp_path / "killed", optimisation__epochs=4, save_every=4, cache_dir=cache)
    step = RsaTrainer.training_step

    def killed(self: RsaTrainer, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 6:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    monkeypatch.setattr(RsaTrainer, "training_step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="holds checkpoints of an earlier run"):
        train(config)
    train(config, resume=True)
    first, second = (load_file(Path(c.out) / "model" / "rsa.safetensors") for c in (whole, config))
    for name, values in first.items():
        np.testing.assert_allclose(values, second[name], rtol=0, atol=1e-6, err_msg=name)
    assert json.loads((tmp_path / "killed" / "run.json").read_text())["rsa"]["resumed_from"]


def test_with_a_describer_inside(configure: Configure, tuned: Path, rated: Path, tmp_path: Path) -> None:
    config = configure(
        tmp_path / "rsa", scorer__semantics="text", describer__model=tuned, keep_describer="inside",
        optimisation__epochs=1, split__test=0, describer__segmenter="{max_regions: 3}",
    )  # fmt: skip
    folder = train(config)
    assert read_manifest(folder).describer.digest == model_digest(tuned) == model_digest(folder / "describer")
    (explanation,) = RsaScorer.from_pretrained(folder, device="cpu").explain([read_image(rated.parent / "04.png")])
    assert all(explanation.texts)
    assert (
        not (tmp_path / "rsa" / "metrics.json").exists() and "no figure is known" in (folder / "README.md").read_text()
    )


def test_what_is_refused_before_anything_is_loaded(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"describer\.model: .*set scorer\.semantics to none"):
        train(configure(tmp_path / "a", scorer__semantics="numbers", describer__model=tmp_path))
    assert not (tmp_path / "a").exists()


def test_pictures_that_cannot_be_used_are_all_named(configure: Configure, rated: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(rated.parent, tmp_path / "pictures")
    for index in (0, 9):
        (tmp_path / "pictures" / f"{index:02d}.png").write_bytes(b"no picture")
    with pytest.raises(DataError) as caught:
        train(configure(tmp_path / "rsa", data__images=tmp_path / "pictures", split__test=0))
    said = str(caught.value)
    assert "2 of 16 pictures cannot be used" in said and "line 2: " in said and "line 11: " in said


def test_the_launcher(rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = [f"data.file={rated}", "data.mos.scene=group", f"out={tmp_path / 'x'}"]
    options = [part for text in sets for part in ("--set", text)]
    launch.main(["--config", "configs/rsa/smallest.yaml", *options, "--set", "data.mos.scale.low=0", "--dry-run"])
    said = capsys.readouterr().out
    assert "13 of" not in said and "to train on" in said and "efficientnet_lite0, frozen" in said
    assert not (tmp_path / "x").exists()
    with pytest.raises(SystemExit) as caught:
        launch.main(["--config", "configs/rsa/smallest.yaml", *options, "--set", "data.mos.scale.high=2", "--dry-run"])
    assert caught.value.code == 2 and "rows are wrong" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(path.name for path in resolve_asset("configs/rsa").glob("*.yaml")))
def test_shipped_configurations_are_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "scorer.yaml":  # a base of the others
        with pytest.raises(ConfigError, match="data: is missing"):
            load_config(RsaTrainConfig, resolve_asset(f"configs/rsa/{name}"))
        return
    launch.main(["--config", f"configs/rsa/{name}", "--dry-run"])
    assert "Train a scorer" in capsys.readouterr().out
