"""The released extractor inside the model: it answers, saves, loads and is refused where it cannot serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from seagull_tune.config.model import ModelSpec
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.assemble import released_sizes
from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mfe_seagull import LEVELS
from seagull_tune.model.modeling import SeagullForConditionalGeneration, build_extractor
from seagull_tune.model.projector import EmbeddingScale
from seagull_tune.model.released_encoder import RegionViews, ReleasedEncoder
from seagull_tune.model.vision_tower import VisionTower
from seagull_tune.regions.masks import encode
from tests.tiny import TOWER, make_tiny_model
from tests.unit.model.conftest import Picture

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]


@pytest.fixture(scope="module")
def released() -> Tiny:
    return make_tiny_model(mfe="seagull")


@pytest.fixture
def views(released: Tiny, pictures: list[Picture]) -> RegionViews:
    model, processor = released
    front = model.encode_front(**_inputs(processor, pictures))
    assert isinstance(front, RegionViews)
    return front


def _inputs(processor: SeagullProcessor, pictures: list[Picture]) -> dict[str, Any]:
    return visual_tensors([processor.visual(picture.image, picture.masks) for picture in pictures])


def test_front_gives_whole_maps_of_squares(released: Tiny, views: RegionViews) -> None:
    config = released[0].config
    assert [tuple(views.maps[name].shape[1:]) for name in LEVELS] == [
        (c, s, s) for c, s in zip(config.vision_channels[-4:], config.mfe_map_sides, strict=True)
    ]
    assert views.counts.tolist() == [3, 3] and [len(c) for c in views.crops] == [3, 3]
    assert views.grid.shape == (2, 4, config.vision_channels[-2])


def test_tokens_are_those_of_the_extractor(released: Tiny, views: RegionViews) -> None:
    model, _ = released
    assert isinstance(model.mfe, ReleasedEncoder)
    tokens = model.encode_regions(views)
    overall, local = model.mfe.extractor(views.maps, views.masks, views.crops)
    torch.testing.assert_close(tokens[:, 0], torch.cat(overall))
    torch.testing.assert_close(tokens[:, 1], torch.cat(local))


def test_a_photograph_alone_equals_one_in_a_batch(released: Tiny, views: RegionViews, pictures: list[Picture]) -> None:
    model, processor = released
    together = model.encode_regions(views)
    for index, picture in enumerate(pictures):
        alone = model.encode_regions(model.encode_front(**_inputs(processor, [picture])))
        torch.testing.assert_close(alone, together[3 * index : 3 * index + 3], rtol=1e-4, atol=1e-4)


def test_it_is_saved_loaded_strictly_and_answers(released: Tiny, pictures: list[Picture], tmp_path: Path) -> None:
    model, processor = released
    save_checkpoint(model, processor, tmp_path / "m")
    loaded = load_checkpoint(tmp_path / "m")
    assert loaded[1].view == "square" and loaded[0].config.mfe == "seagull"
    region = encode(pictures[0].masks[0], "disc")
    pairs = ((model, processor), loaded)
    answers = [RegionAssessor(*pair, name="tiny").assess(pictures[0].image, [region])[0] for pair in pairs]
    assert answers[0].scores == answers[1].scores and answers[0].direct == answers[1].direct
    assert answers[0].resolution == (96, 96)


def test_loading_names_what_is_missing(released: Tiny, tmp_path: Path) -> None:
    import json

    from safetensors.torch import load_file, save_file

    from seagull_tune.files import sha256_of

    save_checkpoint(*released, tmp_path / "m")
    file = tmp_path / "m" / "trained.safetensors"
    tensors = load_file(file)
    del tensors["mfe.extractor.final_mlp.weight"]
    save_file(tensors, file)
    manifest = json.loads((tmp_path / "m" / "checkpoint.json").read_text())
    (tmp_path / "m" / "checkpoint.json").write_text(json.dumps({**manifest, "sha256": sha256_of(file)}))
    with pytest.raises(CheckpointError, match=r"1 tensors missing .*final_mlp\.weight"):
        load_checkpoint(tmp_path / "m")


def test_an_own_scale_leaves_tokens_as_they_are() -> None:
    tokens = 7 * torch.randn(3, 2, 8)
    scale = EmbeddingScale(8, own=True)
    scale.match(torch.randn(5, 8))
    assert torch.equal(scale(tokens), tokens) and not list(scale.parameters())
    assert not torch.equal(EmbeddingScale(8)(tokens), tokens)


def test_sides_of_maps_are_measured_without_weights() -> None:
    assert VisionTower.map_sides(TOWER, 96)[-4:] == (24, 12, 6, 3)


def test_sizes_of_a_new_model_follow_from_tower_and_photograph() -> None:
    spec = ModelSpec(mfe="seagull", vision_backbone=TOWER, image_max_side=128, crop_side=64)
    assert released_sizes(spec) == {"image_level": -2, "mfe_map_sides": (32, 16, 8, 4), "mfe_crop_side": 64}
    with pytest.raises(ConfigError, match=r"reads 4 maps; model\.vision_backbone test_vit has"):
        released_sizes(spec.model_copy(update={"vision_backbone": "test_vit"}))


def test_what_cannot_serve_is_refused() -> None:
    with pytest.raises(ConfigError, match="no extractor 'sea'"):
        build_extractor(SeagullConfig(mfe="sea"))
    with pytest.raises(ConfigError, match="reads 4 maps"):
        build_extractor(SeagullConfig(mfe="seagull", vision_channels=[4, 8], mfe_map_sides=[2, 1], mfe_crop_side=64))
    with pytest.raises(ValidationError, match="multiple of 16"):
        ModelSpec(mfe="seagull", mfe_hidden=24)
    with pytest.raises(ValidationError, match="cache_front"):
        TrainConfig.model_validate({"out": "o", "data": "d", "model": {"mfe": "seagull"}})
