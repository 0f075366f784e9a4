"""The scorer: explanations that add up, batches that equal single pictures, folders that are whole or refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from seagull_tune.config.base import load_config
from seagull_tune.config.exchange import Scale
from seagull_tune.config.rsa import BackboneSettings, DescriberSettings, RsaSpec
from seagull_tune.errors import CheckpointError, ConfigError, DataError
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.rsa.checkpoint import FORMAT_VERSION, find_describer, read_manifest
from seagull_tune.rsa.inputs import PictureInputs, to_batch
from seagull_tune.rsa.scorer import Explanation, ImageScore, RsaScorer, make_reader
from tests.tiny_scorer import SCALE, make_tiny_scorer


@pytest.fixture(scope="module")
def images(image: np.ndarray) -> list[np.ndarray]:
    """Three sizes, one of them with a single region."""
    return [image, np.ascontiguousarray(image[:70, ::-1]), np.full((64, 40, 3), 90, np.uint8)]


@pytest.fixture(scope="module")
def plain(spec: RsaSpec, images: list[np.ndarray]) -> RsaScorer:
    return make_tiny_scorer(spec, images)


@pytest.fixture(scope="module")
def knowing(spec: RsaSpec, images: list[np.ndarray], tuned: Path) -> RsaScorer:
    return make_tiny_scorer(spec.model_copy(update={"semantics": "text"}), images, tuned)


def _adds_up(explanation: Explanation) -> None:
    assert explanation.contributions is not None and explanation.qualities is not None
    total = explanation.bias + sum(explanation.contributions)
    assert total == pytest.approx(explanation.image_score.score, abs=1e-5)
    count = len(explanation.regions)
    assert len(explanation.contributions) == len(explanation.weights) == len(explanation.texts) == count
    assert sum(explanation.weights) == pytest.approx(1.0, abs=1e-5)
    assert float(explanation.map.sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("which", ["plain", "knowing"])
def test_contributions_add_up_to_the_score(
    which: str, images: list[np.ndarray], request: pytest.FixtureRequest
) -> None:
    explanations = request.getfixturevalue(which).explain(images)
    for explanation in explanations:
        _adds_up(explanation)
    assert len(explanations[2].regions) == 1 and explanations[2].worst() == []
    assert all(explanations[0].texts) is (which == "knowing")
    assert len({explanation.image_score.score for explanation in explanations}) == 3


@pytest.mark.parametrize("which", ["plain", "knowing"])
def test_a_batch_equals_single_pictures(which: str, images: list[np.ndarray], request: pytest.FixtureRequest) -> None:
    scorer: RsaScorer = request.getfixturevalue(which)
    together = scorer.explain(images)
    for image, one in zip(images, together, strict=True):
        (alone,) = scorer.explain([image])
        assert alone.image_score.score == pytest.approx(one.image_score.score, abs=1e-4)
        assert alone.contributions == pytest.approx(one.contributions, abs=1e-4)
        np.testing.assert_allclose(alone.map, one.map, rtol=0, atol=1e-5)


def test_a_picture_of_300_regions(plain: RsaScorer, image: np.ndarray) -> None:
    picture = plain.reader(image)
    n_cells = picture.shares.shape[1]
    shares = np.random.default_rng(0).dirichlet(np.full(300, 0.1), n_cells).T.astype(np.float32)
    crowded = PictureInputs(picture.features, picture.regions * 300, shares, np.zeros((300, 0), np.float32))
    with torch.no_grad():
        output = plain.model(to_batch([crowded, picture]))
        alone = plain.model(to_batch([crowded]))
    total = plain.model.bias + output.contributions.sum(1)
    torch.testing.assert_close(total, output.score, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone.score, output.score[:1], rtol=0, atol=1e-4)


def test_what_the_range_cuts_off_is_in_the_bias(spec: RsaSpec, images: list[np.ndarray]) -> None:
    for better in (True, False):
        scorer = make_tiny_scorer(spec, images, scale=Scale(low=0.0, high=100.0, higher_is_better=better))
        with torch.no_grad():
            scorer.model.bias.fill_(7.0)
        for explanation in scorer.explain(images):
            assert explanation.image_score == ImageScore(100.0 if better else 0.0, 1.0)
            _adds_up(explanation)


@pytest.mark.parametrize(
    "change", [{"head": "pooled"}, {"attention": "uniform"}, {"attention": "global", "head": "pooled"}]
)
def test_the_other_kinds(change: dict[str, str], spec: RsaSpec, images: list[np.ndarray]) -> None:
    scorer = make_tiny_scorer(spec.model_copy(update=change), images)
    together = scorer.explain(images)
    alone = [scorer.explain([image])[0] for image in images]
    assert [e.image_score.score for e in together] == pytest.approx([e.image_score.score for e in alone], abs=1e-4)
    for explanation in together:
        if change.get("head") == "pooled":
            assert explanation.contributions is None and explanation.worst() == []
            assert explanation.bias == explanation.image_score.score
        else:
            _adds_up(explanation)
        assert float(explanation.map.sum()) == pytest.approx(1.0, abs=1e-5)


def test_the_worst_regions_come_first() -> None:
    explanation = Explanation(
        ImageScore(2.0, 0.25), 1.0, (0.5, 0.1, 0.4), (0.5, 0.2, 0.3), (0.8, 0.1, 0.3), np.ones((1, 1), np.float32),
        (), ("", "", ""),
    )  # fmt: skip
    assert explanation.worst() == [1, 2] and explanation.worst(1) == [1] and explanation.order() == [1, 2, 0]


def test_saved_and_loaded(plain: RsaScorer, images: list[np.ndarray], tmp_path: Path) -> None:
    plain.save_pretrained(tmp_path / "model")
    loaded = RsaScorer.from_pretrained(tmp_path / "model", device="cpu", cache_dir=tmp_path / "cache")
    for _ in range(2):  # computed, then read
        assert [s.score for s in loaded.score(images)] == pytest.approx(
            [s.score for s in plain.score(images)], abs=1e-6
        )
    assert list((tmp_path / "cache" / "features").rglob("*.safetensors"))
    assert len(list((tmp_path / "cache" / "regions").rglob("*.json"))) == len(images)


def test_the_describer_is_inside_or_near_or_missed(
    knowing: RsaScorer, tuned: Path, images: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = [score.score for score in knowing.score(images)]
    inside, named = tmp_path / "a" / "inside", tmp_path / "runs" / "rsa" / "model"
    knowing.save_pretrained(inside, describer=tuned)
    knowing.save_pretrained(named)
    digest = model_digest(tuned)
    for folder, given in ((inside, None), (named, tuned)):
        loaded = RsaScorer.from_pretrained(folder, given, device="cpu")
        assert [score.score for score in loaded.score(images)] == pytest.approx(expected, abs=1e-4)
    with pytest.raises(CheckpointError, match=rf"the hash {digest}, is gone.*--describer DIR"):
        RsaScorer.from_pretrained(named)
    shutil.copytree(tuned, tmp_path / "runs" / "tuned" / "model")
    assert find_describer(named, digest) == tmp_path / "runs" / "tuned" / "model"
    with pytest.raises(CheckpointError, match=f"is the model {digest}, and the scorer .* with the describer 0123"):
        find_describer(named, "0123", tuned)


def test_bad_folders(plain: RsaScorer, spec: RsaSpec, tuned: Path, images: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such folder"):
        RsaScorer.from_pretrained(tmp_path / "none")
    with pytest.raises(CheckpointError, match="It is a region model"):
        RsaScorer.from_pretrained(tuned)
    folder = tmp_path / "model"
    plain.save_pretrained(folder)
    weights, manifest = (folder / "rsa.safetensors").read_bytes(), (folder / "rsa.json").read_text()
    (folder / "rsa.safetensors").write_bytes(weights[:-1] + b"\x55")
    with pytest.raises(CheckpointError, match="its SHA-256 is not"):
        RsaScorer.from_pretrained(folder)
    (folder / "rsa.safetensors").unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        RsaScorer.from_pretrained(folder)
    (folder / "rsa.safetensors").write_bytes(weights)
    for text in (manifest[:50], "[]", manifest.replace(f'"version": {FORMAT_VERSION}', '"version": 9')):
        (folder / "rsa.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"is damaged|is of format 9"):
            RsaScorer.from_pretrained(folder)
    other = manifest.replace(f'"max_side": {spec.backbone.max_side}', '"max_side": 64')
    (folder / "rsa.json").write_text(other.replace('"seed": 0', '"seed": 1'))
    with pytest.raises(CheckpointError, match="was trained on features of"):
        RsaScorer.from_pretrained(folder)
    (folder / "rsa.json").write_text(manifest)
    with pytest.raises(ConfigError, match=r"Device 'quantum'.*Allowed: cpu"):
        RsaScorer.from_pretrained(folder, device="quantum")
    assert read_manifest(folder).scale == SCALE


def test_bad_pictures_are_named(plain: RsaScorer, images: list[np.ndarray], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image 2: 20x10 pixels"):
        plain.score([images[0], images[0][:10, :20]])
    (tmp_path / "note.png").write_text("not an image")
    with pytest.raises(DataError, match=r"sky\.png: 20x10 pixels"):
        plain.explain([images[0][:10, :20]], names=["sky.png"])
    with pytest.raises(DataError, match=r"note\.png"):
        plain.score([tmp_path / "note.png"])
    assert plain.score([]) == []


def test_settings_that_do_not_go_together(backbone: BackboneSettings) -> None:
    for change, why in (
        (["attention=global"], "semantics must be 'none'"),
        (["attention=global", "semantics=none"], "set head to pooled"),
        (["heads=3"], "heads is 3, which does not divide width 128"),
    ):
        with pytest.raises(ConfigError, match=why):
            load_config(RsaSpec, None, change)
    with pytest.raises(CheckpointError):
        make_reader(RsaSpec(backbone=backbone), DescriberSettings(model="nowhere"))
