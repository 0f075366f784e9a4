"""New models from their bases, and checkpoints that hold only what is not in a base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from timm.models import get_pretrained_cfg
from transformers import LlamaConfig, LlamaForCausalLM

from seagull_tune.config.base import load_config
from seagull_tune.config.model import ModelSpec
from seagull_tune.config.train import Lora, Stage, TrainConfig
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.model import bases
from seagull_tune.model.assemble import assemble, outline
from seagull_tune.model.checkpoint import TRAINED, load_checkpoint, save_checkpoint
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.training.stages import apply_stage
from tests.tiny import TOWER, make_tokenizer
from tests.unit.model.conftest import Picture
from tests.unit.model.test_checkpoint import logits_of

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]
SPEC = ModelSpec(
    language_model="embedded:words", vision_tower="embedded:eyes", vision_backbone=TOWER, image_max_side=96,
    image_grid=2, patch_size=16, patches_per_region=3, mfe_hidden=32,
)  # fmt: skip


@pytest.fixture
def base_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two embedded bases: a language model with a tokenizer, and a tower with its classifier."""
    torch.manual_seed(5)
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path / "words")
    tokenizer.save_pretrained(tmp_path / "words")
    (tmp_path / "eyes").mkdir()
    save_file(timm.create_model(TOWER).state_dict(), tmp_path / "eyes" / "model.safetensors")
    monkeypatch.setattr(bases.embedded, "ensure", lambda name: tmp_path / name)
    monkeypatch.setattr(bases.embedded, "fingerprint", lambda name: f"hash-of-{name}")
    return tmp_path


def test_bases_are_loaded_and_named_by_content(base_folders: Path) -> None:
    model, processor = assemble(SPEC)
    assert model.config.bases == {
        "language_model": "embedded:words@hash-of-words", "vision_tower": "embedded:eyes@hash-of-eyes",
    }  # fmt: skip
    words = load_file(base_folders / "words" / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(model.get_input_embeddings().weight, words)
    eyes = load_file(base_folders / "eyes" / "model.safetensors")
    assert torch.equal(model.vision_tower.backbone.state_dict()["conv_stem.weight"], eyes["conv_stem.weight"])
    # The placeholders lie beyond the vocabulary, which is not resized.
    assert model.get_input_embeddings().weight.shape[0] == processor.layout.image_token_id
    torch.testing.assert_close(model.region_norm.gain.squeeze(), words.square().mean().sqrt())


def test_the_seed_draws_our_own_parts(base_folders: Path) -> None:
    first, same, other = (assemble(SPEC, seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in first.items())
    name = "mfe.to_global.weight"
    assert not torch.equal(first[name], other[name])


def test_a_checkpoint_holds_what_no_base_has(base_folders: Path, pictures: list[Picture], tmp_path: Path) -> None:
    tiny = assemble(SPEC)
    apply_stage(tiny[0], Stage(language_model="lora"), Lora(rank=2))
    tiny[0].eval()
    save_checkpoint(*tiny, tmp_path / "c")
    names = load_file(tmp_path / "c" / TRAINED)
    assert not any(name.startswith(("language_model.", "vision_tower.")) for name in names)
    ours = {"mfe", "region_norm", "direct_head", "belief_words", "projector", "image_norm"}
    assert {name.split(".")[0] for name in names} == ours
    assert torch.equal(logits_of(load_checkpoint(tmp_path / "c"), pictures), logits_of(tiny, pictures))
    for path in (tmp_path / "c").rglob("*.json"):
        if path.name != "tokenizer.json":
            assert str(base_folders) not in path.read_text(), f"{path.name} names a path of this machine"


@pytest.mark.parametrize("before", ["frozen", "lora"])
def test_a_fully_trained_language_model_leaves_its_base(
    base_folders: Path, pictures: list[Picture], tmp_path: Path, before: str
) -> None:
    tiny = assemble(SPEC)
    apply_stage(tiny[0], Stage.model_validate({"language_model": before}), Lora(rank=2))
    apply_stage(tiny[0], Stage(language_model="full"), Lora())
    with torch.no_grad():
        tiny[0].get_input_embeddings().weight.mul_(1.5)
    tiny[0].eval()
    save_checkpoint(*tiny, tmp_path / "c")
    loaded = load_checkpoint(tmp_path / "c")
    assert set(loaded[0].config.bases) == {"vision_tower"}
    assert torch.equal(logits_of(loaded, pictures), logits_of(tiny, pictures))


def test_another_base_than_the_checkpoint_was_made_with(
    base_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(*assemble(SPEC), tmp_path / "c")
    monkeypatch.setattr(bases.embedded, "fingerprint", lambda name: "other")
    with pytest.raises(CheckpointError, match=r"embedded:words@hash-of-words.*other"):
        load_checkpoint(tmp_path / "c")


def test_a_tower_that_lacks_tensors_is_refused(base_folders: Path) -> None:
    path = base_folders / "eyes" / "model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if name != "conv_stem.weight"}, path)
    with pytest.raises(CheckpointError, match=r"eyes.*lacks 1 tensors.*conv_stem.weight"):
        assemble(SPEC)


@pytest.mark.parametrize("tower", ["test_convnext", "test_vit", "test_resnet", TOWER])
def test_hub_weights_of_any_family_fit_the_backbone(tower: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm renames the tensors of some families when it takes features only; weights must come under those names."""
    real, asked = timm.create_model, {}

    def without_network(name: str, **options: object) -> object:
        asked.update(options)
        return real(name, **{k: v for k, v in options.items() if not k.startswith("pretrained")})

    monkeypatch.setattr(timm, "create_model", without_network)
    weights = bases.load_tower_weights("hub:timm/some@v1", tower)
    assert asked["pretrained"] is True and asked["pretrained_cfg_overlay"] == {"hf_hub_id": "timm/some@v1"}
    from seagull_tune.model.vision_tower import VisionTower

    result = VisionTower(tower).backbone.load_state_dict(weights, strict=True)
    assert not result.missing_keys


# -- outlines ---------------------------------------------------------------------------------------------------------

# As their publishers count them, or sums of the tensors of their weight files.
LANGUAGE_MODELS = {
    "smollm2-135m": 134_515_008, "vicuna-7b": 6_738_415_616, "qwen3-4b": 4_022_468_096, "qwen3-8b": 8_190_735_360,
}  # fmt: skip
TOWERS = {
    "efficientnet-lite0": (16, 24, 40, 112, 320), "clip-convnext-l-d-320": (192, 384, 768, 1536),
    "dinov3-convnext-l": (192, 384, 768, 1536), "siglip2-so400m": (1152, 1152, 1152),
}  # fmt: skip


def spec_of(root: Path, *names: str) -> ModelSpec:
    """The model of a recipe that names files of configs/model/ and nothing else."""
    file = root / "recipe.yaml"
    file.write_text(f"base: {[f'configs/model/{name}.yaml' for name in names]}\nout: o\ndata: d\n")
    return load_config(TrainConfig, file).model


@pytest.fixture
def recipes(project_root: Path, tmp_path: Path) -> Path:
    (tmp_path / "configs").symlink_to(project_root / "configs")
    return tmp_path


def test_every_shipped_architecture_is_tested(project_root: Path) -> None:
    assert {file.stem for file in (project_root / "configs" / "model").glob("*.yaml")} == {*LANGUAGE_MODELS, *TOWERS}


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_language_model_is_outlined_without_its_files(name: str, recipes: Path) -> None:
    model = outline(spec_of(recipes, name))
    assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    assert sum(p.numel() for p in model.language_model.parameters()) == LANGUAGE_MODELS[name]


@pytest.mark.parametrize("name", TOWERS)
def test_a_tower_is_outlined_without_its_files(name: str, recipes: Path) -> None:
    spec = spec_of(recipes, "smollm2-135m", name)
    model = outline(spec)
    assert tuple(model.config.vision_channels) == TOWERS[name]
    pretrained = get_pretrained_cfg(spec.vision_tower.split("/")[-1].split("@")[0])
    if pretrained is not None and spec.vision_tower.startswith("hub:"):
        assert (pretrained.mean, pretrained.std) == (spec.image_mean, spec.image_std)
        assert pretrained.architecture == spec.vision_backbone


def test_a_later_language_model_leaves_nothing_of_an_earlier_one(recipes: Path) -> None:
    assert spec_of(recipes, "qwen3-8b", "smollm2-135m") == spec_of(recipes, "smollm2-135m")


def test_an_outline_has_the_tensors_of_the_model(base_folders: Path) -> None:
    model, _ = assemble(SPEC)
    text = model.config.text_config
    sizes = {
        "model_type": "llama", "head_dim": 16, "tie_word_embeddings": True,
        "max_position_embeddings": text.max_position_embeddings, "vocab_size": text.vocab_size, "hidden_size": 64,
        "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    }  # fmt: skip
    planned = outline(ModelSpec.model_validate({**SPEC.model_dump(), "language_model_sizes": sizes}))
    assert {n: t.shape for n, t in planned.state_dict().items()} == {n: t.shape for n, t in model.state_dict().items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, r"'bert', whose layers cannot be counted"),
        ({"model_type": "recurrent_gemma"}, r"'recurrent_gemma'"),
        ({"head_dim": 7}, r"cannot be sizes of a 'llama': .*even rotary dimension"),
    ],
)
def test_an_outline_is_of_what_could_be_trained(changes: dict[str, Any], message: str, recipes: Path) -> None:
    spec = spec_of(recipes, "smollm2-135m")
    odd = {**spec.model_dump()["language_model_sizes"], **changes}
    with pytest.raises(ConfigError, match=message):
        outline(ModelSpec.model_validate({**spec.model_dump(), "language_model_sizes": odd}))


def test_heads_share_keys_evenly(recipes: Path) -> None:
    values = spec_of(recipes, "smollm2-135m").model_dump()
    values["language_model_sizes"] |= {"num_attention_heads": 9, "num_key_value_heads": 5}
    with pytest.raises(ValidationError, match=r"num_attention_heads is 9; allowed: a multiple of .* \(5\)"):
        ModelSpec.model_validate(values)


def test_an_outline_needs_sizes_of_a_known_family(recipes: Path) -> None:
    with pytest.raises(ConfigError, match=r"give model\.language_model_sizes"):
        outline(SPEC)
    spec = spec_of(recipes, "smollm2-135m")
    odd = {**spec.model_dump()["language_model_sizes"], "model_type": "lama"}
    with pytest.raises(ConfigError, match=r"'lama', a family that transformers does not know\. Did you mean"):
        outline(ModelSpec.model_validate({**spec.model_dump(), "language_model_sizes": odd}))
