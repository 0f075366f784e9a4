"""Every setting of our extractor: alone equals in a batch, it trains, it is saved, merged and asked like others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from seagull_tune.config.model import EXTRACTOR_SETTINGS, ModelSpec
from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.checkpoint import load_checkpoint, save_checkpoint
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.merge import merge_checkpoint
from seagull_tune.model.mfe import GridAttention, MaskFeatureExtractor
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.regions.masks import encode
from tests.tiny import enliven, make_tiny_model, our_mfe, our_statistics
from tests.unit.model.conftest import Picture
from tests.unit.model.test_checkpoint import logits_of, with_lora

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]

EVERYTHING = {"mfe_context": 0.25, "mfe_tokens": (2, 3), "mfe_attention": True}
SETTINGS: dict[str, dict[str, Any]] = {
    "context": {"mfe_context": 0.25},
    "tokens": {"mfe_tokens": (2, 3)},
    "attention": {"mfe_attention": True},
    "global": {"mfe_local": False},
    "local": {"mfe_global": False},
    "mean": {"mfe_pooling": "mean"},
    "everything": EVERYTHING,
    "attending local": {"mfe_global": False, "mfe_attention": True, "mfe_tokens": (1, 2)},
}


def _awake(tiny: Tiny) -> Tiny:
    """The same with an attention that does something: it starts by adding nothing."""
    attention = our_mfe(tiny[0]).attention
    if attention is not None:
        torch.nn.init.normal_(attention.to_tokens.weight, generator=torch.Generator().manual_seed(0))
    return tiny


@pytest.fixture(params=list(SETTINGS))
def made(request: pytest.FixtureRequest) -> Tiny:
    return _awake(make_tiny_model(settings=SETTINGS[request.param]))


def test_as_many_tokens_and_placeholders_as_asked_for(made: Tiny, visual: dict[str, Any]) -> None:
    model, processor = made
    n_global, n_local = model.config.region_token_counts
    names = processor.region_token_names
    assert len(names) == len(set(names)) == n_global + n_local == model.config.n_region_tokens
    assert [name.startswith("<global") for name in names] == [True] * n_global + [False] * n_local
    assert model.encode_regions(model.encode_front(**visual)).shape == (6, n_global + n_local, model.config.text_width)


def test_a_region_alone_equals_one_in_a_batch(made: Tiny, visual: dict[str, Any], pictures: list[Picture]) -> None:
    model, processor = made
    with torch.no_grad():
        model.mfe.measure(model.encode_front(**visual))
        together = model.encode_regions(model.encode_front(**visual))
        for index, picture in enumerate(pictures):
            for region in range(3):
                inputs = visual_tensors([processor.visual(picture.image, picture.masks[region : region + 1])])
                alone = model.encode_regions(model.encode_front(**inputs))
                torch.testing.assert_close(alone[0], together[3 * index + region], rtol=1e-3, atol=1e-3)


def test_every_parameter_is_trained(made: Tiny, visual: dict[str, Any]) -> None:
    model, _ = made
    statistics = model.encode_front(**visual)
    model.mfe.measure(statistics)
    direct = model.judge_regions(model.encode_regions(statistics))
    loss = sum((value * torch.randn_like(value)).sum() for value in (direct.quality, direct.severity))
    assert isinstance(loss, torch.Tensor)
    loss.backward()
    # A constant added to all keys moves no attention.
    idle = {
        name
        for name, p in model.mfe.named_parameters()
        if (p.grad is None or not bool(p.grad.any())) and name != "attention.to_keys.bias"
    }
    assert idle == set()


def test_saved_loaded_and_merged(made: Tiny, pictures: list[Picture], tmp_path: Path) -> None:
    with_lora(made[0])
    save_checkpoint(*made, tmp_path / "tuned")
    expected = logits_of(made, pictures)
    loaded = load_checkpoint(tmp_path / "tuned")
    assert torch.equal(logits_of(loaded, pictures), expected)
    assert loaded[1].layout == made[1].layout and loaded[0].config.mfe_tokens == list(made[0].config.mfe_tokens)
    merge_checkpoint(tmp_path / "tuned", tmp_path / "merged")
    torch.testing.assert_close(logits_of(load_checkpoint(tmp_path / "merged"), pictures), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["everything", "local"])
def test_scores_and_texts(name: str, pictures: list[Picture]) -> None:
    model, processor = _awake(make_tiny_model(seed=3, settings=SETTINGS[name]))
    enliven(model)
    picture = pictures[0]
    regions = [encode(mask, name=str(i)) for i, mask in enumerate(picture.masks)]
    assessor = RegionAssessor(model, processor, "tiny")
    together = assessor.assess(picture.image, regions, text=[0])
    for region, found in zip(regions, together, strict=True):
        (alone,) = assessor.assess(picture.image, [region])
        assert alone.scores.quality == pytest.approx(found.scores.quality, abs=1e-4)
        assert alone.direct is not None and found.direct is not None
        assert alone.direct.quality == pytest.approx(found.direct.quality, abs=1e-4)
    assert len({round(found.scores.quality, 6) for found in together}) == 3, "regions are told apart"


def test_a_setting_that_is_off_changes_no_weight() -> None:
    plain = our_mfe(make_tiny_model()[0]).state_dict()
    for name in ("context", "attention"):
        other = our_mfe(make_tiny_model(settings=SETTINGS[name])[0]).state_dict()
        shared = [key for key in plain if not key.startswith(("local_branch", "mixer", "to_"))]
        kept = list(plain) if name == "attention" else [key for key in shared if key in other]
        assert all(torch.equal(other[key], plain[key]) for key in kept), name
        assert set(plain) < set(other)


def test_attention_starts_as_the_extractor_without_it(visual: dict[str, Any]) -> None:
    plain, attending = make_tiny_model()[0], make_tiny_model(settings={"mfe_attention": True})[0]
    with torch.no_grad():
        expected = plain.encode_regions(plain.encode_front(**visual))
        torch.testing.assert_close(attending.encode_regions(attending.encode_front(**visual)), expected)


def test_regions_see_the_grid_of_their_own_image_only(visual: dict[str, Any]) -> None:
    model, _ = _awake(make_tiny_model(settings={"mfe_attention": True}))
    statistics = our_statistics(model, visual)
    moved = statistics.grid.clone()
    moved[1] += 1.0
    with torch.no_grad():
        before, after = model.mfe(statistics), model.mfe(replace(statistics, grid=moved))
    change = (after - before).abs().amax(dim=(1, 2))
    assert float(change[:3].max()) == 0 and float(change[3:].min()) > 1e-3


def test_attention_against_a_loop_over_images_of_any_number_of_regions() -> None:
    torch.manual_seed(0)
    attention = GridAttention(hidden=12, tokens=2, channels=5, width=8, text_width=6)
    torch.nn.init.normal_(attention.to_tokens.weight)
    counts = torch.tensor([2, 0, 3])
    hidden, grid = torch.randn(5, 12), torch.randn(3, 4, 5)
    together = attention(hidden, grid, counts)
    first = 0
    for image, count in enumerate(counts.tolist()):
        for region in range(first, first + count):
            alone = attention(hidden[region : region + 1], grid[image : image + 1], torch.tensor([1]))
            torch.testing.assert_close(alone[0], together[region], rtol=1e-5, atol=1e-6)
        first += count
    assert attention(hidden[:0], grid, torch.zeros(3, dtype=torch.long)).shape == (0, 2, 6)


def test_context_is_read(visual: dict[str, Any]) -> None:
    model, _ = make_tiny_model(settings={"mfe_context": 0.25})
    statistics = our_statistics(model, visual)
    assert statistics.context is not None
    torch.testing.assert_close(statistics.context[2], statistics.maps[2], msg="the whole image has no ring but itself")
    with torch.no_grad():
        moved = model.mfe(replace(statistics, context=statistics.context + 1.0)) - model.mfe(statistics)
    assert float(moved.abs().amax(dim=(1, 2)).min()) > 1e-3
    with pytest.raises(TypeError, match="the statistics hold none"):
        model.mfe(replace(statistics, context=None))


def test_boxes_instead_of_masks(pictures: list[Picture], tmp_path: Path) -> None:
    masked, boxed = make_tiny_model(), make_tiny_model(region_shape="box")
    picture = pictures[0]
    disc = picture.masks[:1]
    rows, columns = np.flatnonzero(disc[0].any(axis=1)), np.flatnonzero(disc[0].any(axis=0))
    box = np.zeros_like(disc)
    box[0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    with torch.no_grad():
        by_box = boxed[0].encode_front(**visual_tensors([boxed[1].visual(picture.image, disc)]))
        as_mask = masked[0].encode_front(**visual_tensors([masked[1].visual(picture.image, box)]))
    for name in ("maps", "geometry", "native", "coverage"):
        assert torch.equal(getattr(by_box, name), getattr(as_mask, name)), name
    save_checkpoint(*boxed, tmp_path / "boxed")
    assert load_checkpoint(tmp_path / "boxed")[1].region_shape == "box"


# -- one place of truth ------------------------------------------------------------------------------------------------


def test_a_new_model_and_a_configuration_agree_about_the_defaults() -> None:
    spec, config = ModelSpec(), SeagullConfig()
    for name in set(EXTRACTOR_SETTINGS) - {"region_beliefs"}:
        assert getattr(spec, name) == getattr(config, name), name
    # A configuration that does not mention it was written before it existed.
    assert spec.region_beliefs and not config.region_beliefs
    assert spec.region_token_counts == config.region_token_counts == (1, 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mfe_global": False, "mfe_local": False}, "both false"),
        ({"mfe_global": False, "mfe_context": 0.2}, "read by the global branch"),
        ({"mfe_attention": True, "mfe_hidden": 30}, "multiple of 4"),
        ({"mfe": "seagull", "mfe_attention": True, "mfe_tokens": (2, 1)}, "mfe_tokens.*mfe_attention"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelSpec.model_validate(settings)
    with pytest.raises(ConfigError, match=words):
        MaskFeatureExtractor(SeagullConfig(text_config=make_tiny_model()[0].config.text_config, **settings))


def test_placeholders_and_tokens_that_do_not_agree(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 placeholders; 3 tokens"):
        SeagullForConditionalGeneration(
            SeagullConfig(text_config=make_tiny_model()[0].config.text_config, mfe_tokens=(1, 2))
        )
    (model, _), (_, processor) = make_tiny_model(), make_tiny_model(settings={"mfe_tokens": (2, 1)})
    save_checkpoint(model, processor, tmp_path / "mixed")
    with pytest.raises(CheckpointError, match="placeholders of a region"):
        load_checkpoint(tmp_path / "mixed")
