"""The released SEAGULL-7B -> one of our checkpoints: its weights, its sizes, its words.

Every size is read from the tensors themselves. The converted model keeps what the release computes: image and region
tokens enter the language model as they are, photographs are squashed to squares, questions come in the words that it
was tuned with. Only our direct head has no weights in a release: it starts from the language model's own words,
untrained.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

from seagull_tune.config.convert import ConvertConfig
from seagull_tune.data.processor import REGION_TOKENS, SeagullProcessor
from seagull_tune.errors import CheckpointError, ConfigError
from seagull_tune.files import sha256_of
from seagull_tune.instructions.templates import prompt_folder
from seagull_tune.model import bases
from seagull_tune.model.assemble import set_words
from seagull_tune.model.card import write_card
from seagull_tune.model.card_sections import CONVERTED
from seagull_tune.model.checkpoint import save_checkpoint
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mfe_seagull import LEVELS, LOCAL_STRIDE
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.projector import DirectHead
from seagull_tune.model.release_names import MappedTensor, map_release, map_tower, read_all, read_weights, weight_files
from seagull_tune.model.vision_tower import VisionTower, build_backbone

# Vicuna v1: the system sentence, then turns; every answer ends with the end of sequence. Template and contents are
# tokenised apart. A tokenizer of Llama puts a blank before each piece by itself, where another needs it written.
_TEMPLATE = (
    "{{ bos_token or '' }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}"
    "{% elif m['role'] == 'user' %}{{ 'GAPUSER: ' + m['content'] }}"
    "{% else %}{{ 'GAPASSISTANT:GAP' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'GAPASSISTANT:' }}{% endif %}"
)
RELEASED_PROMPTS = "released"
"""Folder inside the shipped prompts: the files in which the released model's words differ from ours."""

_TEXT_KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling", "hidden_act", "tie_word_embeddings",
    "bos_token_id", "eos_token_id", "pad_token_id", "attention_bias",
)  # fmt: skip


@dataclass(frozen=True)
class Conversion:
    """A release that was read and found whole.

    Attributes:
        config: of our model.
        rows: every tensor that was found, and where it goes.
        tensors: by our names.
        files: what they were read from.
        folder: where the release lies.
    """

    config: SeagullConfig
    rows: list[MappedTensor]
    tensors: dict[str, Tensor]
    files: list[Path]
    folder: Path

    def table(self) -> str:
        """All tensors as text: shape, name in the release, name in our model or why it is not used."""
        lines = [f"{'shape':<16} {'in the release':<64} in the checkpoint"]
        for row in self.rows:
            shape = "x".join(map(str, row.shape)) or "1"
            lines.append(f"{shape:<16} {row.name:<64} {row.target or f'- ({row.note})'}")
        used = sum(row.target is not None for row in self.rows)
        size = sum(tensor.numel() for tensor in self.tensors.values())
        lines.append(f"{used} tensors mapped ({size:,} numbers), {len(self.rows) - used} not used.")
        return "\n".join(lines)


def release_folder(source: str, ask_hub: bool = True) -> Path:
    """Where a release lies: a folder, or what was fetched of a repository of the model hub.

    Args:
        source: the folder, or ``hub:ID@REVISION``.
        ask_hub: whether the hub is asked for what is not here yet.

    Raises:
        CheckpointError: it is not there, or cannot be fetched.
        ConfigError: the reference has no revision.
    """
    if source.startswith("hub:"):
        return bases.fetch(source, ask_hub)
    if not Path(source).is_dir():
        raise CheckpointError(
            f"{source} is no folder. Name the folder of the release; a repository of the model hub is named "
            "hub:ID@REVISION."
        )
    return Path(source)


def is_here(source: str) -> bool:
    """Whether a release can be read without asking the model hub."""
    try:
        release_folder(source, ask_hub=False)
    except CheckpointError:
        return False
    return True


def read_release(settings: ConvertConfig) -> Conversion:
    """Reads a release, maps every tensor and checks that nothing is missing, unknown or of another size.

    Raises:
        CheckpointError: it is not there, or not whole; every tensor that is wrong is named.
        ConfigError: timm has no such tower, or the sizes do not belong to it.
    """
    folder = release_folder(settings.source)
    values = _read_config(folder)
    files = [file for file in weight_files(folder) if settings.tower is None or not file.samefile(settings.tower)]
    tower_names = build_backbone_names(settings.vision_backbone)
    released = read_all(files)
    rows = map_release(released, tower_names)
    if settings.tower is not None:
        tower = read_weights(settings.tower)
        rows += [row for row in map_tower(tower, tower_names) if row.name not in released]
        released = {**tower, **released}
        files.append(settings.tower)
    tensors = {row.target: released[row.name] for row in rows if row.target is not None}
    if values.get("tie_word_embeddings") and "language_model.lm_head.weight" not in tensors:
        tensors["language_model.lm_head.weight"] = tensors["language_model.model.embed_tokens.weight"]
    config = released_config(values, tensors, settings)
    _check_whole(config, tensors, settings)
    return Conversion(config, rows, tensors, files, folder)


def build_backbone_names(name: str) -> frozenset[str]:
    """Names of the tensors of a timm backbone that gives maps."""
    with torch.device("meta"):
        return frozenset(build_backbone(name)[0].state_dict())


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: a released model has config.json beside its weights.")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}). Fetch it again.") from error
    missing = [key for key in ("hidden_size", "num_hidden_layers", "num_attention_heads") if key not in values]
    if missing:
        raise CheckpointError(f"{path} lacks {', '.join(missing)}: not the configuration of a released SEAGULL model.")
    return values


def _need(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise CheckpointError(f"The release has no tensor for {name}; not a SEAGULL model, or a shard is missing.")
    return tensors[name]


def released_config(values: Mapping[str, Any], tensors: Mapping[str, Tensor], settings: ConvertConfig) -> SeagullConfig:
    """Our configuration with every size as the tensors have it; token ids are set with the processor.

    Raises:
        CheckpointError: a tensor that tells a size is missing.
        ConfigError: no square photograph gives the tower such maps.
    """
    extractor = "mfe.extractor."
    cells = [_need(tensors, f"{extractor}g_{name}.weight").shape[1] for name in LEVELS]
    sides = tuple(math.isqrt(count) for count in cells)
    numbers = _need(tensors, f"{extractor}sa.q_proj.weight").shape[0]
    kept = tensors.get(f"{extractor}mask_linear.layers.0.weight")
    vocabulary = _need(tensors, "language_model.model.embed_tokens.weight").shape[0]
    depth = sum(name.startswith("projector.layers.") and name.endswith(".weight") for name in tensors)
    text = {key: values[key] for key in _TEXT_KEYS if key in values}
    photograph_side(settings.vision_backbone, sides)
    return SeagullConfig(
        text_config=_text_config(text, vocabulary), vision_tower=settings.vision_backbone,
        vision_channels=VisionTower.channels_of(settings.vision_backbone), image_grid=sides[-2], image_level=-2,
        projector_depth=depth, token_scale="own", mfe="seagull",
        mfe_hidden=_need(tensors, f"{extractor}{LEVELS[0]}.weight").shape[0], mfe_dropout=0.0, mfe_map_sides=sides,
        mfe_crop_side=LOCAL_STRIDE * math.isqrt(numbers), mfe_kept_inputs=0 if kept is None else kept.shape[1],
    )  # fmt: skip


def _text_config(values: Mapping[str, Any], vocabulary: int) -> PreTrainedConfig:
    config: PreTrainedConfig = AutoConfig.for_model("llama", **values, vocab_size=vocabulary)
    return config


def photograph_side(backbone: str, sides: tuple[int, ...]) -> int:
    """Side of the square photograph whose maps have these sides, finest first.

    Raises:
        ConfigError: there is none.
    """
    for stride in (32, 16, 8, 4):
        side = sides[-1] * stride
        if side >= 32 and VisionTower.map_sides(backbone, side)[-len(sides) :] == sides:
            return side
    raise ConfigError(
        f"No square photograph gives {backbone} maps of the sides {sides}, for which the release was built; set "
        "vision_backbone to its tower."
    )


def _check_whole(config: SeagullConfig, tensors: Mapping[str, Tensor], settings: ConvertConfig) -> None:
    """Refuses a release whose tensors are not exactly those of the model, all problems at once."""
    with torch.device("meta"):
        wanted = SeagullForConditionalGeneration(config).state_dict()
    wanted = {name: tensor for name, tensor in wanted.items() if not name.startswith("direct_head.")}
    missing = sorted(wanted.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - wanted.keys())
    wrong = [
        f"{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}"
        for name, tensor in sorted(tensors.items())
        if name in wanted and tensor.shape != wanted[name].shape
    ]
    if not missing and not unknown and not wrong:
        return
    tower = [name for name in missing if name.startswith("vision_tower.")]
    hint = " The vision tower lies in a file of its own: name it with --tower." if tower and not settings.tower else ""
    raise CheckpointError(
        f"{settings.source}: {len(missing)} tensors missing (first: {missing[:3]}), {len(unknown)} unknown (first: "
        f"{unknown[:3]}), {len(wrong)} of another size (first: {wrong[:3]}).{hint}"
    )


def convert_release(settings: ConvertConfig, out: Path) -> Conversion:
    """Converts a release into a checkpoint folder with its card, atomically; the weights keep their number type.

    Args:
        settings: what to convert.
        out: the checkpoint; an existing one is replaced.

    Raises:
        CheckpointError, ConfigError: see :func:`read_release`; or the tokenizer cannot be read.
    """
    found = read_release(settings)
    processor = _processor(found.config, settings, found.folder)
    layout = processor.layout
    found.config.image_token_id, found.config.region_token_ids = layout.image_token_id, layout.region_token_ids
    with torch.device("meta"):
        model = SeagullForConditionalGeneration(found.config)
    words = found.tensors["language_model.model.embed_tokens.weight"]
    head = DirectHead(found.config.text_width)
    set_words(head, words.float(), processor.tokenizer)
    state = found.tensors | {f"direct_head.{name}": tensor for name, tensor in head.state_dict().items()}
    hashes = {file.name: sha256_of(file) for file in tqdm(found.files, desc="hashing", unit="file")}
    origin: dict[str, Any] = {"format": settings.format, "sha256": hashes}
    if settings.source.startswith("hub:"):
        _, name, _ = bases.split_reference(settings.source)
        origin["repository"] = f"hub:{name}@{found.folder.name}"
    with released_prompts() as prompts:
        save_checkpoint(model, processor, out, {CONVERTED: origin}, state, prompts)
    write_card(out)
    return found


def _processor(config: SeagullConfig, settings: ConvertConfig, folder: Path) -> SeagullProcessor:
    tokenizer = _tokenizer(folder)
    tokenizer.chat_template = chat_template(tokenizer)
    # First, so that they have the ids of the release, where it added them itself.
    tokenizer.add_tokens(list(REGION_TOKENS), special_tokens=True)
    return SeagullProcessor(
        tokenizer, image_max_side=photograph_side(settings.vision_backbone, tuple(config.mfe_map_sides)),
        image_mean=settings.image_mean, image_std=settings.image_std, image_grid=config.image_grid,
        patch_size=config.mfe_crop_side, patches_per_region=1, view="square", keep_blanks=True,
    )  # fmt: skip


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """The release's chat template, whose pieces give the tokens that the whole text gives."""
    blank_comes_by_itself = tokenizer.tokenize("USER:")[0].startswith("\u2581")
    return _TEMPLATE.replace("GAP", "" if blank_comes_by_itself else " ")


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        # The configuration beside it names a class that transformers does not have.
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), config=AutoConfig.for_model("llama"), local_files_only=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(
            f"{folder}: its tokenizer cannot be read ({str(error).splitlines()[0]}). It needs tokenizer.json, or "
            "tokenizer.model and the packages sentencepiece and protobuf."
        ) from error
    return tokenizer


@contextmanager
def released_prompts() -> Iterator[Path]:
    """A folder of our prompts in which the released model's own words replace ours."""
    shipped = prompt_folder()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for source in (shipped, shipped / RELEASED_PROMPTS):
            for file in sorted(source.glob("*.yaml")):
                shutil.copyfile(file, folder / file.name)
        yield folder
