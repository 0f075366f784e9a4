"""Configuration of a new model: its bases and its sizes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel

Count = Annotated[int, Field(ge=1)]


class LanguageModelSizes(StrictModel):
    """Sizes of a language model's architecture, by the names of transformers' configurations.

    Every one is required: a file that is laid over another one then leaves nothing of it.

    Attributes:
        model_type: family, as transformers names it (``llama``, ``qwen3``, ...).
        hidden_size, intermediate_size: width of the residual stream and inside the feed-forward layers.
        num_hidden_layers: decoder layers.
        num_attention_heads, num_key_value_heads, head_dim: heads of the queries, of keys and values, width of one.
        vocab_size: words; tie_word_embeddings: whether the output head is the table of words itself.
        max_position_embeddings: longest text.
    """

    model_type: str
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    head_dim: Count
    vocab_size: Count
    max_position_embeddings: Count
    tie_word_embeddings: bool


class ModelSpec(StrictModel):
    """What a new model is assembled from.

    Attributes:
        language_model: reference of the causal language model, ``embedded:NAME`` or ``hub:ID@REVISION``.
        language_model_sizes: sizes of that language model, for a plan that is made without its files; a training reads
            them from the model itself. Shipped ones: ``configs/model/``.
        vision_tower: reference of the tower's weights.
        vision_backbone: timm name of the tower's architecture (it must support ``features_only``).
        image_max_side: longest side, in pixels, that the tower sees.
        image_mean, image_std: normalisation that the tower was trained with.
        image_grid: side of the grid of image tokens.
        patch_size: side of a native-resolution patch, a multiple of 8 (codec blocks).
        patches_per_region: native-resolution patches per region.
        mfe: which mask-based feature extractor: ``mfe`` (ours) or ``seagull`` (the released model's: it sees the
            picture squashed to a square of ``image_max_side``, a square crop of every region, and no native patches).
        crop_side: side of those crops.
        mfe_hidden, mfe_dropout: width and dropout inside the extractor.
    """

    language_model: str = "embedded:smollm2-135m-instruct"
    language_model_sizes: LanguageModelSizes | None = None
    vision_tower: str = "embedded:efficientnet-lite0"
    vision_backbone: str = "efficientnet_lite0"
    image_max_side: Annotated[int, Field(ge=64, le=4096)] = 512
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_grid: Annotated[int, Field(ge=1, le=64)] = 3
    patch_size: Annotated[int, Field(ge=16, le=256, multiple_of=8)] = 32
    patches_per_region: Annotated[int, Field(ge=1, le=64)] = 8
    mfe: Literal["mfe", "seagull"] = "mfe"
    crop_side: Annotated[int, Field(ge=64, le=1024, multiple_of=64)] = 512
    mfe_hidden: Annotated[int, Field(ge=8)] = 384
    mfe_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.1

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.mfe == "seagull" and self.mfe_hidden % 16:
            raise ValueError(f"mfe_hidden is {self.mfe_hidden}; with mfe: seagull it must be a multiple of 16")
        return self
