"""Configuration of the ROI model, as a transformers configuration.

The sizes of everything that is not the language model stand here. How a photograph is prepared (normalisation, longest
side, patches) stands in the processor, and only there.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


@strict
class SeagullConfig(PreTrainedConfig):
    """Sizes and token ids of :class:`~seagull_tune.model.modeling.SeagullForConditionalGeneration`.

    Attributes:
        text_config: configuration of the language model (any causal LM of transformers).
        vision_tower: name of a timm model that supports ``features_only``.
        vision_channels: channels of the tower's maps, finest first.
        image_grid: side of the square grid of image tokens (``image_grid ** 2`` tokens per image).
        image_level: which of the maps the image tokens are made of; -1 is the coarsest.
        projector_depth: linear layers of the image projector.
        token_scale: ``words``: image and region tokens are brought to the loudness of words, by a learned gain;
            ``own``: the language model was tuned with them as they are (the released model).
        mfe: which mask-based feature extractor: ``mfe`` (ours) or ``seagull`` (the released model's).
        mfe_hidden: width inside the extractor.
        mfe_map_sides, mfe_crop_side: sides of the last four maps of a photograph, and of a region's crop; only the
            extractor ``seagull`` is built for one size.
        mfe_kept_inputs: inputs of layers that the released weights hold and nothing reads; 0 has none.
        mfe_dropout: dropout on the extractor's inputs and hidden activations.
        mfe_tokens: global and local tokens per region.
        mfe_global, mfe_local: whether the extractor has its global (maps) and its local (native patches) branch; one
            that is off gives no tokens.
        mfe_context: width of the ring around a region whose maps are read too, as a share of the square root of the
            region's area; 0 reads none.
        mfe_attention: whether region tokens attend to the image grid.
        mfe_pooling: ``statistics``: mean and spread of maps and patches; ``mean``: means only.
        region_beliefs: whether region tokens also carry what their own head believes of the region.
        image_token_id: id of ``<image>``; region_token_ids: ids of one region's tokens, global ones first. They are
            placeholders:
            their embeddings are always replaced, so the language model's vocabulary is not resized.
        bases: where the frozen weights come from, ``embedded:NAME@sha256`` or ``hub:ID@revision``, by part.
        quantize: ``nf4`` where the language model's weights are rounded to 4 bits (adapters were trained on those).
    """

    model_type = "seagull"
    sub_configs_defaults = {"text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama")}  # noqa: RUF012

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    vision_tower: str = "efficientnet_lite0"
    vision_channels: list[int] | tuple[int, ...] = (16, 24, 40, 112, 320)
    image_grid: int = 3
    image_level: int = -1
    projector_depth: int = 2
    token_scale: str = "words"
    mfe: str = "mfe"
    mfe_hidden: int = 384
    mfe_dropout: float = 0.1
    mfe_tokens: list[int] | tuple[int, ...] = (1, 1)
    mfe_global: bool = True
    mfe_local: bool = True
    mfe_context: float = 0.0
    mfe_attention: bool = False
    mfe_pooling: str = "statistics"
    region_beliefs: bool = False
    mfe_map_sides: list[int] | tuple[int, ...] = ()
    mfe_crop_side: int = 0
    mfe_kept_inputs: int = 0
    image_token_id: int = -1
    region_token_ids: list[int] | tuple[int, ...] = (-1, -1)
    bases: dict[str, str] | None = None
    quantize: str | None = None
    tie_word_embeddings: bool = False

    @property
    def n_image_tokens(self) -> int:
        """Image tokens per image."""
        return self.image_grid**2

    @property
    def n_region_tokens(self) -> int:
        """Tokens per region, global and local ones together."""
        return len(self.region_token_ids)

    @property
    def region_token_counts(self) -> tuple[int, int]:
        """Global and local tokens per region; 0 of a branch that is off."""
        n_global, n_local = self.mfe_tokens
        return n_global * self.mfe_global, n_local * self.mfe_local

    @property
    def text_width(self) -> int:
        """Width of the language model's embeddings."""
        config = self.text_config
        if not isinstance(config, PreTrainedConfig):
            raise TypeError(f"text_config is {type(config).__name__}; it must be a transformers configuration.")
        return int(config.hidden_size)
