"""The ROI model: image and regions in, words and numbers out.

    images, masks, patches -> front (frozen) -> what the MFE reads -> MFE -> region tokens -+-> direct head
                                                     |-> projector -> image tokens ---------+-> splice -> language model

On their way to the language model, region tokens are brought to the loudness of words, and told what the direct head
believes of them.

Legend: B samples, L sequence length, R regions of all samples, M mentions of regions in the text, V vocabulary,
D width of the language model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from seagull_tune.errors import ConfigError
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.families import finish_logits
from seagull_tune.model.mask_pooling import image_grid
from seagull_tune.model.mfe import MaskFeatureExtractor, RegionEncoder, RegionStatistics
from seagull_tune.model.projector import BeliefWords, DirectHead, DirectLogits, EmbeddingScale, ImageProjector
from seagull_tune.model.released_encoder import RegionViews, ReleasedEncoder
from seagull_tune.model.splice import check_counts, splice, word_ids
from seagull_tune.model.vision_tower import VisionTower

Front = RegionStatistics | RegionViews
"""What the frozen front gives: what the model's extractor reads, with the grid of image tokens."""

_EXTRACTORS: dict[str, type[MaskFeatureExtractor] | type[ReleasedEncoder]] = {
    "mfe": MaskFeatureExtractor,
    "seagull": ReleasedEncoder,
}


def build_extractor(config: SeagullConfig) -> RegionEncoder:
    """The extractor that ``config.mfe`` names.

    Raises:
        ConfigError: there is none of that name.
    """
    if config.mfe not in _EXTRACTORS:
        raise ConfigError(f"There is no extractor {config.mfe!r}; allowed: {', '.join(_EXTRACTORS)}.")
    return _EXTRACTORS[config.mfe](config)


@dataclass
class SeagullOutput(ModelOutput):
    """What a forward pass returns.

    Attributes:
        logits: (N, V) at the rows of ``logits_index``, or (B, K, V) for generation; None if no text was given.
        past_key_values: the key-value cache.
        region_tokens: (R, T, D) region tokens, at the extractor's own scale.
        direct: the direct head's logits.
    """

    logits: Tensor | None = None
    past_key_values: Any = None
    region_tokens: Tensor | None = None
    direct: DirectLogits | None = None


class SeagullForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Vision tower + MFE + projector + language model.

    Args:
        config: sizes.
        language_model: a loaded language model; built from ``config.text_config`` with random weights where None.
    """

    config_class = SeagullConfig
    base_model_prefix = "seagull"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_cache_class = True

    def __init__(self, config: SeagullConfig, language_model: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        self.vision_tower = VisionTower(config.vision_tower)
        self.mfe = build_extractor(config)
        own = config.token_scale == "own"
        self.region_norm = EmbeddingScale(config.text_width, own)
        self.direct_head = DirectHead(config.text_width, config.region_token_counts)
        self.belief_words = BeliefWords(config.text_width) if config.region_beliefs else None
        self.projector = ImageProjector(
            self.vision_tower.channels[config.image_level], config.text_width, config.projector_depth,
            standardized=config.mfe != "seagull",
        )  # fmt: skip
        self.image_norm = EmbeddingScale(config.text_width, own)
        self.language_model = language_model or AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Bases bring their own weights, and torch's defaults suit the rest."""

    # -- the parts, in the order in which a sample flows ---------------------------------------------------------

    def encode_front(
        self,
        pixel_values: Sequence[Tensor],
        region_masks: Sequence[Tensor],
        region_geometry: Tensor,
        patches: Tensor,
        patch_masks: Tensor,
    ) -> Front:
        """The part in front of the extractor. While the tower is frozen it can be computed once per picture and cached.

        Args:
            pixel_values: B images (3, h_i, w_i), normalised.
            region_masks: per image (R_i, h_i, w_i), float in [0, 1].
            region_geometry: (R, GEOMETRY).
            patches: (R, P, 3, S, S) uint8, or the regions' crops, normalised float (R, 1, 3, S, S).
            patch_masks: (R, P, S, S) uint8, 1 inside the region.
        """
        return self.observe(self.vision_tower(pixel_values), region_masks, region_geometry, patches, patch_masks)

    def observe(
        self,
        maps: Sequence[Sequence[Tensor]],
        region_masks: Sequence[Tensor],
        region_geometry: Tensor,
        patches: Tensor,
        patch_masks: Tensor,
    ) -> Front:
        """What comes after the tower in :meth:`encode_front`, so that many regions can share one look at a picture.

        Args:
            maps: per image the tower's maps.
        """
        level, side = self.config.image_level, self.config.image_grid
        grid = torch.stack([image_grid(levels[level], side) for levels in maps])
        observed: Front = self.mfe.observe(maps, grid, region_masks, region_geometry, patches, patch_masks)
        return observed

    @property
    def measured(self) -> bool:
        """Whether the constants of the extractor and the projector were measured (or there are none)."""
        return self.mfe.measured

    def measure(self, front: Front) -> None:
        """Measures the standardising constants on the front's result for a training set (once, before training)."""
        self.mfe.measure(front)
        if self.projector.standardize is not None:
            self.projector.standardize.measure(front.grid.flatten(0, 1))

    def encode_regions(self, front: Front) -> Tensor:
        """Region tokens (R, T, D), at the extractor's own scale."""
        tokens: Tensor = self.mfe(front)
        return tokens

    def speak_regions(self, tokens: Tensor) -> Tensor:
        """Region tokens as the language model reads them, (R, T, D)."""
        loud: Tensor = self.region_norm(tokens)
        return loud if self.belief_words is None else self.belief_words(loud, self.judge_regions(tokens))

    def judge_regions(self, tokens: Tensor) -> DirectLogits:
        """What the direct head reads from region tokens (R, T, D)."""
        logits: DirectLogits = self.direct_head(self.region_norm.norm(tokens))
        return logits

    def embed(self, input_ids: Tensor, image_tokens: Tensor, region_tokens: Tensor, mention_counts: Tensor) -> Tensor:
        """Word embeddings with image and region tokens in their places, (B, L, D).

        Args:
            input_ids: (B, L).
            image_tokens: (B, N, D).
            region_tokens: (M, T, D), one row per mention, samples in order.
            mention_counts: (B,), mentions per sample.
        """
        image_id, region_ids = self.config.image_token_id, list(self.config.region_token_ids)
        check_counts(input_ids, image_id, region_ids, mention_counts, self.config.n_image_tokens)
        words = self.get_input_embeddings()(word_ids(input_ids, [image_id, *region_ids]))
        return splice(input_ids, words, image_tokens, region_tokens, image_id, region_ids)

    def project_image(self, grid: Tensor) -> Tensor:
        """Image grid (B, N, C) -> image tokens at the language model's scale (B, N, D)."""
        tokens: Tensor = self.image_norm(self.projector(grid))
        return tokens

    # -- transformers' interface -----------------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        *,
        trainable: bool = False,
        revision: str | None = None,
        **kwargs: Any,
    ) -> SeagullForConditionalGeneration:  # type: ignore[override]
        """Loads a checkpoint (a folder, or a repository of the model hub); see :mod:`seagull_tune.model.checkpoint`.

        Args:
            trainable: whether its adapters will be trained further.
            revision: of a hub repository.
            kwargs: what transformers' Auto classes add; the checkpoint itself decides about configuration and types.
        """
        from seagull_tune.model.checkpoint import load_model

        folder = Path(name_or_path)
        if not folder.is_dir():
            folder = Path(snapshot_download(str(name_or_path), revision=revision))
        return load_model(folder, trainable)

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], state_dict: Mapping[str, Tensor] | None = None, **kwargs: Any
    ) -> None:  # type: ignore[override]
        """Writes the model's part of a checkpoint; ``state_dict``: gathered weights, where an engine shards them."""
        from seagull_tune.model.checkpoint import write_model

        if kwargs.get("is_main_process", True):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_model(self, Path(save_directory), state_dict=state_dict)

    @property
    def decoder(self) -> nn.Module:
        """The language model without its output head (adapters, if any, are inside)."""
        base = (
            self.language_model.get_base_model()
            if hasattr(self.language_model, "get_base_model")
            else self.language_model
        )
        return base.get_decoder()  # type: ignore[no-any-return]

    def get_input_embeddings(self) -> nn.Embedding:
        """The word embeddings."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """The language model's output head."""
        return self.language_model.get_output_embeddings()

    def word_logits(self, hidden: Tensor, words: Sequence[int] | None = None) -> Tensor:
        """Logits of the decoder's last hidden states (..., D), as the language model itself gives them.

        Args:
            words: ids whose logits are wanted; None: all of the vocabulary, which is wide.

        Returns:
            (..., V), or (..., len(words)).
        """
        head = self.get_output_embeddings()
        if words is None:
            return finish_logits(head(hidden), self.config.text_config)
        if type(head) is nn.Linear:
            chosen = torch.tensor(list(words), device=head.weight.device)
            logits = linear(hidden, head.weight[chosen], None if head.bias is None else head.bias[chosen])
        else:  # a head that is adapted or quantised knows its weights as a whole only
            logits = head(hidden)[..., list(words)]
        return finish_logits(logits, self.config.text_config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        pixel_values: Sequence[Tensor] | None = None,
        region_masks: Sequence[Tensor] | None = None,
        region_geometry: Tensor | None = None,
        patches: Tensor | None = None,
        patch_masks: Tensor | None = None,
        statistics: Mapping[str, Tensor] | Front | None = None,
        mention_index: Tensor | None = None,
        mention_counts: Tensor | None = None,
        logits_index: Tensor | None = None,
        logits_to_keep: int = 0,
        **kwargs: Any,
    ) -> SeagullOutput:
        """Args:
        input_ids: (B, L); None where only the regions are wanted (pre-training of the extractor).
        attention_mask: (B, L).
        pixel_values, region_masks, region_geometry, patches, patch_masks: see :meth:`encode_front`.
        statistics: the front's result instead, where it was cached.
        mention_index: (M,) row of the region that each group of region tokens stands for.
        mention_counts: (B,) mentions per sample.
        logits_index: (N,) rows of the flattened (B * L) positions at which logits are wanted; the vocabulary is
            wide, so nothing else is computed.
        logits_to_keep: without ``logits_index``: logits at this many last positions (0: all).
        """
        region_tokens = direct = None
        if statistics is None and pixel_values is not None:
            if region_masks is None or region_geometry is None or patches is None or patch_masks is None:
                raise TypeError("pixel_values need region_masks, region_geometry, patches and patch_masks beside them.")
            statistics = self.encode_front(pixel_values, region_masks, region_geometry, patches, patch_masks)
        elif isinstance(statistics, Mapping):
            statistics = RegionStatistics(**statistics)
        if statistics is not None:
            region_tokens = self.encode_regions(statistics)
            direct = self.judge_regions(region_tokens)
            if input_ids is None and inputs_embeds is None:
                return SeagullOutput(region_tokens=region_tokens, direct=direct)
            if inputs_embeds is None:
                if mention_index is None or mention_counts is None or input_ids is None:
                    raise TypeError("Text with regions needs mention_index and mention_counts.")
                mentions = self.speak_regions(region_tokens)[mention_index]
                inputs_embeds = self.embed(input_ids, self.project_image(statistics.grid), mentions, mention_counts)
        elif inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        decoded = self.decoder(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, use_cache=use_cache,
        )  # fmt: skip
        hidden = decoded.last_hidden_state
        hidden = hidden.flatten(0, 1)[logits_index] if logits_index is not None else hidden[:, -logits_to_keep:]
        return SeagullOutput(
            logits=self.word_logits(hidden), past_key_values=decoded.past_key_values,
            region_tokens=region_tokens, direct=direct,
        )  # fmt: skip

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, inputs_embeds: Tensor | None = None, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """The picture enters with the prompt; later steps only carry the new token."""
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, inputs_embeds=inputs_embeds, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration:
            for name in ("pixel_values", "region_masks", "region_geometry", "patches", "patch_masks", "statistics"):
                inputs.pop(name, None)
        return inputs


AutoConfig.register(SeagullConfig.model_type, SeagullConfig)
AutoModel.register(SeagullConfig, SeagullForConditionalGeneration)
AutoModelForCausalLM.register(SeagullConfig, SeagullForConditionalGeneration)
