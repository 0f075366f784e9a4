"""A release at tiny sizes becomes a checkpoint that computes the same, and says in its words what it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants as hub
import pytest
import skimage.data
import timm
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu, linear
from transformers import PreTrainedTokenizerBase

from seagull_tune.config.convert import ConvertConfig
from seagull_tune.data.processor import SeagullProcessor, visual_tensors
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.chat import ChatSession
from seagull_tune.instructions.converse import free_question
from seagull_tune.instructions.templates import load_prompts
from seagull_tune.model.card_sections import CONVERTED
from seagull_tune.model.checkpoint import load_checkpoint, model_digest, read_manifest
from seagull_tune.model.convert_seagull import (
    chat_template,
    convert_release,
    is_here,
    photograph_side,
    read_release,
    released_prompts,
)
from seagull_tune.model.mfe_seagull import LEVELS, SeagullMaskExtractor
from seagull_tune.model.released_encoder import RegionViews
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import decode
from seagull_tune.tune.facts import earlier_rounds
from tests.released import RELEASE_TOWER, make_llama_tokenizer, make_release

IMAGE = skimage.data.chelsea()[:120, :160]
FORMS: list[dict[str, Any]] = [{"kind": "safetensors"}, {"prefix": "base_model.model."}, {"tower_file": True}]
REGION = box_region((20, 30, 90, 100), 120, 160)


def settings(source: Path | str, **changes: object) -> ConvertConfig:
    plain = {"format": "seagull", "source": str(source), "vision_backbone": RELEASE_TOWER}
    return ConvertConfig.model_validate({**plain, **changes})


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    folder = tmp_path_factory.mktemp("release") / "SEAGULL-7B"
    return folder, make_release(folder)


@pytest.fixture(scope="module")
def converted(release: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("converted") / "model"
    convert_release(settings(release[0]), out)
    return out


def test_every_tensor_is_mapped_and_kept(release: tuple[Path, dict[str, torch.Tensor]], converted: Path) -> None:
    folder, tensors = release
    found = read_release(settings(folder))
    assert {row.name for row in found.rows} == set(tensors)
    unused = {row.name: row.note for row in found.rows if row.target is None}
    assert set(unused.values()) == {"above the maps that are read", "computed when the model is built"}
    saved = load_file(converted / "trained.safetensors")
    for row in found.rows:
        if row.target is not None:
            assert torch.equal(saved[row.target], tensors[row.name]), row.name
    table = found.table()
    assert all(name in table for name in tensors)
    assert table.endswith(f"{len(tensors) - len(unused)} tensors mapped ({_numbers(found)}), {len(unused)} not used.")


def _numbers(found: object) -> str:
    return f"{sum(tensor.numel() for tensor in found.tensors.values()):,} numbers"  # type: ignore[attr-defined]


def test_the_checkpoint_computes_what_the_release_does(
    release: tuple[Path, dict[str, torch.Tensor]], converted: Path
) -> None:
    """Its parts by themselves, written out, against the whole model: tower, extractor, projector, language model."""
    _, tensors = release
    model, processor = load_checkpoint(converted)
    with torch.inference_mode():
        views = model.encode_front(**visual_tensors([processor.visual(IMAGE, decode(REGION)[None])]))
        assert isinstance(views, RegionViews)
        trunk = timm.create_model(RELEASE_TOWER).eval()
        vision = "model.vision_tower.vision_tower.visual.trunk."
        trunk.load_state_dict({n.removeprefix(vision): t for n, t in tensors.items() if n.startswith(vision)})
        level = trunk.stem(torch.from_numpy(processor.visual(IMAGE, decode(REGION)[None]).pixels)[None])
        for name, stage in zip(LEVELS, trunk.stages, strict=True):
            level = stage(level)
            torch.testing.assert_close(views.maps[name], level, rtol=1e-4, atol=1e-5)
        extractor = SeagullMaskExtractor((24, 32, 48, 64), (16, 8, 4, 2), 32, 64, 8, 64, 16, 9)
        own = {n.removeprefix("mask_extractor."): t for n, t in tensors.items() if n.startswith("mask_extractor.")}
        extractor.load_state_dict(own, strict=True)
        (overall,), (local,) = extractor(views.maps, views.masks, views.crops)
        tokens = model.speak_regions(model.encode_regions(views))
        torch.testing.assert_close(tokens[:, 0], overall)
        torch.testing.assert_close(tokens[:, 1], local)
        res4 = views.maps["res4"].flatten(2).transpose(1, 2)  # (1, 16, 48)
        first, second = ([tensors[f"model.mm_projector.{i}.{k}"] for k in ("weight", "bias")] for i in (0, 2))
        torch.testing.assert_close(model.project_image(views.grid), linear(gelu(linear(res4, *first)), *second))
    embedding = tensors["model.embed_tokens.weight"]
    assert torch.equal(model.get_input_embeddings().weight, embedding)


def test_it_is_asked_in_the_words_of_the_release(converted: Path) -> None:
    _, processor = load_checkpoint(converted)
    prompts = load_prompts(converted / "prompts")
    messages = free_question("Analyze the quality of this region.", prompts=prompts)
    encoded = processor.encode(messages, add_generation_prompt=True)
    layout = processor.layout
    image, (overall, local) = layout.image_token_id, layout.region_token_ids
    shown = [processor.tokenizer.decode([i]) for i in encoded.input_ids if i != image]
    text = "".join(shown)
    assert encoded.input_ids.count(image) == 16 and encoded.input_ids.count(overall) == 1
    assert local == overall + 1 == len(processor.tokenizer) - 2, "the release's own ids, <image> after them"
    assert "human's questions. USER: \nThis provides an overview of the image.\n Please answer" in text
    assert text.endswith("Here is the region <global><local>. Analyze the quality of this region. ASSISTANT:")


def test_a_llama_tokenizer_gives_the_tokens_of_the_release() -> None:
    """Against the release's own way: the whole text cut at the image, each half tokenised at once."""
    processor = SeagullProcessor(make_llama_tokenizer(), image_grid=2, keep_blanks=True)
    words = processor.tokenizer
    words.chat_template = chat_template(words)
    with released_prompts() as folder:
        prompts = load_prompts(folder)
    question = "Analyze the quality of this region."
    seen = processor.encode(free_question(question, prompts=prompts), add_generation_prompt=True).input_ids
    before = f"{prompts.system} USER: "
    after = prompts.free_question.replace("{region}", "<global><local>").replace("{question}", question) + " ASSISTANT:"
    image = [processor.layout.image_token_id] * 4
    expected = [words.bos_token_id, *_ids(words, before), *image, *_ids(words, after)]
    assert words.convert_ids_to_tokens(seen) == words.convert_ids_to_tokens(expected)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def test_it_answers_and_gives_scores(converted: Path) -> None:
    assessor = RegionAssessor.from_pretrained(converted)
    session = ChatSession(assessor, IMAGE)
    session.add_region(REGION)
    assert isinstance(session.ask("Analyze the quality of this region.", max_new_tokens=5), str)
    (answer,) = assessor.assess(IMAGE, [REGION])
    assert 0 <= answer.scores.quality <= 1 and answer.resolution == (64, 64)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: str(next(iter(form))))
def test_other_forms_of_a_release_give_the_same_checkpoint(form: dict, converted: Path, tmp_path: Path) -> None:
    make_release(tmp_path / "r", **form)
    tower = tmp_path / "r" / "open_clip.bin" if "tower_file" in form else None
    convert_release(settings(tmp_path / "r", tower=tower), tmp_path / "out")
    first, second = (load_file(folder / "trained.safetensors") for folder in (converted, tmp_path / "out"))
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_checkpoint_names_files_by_hash_and_no_path(release: tuple[Path, dict], converted: Path) -> None:
    origin = read_manifest(converted)["resolved_config"][CONVERTED]
    assert sorted(origin["sha256"]) == ["pytorch_model-1.bin", "pytorch_model-2.bin"]
    for file in (*converted.glob("*.json"), converted / "README.md"):
        assert str(release[0].parent) not in file.read_text(), file


def test_its_card_says_what_it_is_and_what_it_is_not_good_for(converted: Path) -> None:
    card = ModelCard.load(converted / "README.md")
    for name, file_hash in read_manifest(converted)["resolved_config"][CONVERTED]["sha256"].items():
        assert f"| {name} | `{file_hash}` |" in card.text
    assert card.data.license == "other" and card.data.base_model is None
    assert "By those who released it" in card.text and "Take its words, not its numbers" in card.text
    assert "Trust the numbers" not in card.text and "not human opinion" not in card.text


def test_what_is_tuned_from_it_says_so(converted: Path) -> None:
    assert earlier_rounds(converted) == [{"model": model_digest(converted), CONVERTED: "seagull"}]


@pytest.mark.parametrize("revision", ["main", "commit"])
def test_a_repository_of_the_hub_is_a_release(
    revision: str, release: tuple[Path, dict], converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what the hub's client keeps, without the hub: a folder named by the commit, a file that names the branch."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    kept = tmp_path / "models--some--SEAGULL-7B"
    (kept / "snapshots").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(commit)
    source = f"hub:some/SEAGULL-7B@{commit if revision == 'commit' else revision}"
    assert not is_here(source)
    (kept / "snapshots" / commit).symlink_to(release[0])
    assert is_here(source)
    convert_release(settings(source), tmp_path / "out")
    assert model_digest(tmp_path / "out") == model_digest(converted)
    origin = read_manifest(tmp_path / "out")["resolved_config"][CONVERTED]
    assert origin["repository"] == f"hub:some/SEAGULL-7B@{commit}", "the commit, not the branch"
    assert origin["repository"] in (tmp_path / "out" / "README.md").read_text()


def test_what_is_no_folder_is_refused_with_the_way_to_name_a_repository(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"some/SEAGULL-7B is no folder.*hub:ID@REVISION"):
        read_release(settings("some/SEAGULL-7B"))
    with pytest.raises(ConfigError, match="REVISION"):
        read_release(settings("hub:some/SEAGULL-7B"))


def _broken(tmp_path: Path, change: dict[str, torch.Tensor | None]) -> ConvertConfig:
    tensors = make_release(tmp_path / "r", kind="safetensors")
    kept = {name: tensor for name, tensor in {**tensors, **change}.items() if tensor is not None}
    save_file(kept, tmp_path / "r" / "model.safetensors")
    return settings(tmp_path / "r")


REFUSED: dict[str, tuple[dict[str, torch.Tensor | None], str]] = {
    "missing": ({"model.norm.weight": None}, r"1 tensors missing .*language_model\.model\.norm\.weight"),
    "unknown": ({"model.extra.weight": torch.ones(2)}, r"1 tensors have no place .*model\.extra\.weight"),
    "size": ({"model.norm.weight": torch.ones(3)}, r"1 of another size .*norm\.weight \(3,\) instead of \(64,\)"),
    "adapters": ({"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2)}, "adapters .*merge them"),
    "other model": ({"mask_extractor.sa.q_proj.weight": None}, "not a SEAGULL model"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_whole_is_refused_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    change, message = REFUSED[case]
    with pytest.raises(CheckpointError, match=message):
        convert_release(_broken(tmp_path, change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tower_in_its_own_file_must_be_named(tmp_path: Path) -> None:
    make_release(tmp_path / "r", tower_file=True)
    with pytest.raises(CheckpointError, match="name it with --tower"):
        read_release(settings(tmp_path / "r"))


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        read_release(settings(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}))
    with pytest.raises(CheckpointError, match="lacks num_hidden_layers"):
        read_release(settings(tmp_path))
    make_release(tmp_path / "r")
    (tmp_path / "r" / "pytorch_model-2.bin").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match=r"pytorch_model-2\.bin cannot be read"):
        read_release(settings(tmp_path / "r"))
    (tmp_path / "r" / "pytorch_model-2.bin").unlink()
    with pytest.raises(CheckpointError, match=r"names 1 files that are missing: pytorch_model-2\.bin"):
        read_release(settings(tmp_path / "r"))


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    make_release(tmp_path / "r")
    torch.save({"model.norm.weight": Path("x")}, tmp_path / "r" / "pytorch_model-1.bin")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        read_release(settings(tmp_path / "r"))


def test_the_side_of_photographs_follows_from_the_maps() -> None:
    assert photograph_side("convnext_large", (128, 64, 32, 16)) == 512
    with pytest.raises(ConfigError, match="No square photograph"):
        photograph_side(RELEASE_TOWER, (128, 64, 32, 5))
