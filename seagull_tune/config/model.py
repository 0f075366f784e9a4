"""Configuration of a new model: its bases and its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel

EXTRACTOR_SETTINGS = (
    "mfe", "mfe_hidden", "mfe_dropout", "mfe_tokens", "mfe_global", "mfe_local", "mfe_context", "mfe_attention",
    "mfe_pooling", "region_beliefs",
)  # fmt: skip
"""Settings of a new model that its configuration takes over by the same names."""

ATTENTION_HEADS = 4
"""Heads of ``mfe_attention``."""

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

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads is {self.num_attention_heads}; allowed: a multiple of num_key_value_heads "
                f"({self.num_key_value_heads})"
            )
        return self


class ExtractorSettings(Protocol):
    """What both a :class:`ModelSpec` and the configuration of a finished model say of the extractor."""

    @property
    def mfe(self) -> str: ...

    @property
    def mfe_hidden(self) -> int: ...

    @property
    def mfe_tokens(self) -> Sequence[int]: ...

    @property
    def mfe_global(self) -> bool: ...

    @property
    def mfe_local(self) -> bool: ...

    @property
    def mfe_context(self) -> float: ...

    @property
    def mfe_attention(self) -> bool: ...

    @property
    def mfe_pooling(self) -> str: ...


def extractor_problems(settings: ExtractorSettings) -> list[str]:
    """Settings of an extractor that do not go together, each as a sentence; none if all is well."""
    problems = []
    if not settings.mfe_global and not settings.mfe_local:
        problems.append("mfe_global and mfe_local are both false; an extractor needs one of them")
    if settings.mfe_context > 0 and not settings.mfe_global:
        problems.append(
            f"mfe_context is {settings.mfe_context} and mfe_global false; the ring is read by the global branch"
        )
    if settings.mfe_attention and settings.mfe_hidden % ATTENTION_HEADS:
        problems.append(
            f"mfe_hidden is {settings.mfe_hidden}; with mfe_attention it must be a multiple of {ATTENTION_HEADS}"
        )
    if len(settings.mfe_tokens) != 2 or min(settings.mfe_tokens) < 1:
        problems.append(f"mfe_tokens is {list(settings.mfe_tokens)}; two numbers from 1: global and local tokens")
    if settings.mfe_pooling not in ("statistics", "mean"):
        problems.append(f"mfe_pooling is {settings.mfe_pooling!r}; allowed: statistics, mean")
    return problems + (_released_problems(settings) if settings.mfe == "seagull" else [])


def _released_problems(settings: ExtractorSettings) -> list[str]:
    problems = []
    if settings.mfe_hidden % 16:
        problems.append(f"mfe_hidden is {settings.mfe_hidden}; with mfe: seagull it must be a multiple of 16")
    fixed = {
        "mfe_tokens": (1, 1), "mfe_global": True, "mfe_local": True, "mfe_context": 0.0, "mfe_attention": False,
        "mfe_pooling": "statistics",
    }  # fmt: skip
    for name, value in fixed.items():
        seen = getattr(settings, name)
        if (tuple(seen) if name == "mfe_tokens" else seen) != value:
            problems.append(f"{name} is {seen}; mfe: seagull is what was released, so leave it out")
    return problems


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
        mfe_tokens: global and local tokens per region.
        mfe_global, mfe_local: whether there is a global branch (the tower's maps) and a local one (native patches); one
            that is off gives no tokens.
        mfe_context: width of the ring around a region that is read too, as a share of the square root of its area; 0
            reads none.
        mfe_attention: whether region tokens attend to the image tokens' grid.
        mfe_region: what is read of a region: its ``mask``, or everything inside its bounding ``box``.
        mfe_pooling: ``statistics``: mean and spread of maps and patches; ``mean``: means only.
        region_beliefs: whether region tokens also carry what their own head believes of the region.
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
    mfe_tokens: tuple[Annotated[int, Field(ge=1, le=16)], Annotated[int, Field(ge=1, le=16)]] = (1, 1)
    mfe_global: bool = True
    mfe_local: bool = True
    mfe_context: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    mfe_attention: bool = False
    mfe_region: Literal["mask", "box"] = "mask"
    mfe_pooling: Literal["statistics", "mean"] = "statistics"
    region_beliefs: bool = True

    @property
    def region_token_counts(self) -> tuple[int, int]:
        """Global and local tokens per region; 0 of a branch that is off."""
        n_global, n_local = self.mfe_tokens
        return n_global * self.mfe_global, n_local * self.mfe_local

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        problems = extractor_problems(self)
        if problems:
            raise ValueError("; ".join(problems))
        return self
