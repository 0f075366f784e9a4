"""A new model from its bases, or the outline of one: its parts and their shapes without any weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedTokenizerBase
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from seagull_tune.config.model import EXTRACTOR_SETTINGS, ModelSpec
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import ConfigError, did_you_mean
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES
from seagull_tune.model import bases
from seagull_tune.model.checkpoint import build_from_bases
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.families import attention_windows, check_head, embedding_multiplier
from seagull_tune.model.mfe_seagull import LEVELS
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from seagull_tune.model.projector import DirectHead
from seagull_tune.model.vision_tower import VisionTower


def assemble(spec: ModelSpec, seed: int = 0) -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
    """Builds model and processor of a specification; the bases are loaded, our own parts are drawn from ``seed``.

    Raises:
        ConfigError: a base is not a reference that can be resolved, or the tower does not suit the extractor.
    """
    references = {"language_model": bases.pin(spec.language_model), "vision_tower": bases.pin(spec.vision_tower)}
    tokenizer = bases.load_tokenizer(references["language_model"])
    released = spec.mfe == "seagull"
    processor = SeagullProcessor(
        tokenizer, image_max_side=spec.image_max_side, image_mean=spec.image_mean, image_std=spec.image_std,
        image_grid=spec.image_grid, patch_size=spec.crop_side if released else spec.patch_size,
        patches_per_region=1 if released else spec.patches_per_region, view="square" if released else "native",
        region_tokens=spec.region_token_counts, region_shape=spec.mfe_region,
    )  # fmt: skip
    layout = processor.layout
    config = sizes_of(
        spec, bases.load_text_config(references["language_model"]), image_token_id=layout.image_token_id,
        region_token_ids=layout.region_token_ids, bases=references,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = build_from_bases(config)
    check_head(model)
    match_scales(model)
    speak_its_words(model, processor)
    return model, processor


def sizes_of(spec: ModelSpec, text_config: PreTrainedConfig, **others: Any) -> SeagullConfig:
    """The configuration of a new model: what ``spec`` says, around a language model; ``others``: ids and bases."""
    released = released_sizes(spec) if spec.mfe == "seagull" else {}
    return SeagullConfig(
        text_config=text_config, vision_tower=spec.vision_backbone,
        vision_channels=VisionTower.channels_of(spec.vision_backbone), image_grid=spec.image_grid,
        **spec.model_dump(include=set(EXTRACTOR_SETTINGS)), **released, **others,
    )  # fmt: skip


def outline(spec: ModelSpec) -> SeagullForConditionalGeneration:
    """The model of a specification without its weights (on the meta device): nothing is loaded, no hub is asked.

    Raises:
        ConfigError: the sizes of the language model are not given or do not go together, transformers knows no such
            family, or it is one that a training would refuse.
    """
    sizes = spec.language_model_sizes
    if sizes is None:
        raise ConfigError(
            f"The sizes of {spec.language_model} are not known without its files: give model.language_model_sizes, as "
            "the files in configs/model/ do."
        )
    if sizes.model_type not in CONFIG_MAPPING:
        raise ConfigError(
            f"model.language_model_sizes.model_type is {sizes.model_type!r}, a family that transformers does not know."
            f"{did_you_mean(sizes.model_type, CONFIG_MAPPING.keys())}"
        )
    values = sizes.model_dump()
    try:
        text_config = AutoConfig.for_model(values.pop("model_type"), **values)
    except (ValueError, StrictDataclassError) as error:
        raise ConfigError(
            f"model.language_model_sizes cannot be sizes of a {sizes.model_type!r}: {' '.join(str(error).split())}"
        ) from error
    attention_windows(text_config)
    references = {"language_model": spec.language_model, "vision_tower": spec.vision_tower}
    places = tuple(range(sum(spec.region_token_counts)))  # how many there are; which, only a tokenizer knows
    model = without_weights(sizes_of(spec, text_config, region_token_ids=places, bases=references))
    if not isinstance(getattr(model.decoder, "layers", None), nn.ModuleList):
        raise ConfigError(
            f"model.language_model_sizes.model_type is {sizes.model_type!r}, whose layers cannot be counted. Choose a "
            "family of decoders, such as llama or qwen3."
        )
    return model


def without_weights(config: SeagullConfig) -> SeagullForConditionalGeneration:
    """A model of these sizes on the meta device: its tensors have shapes and types, and take no memory."""
    with torch.device("meta"):
        return SeagullForConditionalGeneration(config)


def released_sizes(spec: ModelSpec) -> dict[str, Any]:
    """Sizes for which the released model's extractor is built; its image tokens come from the last map but one."""
    sides = VisionTower.map_sides(spec.vision_backbone, spec.image_max_side)
    if len(sides) < len(LEVELS):
        raise ConfigError(
            f"The extractor 'seagull' reads {len(LEVELS)} maps; model.vision_backbone {spec.vision_backbone} has "
            f"{len(sides)}. Choose one with {len(LEVELS)} or more."
        )
    return {"image_level": -2, "mfe_map_sides": sides[-len(LEVELS) :], "mfe_crop_side": spec.crop_side}


def match_scales(model: SeagullForConditionalGeneration) -> None:
    """Brings image and region tokens to the loudness of the language model's own words."""
    table = model.get_input_embeddings()
    loudness = embedding_multiplier(table)
    for norm in (model.region_norm, model.image_norm):
        norm.match(table.weight, loudness)


def speak_its_words(model: SeagullForConditionalGeneration, processor: SeagullProcessor) -> None:
    """Gives the parts that know words the language model's own embeddings of them."""
    table = model.get_input_embeddings()
    set_words(model.direct_head, table.weight, processor.tokenizer)
    if model.belief_words is not None:
        vocabularies = (QUALITY_LEVELS, IMPORTANCE_LEVELS, SEVERITY_NAMES[1:])
        words = (word_embeddings(v, table.weight, processor.tokenizer) for v in vocabularies)
        model.belief_words.set_lexicon(*(w * embedding_multiplier(table) for w in words))


def set_words(head: DirectHead, table: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
    """Gives a direct head the embeddings (V, D) of level words and type names."""
    vocabularies = (QUALITY_LEVELS, IMPORTANCE_LEVELS, DISTORTION_TYPES)
    head.set_lexicon(*(word_embeddings(words, table, tokenizer) for words in vocabularies))


def word_embeddings(words: Sequence[str], table: Tensor, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Embeddings (W, D) of words, of a table (V, D)."""

    def embedding(word: str) -> Tensor:
        # With the blank before it, as inside a sentence; the mean where a tokenizer splits the word.
        ids = tokenizer(" " + word, add_special_tokens=False)["input_ids"]
        return table[torch.tensor(ids)].detach().mean(dim=0)

    return torch.stack([embedding(word) for word in words])
