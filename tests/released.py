"""The released SEAGULL model for tests: its extractor's reference outputs, and a whole release at tiny sizes.

Weights and inputs of the reference are drawn by recipe, so that only outputs need to be stored: a tensor's weights are
standard normal numbers of a generator seeded by the CRC-32 of its name, scaled to unit gain.
"""

from __future__ import annotations

import json
import string
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from seagull_tune.model.mfe_seagull import SeagullMaskExtractor
from tests.tiny import make_tokenizer

RELEASE_TOWER = "test_convnext"
"""timm's tiny tower of the family that the release uses."""
ASSET = Path(__file__).parent / "assets" / "seagull_mfe_reference.json"
SIDE = 512


def reference() -> dict[str, Any]:
    """Names, shapes, inputs and a few dozen outputs of the released module."""
    content: dict[str, Any] = json.loads(ASSET.read_text(encoding="utf-8"))
    return content


def recipe_weight(name: str, shape: list[int], salt: str) -> Tensor:
    """The weight of one tensor, float32."""
    drawn = np.random.default_rng(zlib.crc32((salt + name).encode())).standard_normal(shape, dtype=np.float32)
    drawn *= np.float32(np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.02)
    if "norm" in name and name.endswith(".weight"):
        drawn += 1
    return torch.from_numpy(drawn)


def recipe_inputs(case: dict[str, Any], features: dict[str, list[int]]) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Maps by name (1, C, h, w), masks (R, 512, 512) and crops (R, 3, 512, 512) of one case."""
    draw = np.random.default_rng(case["seed"])
    maps = {name: torch.from_numpy(draw.standard_normal(shape, dtype=np.float32)) for name, shape in features.items()}
    masks = torch.zeros(len(case["boxes_xyxy"]), SIDE, SIDE)
    for mask, (x0, y0, x1, y1) in zip(masks, case["boxes_xyxy"], strict=True):
        mask[y0:y1, x0:x1] = 1
    small = draw.standard_normal((len(masks), 3, SIDE // 16, SIDE // 16), dtype=np.float32)
    return maps, masks, torch.from_numpy(small.repeat(16, axis=2).repeat(16, axis=3))


def relative_error(seen: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what is expected."""
    return float((seen - expected).norm() / expected.norm())


def make_release(
    folder: Path, kind: str = "bin", tower_file: bool = False, prefix: str = "", seed: int = 0
) -> dict[str, Tensor]:
    """Writes a release of the released names at tiny sizes; returns its tensors by those names.

    Args:
        folder: where to.
        kind: ``bin`` (two shards and their index) or ``safetensors`` (one file).
        tower_file: the vision tower lies in ``open_clip.bin``, in whole, and not among the weights.
        prefix: before every name, as merged adapters leave it.
    """
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    text = LlamaForCausalLM(_tiny_text())
    tower = timm.create_model(RELEASE_TOWER)
    extractor = SeagullMaskExtractor(
        channels=(24, 32, 48, 64), map_sides=(16, 8, 4, 2), width=32, text_width=64, crop_side=64, local_width=16,
        kept_inputs=9,
    )  # fmt: skip
    projector = nn.Sequential(nn.Linear(48, 64), nn.GELU(), nn.Linear(64, 64))
    vision = {f"visual.trunk.{name}": tensor for name, tensor in tower.state_dict().items()}
    tensors = {f"mask_extractor.{name}": tensor for name, tensor in extractor.state_dict().items()}
    tensors |= {f"model.mm_projector.{name}": tensor for name, tensor in projector.state_dict().items()}
    tensors |= text.state_dict()
    if tower_file:
        rest = {"logit_scale": torch.ones(()), "visual.head.proj.weight": torch.ones(3, 3)}
        torch.save(vision | rest, folder / "open_clip.bin")
    else:
        tensors |= {f"model.vision_tower.vision_tower.{name}": tensor for name, tensor in vision.items()}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    tensors = {prefix + name: tensor.detach().clone() for name, tensor in tensors.items()}
    _write_shards(folder, tensors, kind)
    config = {**text.config.to_dict(), "model_type": "seagull", "mm_projector_type": "mlp2x_gelu"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    make_tokenizer().save_pretrained(folder)
    return tensors


def _tiny_text() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(make_tokenizer()) + 2, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024, tie_word_embeddings=False,
    )  # fmt: skip


def _write_shards(folder: Path, tensors: dict[str, Tensor], kind: str) -> None:
    if kind == "safetensors":
        save_file(tensors, folder / "model.safetensors")
        return
    names = sorted(tensors)
    shards = {"pytorch_model-1.bin": names[::2], "pytorch_model-2.bin": names[1::2]}
    for file, part in shards.items():
        torch.save({name: tensors[name] for name in part}, folder / file)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index), encoding="utf-8")


def make_llama_tokenizer() -> PreTrainedTokenizerFast:
    """One that works as Llama's: a blank is put before every text, and blanks are part of words."""
    letters = sorted({"\u2581", "\n", *string.printable.strip()})
    merges = [("\u2581", letter) for letter in string.ascii_letters] + [("E", "R"), ("\u2581U", "S")]
    pieces = [*letters, *("".join(pair) for pair in merges)]
    vocabulary = {piece: i for i, piece in enumerate(["<unk>", "<s>", "</s>", *pieces])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
