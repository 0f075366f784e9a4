"""Photograph, regions and messages -> tensors: the model's processor.

How a photograph is prepared is stored here and only here; training, evaluation, the command line and the web page call
the same two methods, :meth:`SeagullProcessor.visual` and :meth:`SeagullProcessor.encode`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from seagull_tune.data.square_view import square_inputs
from seagull_tune.data.visual import VisualInputs, box_masks, check_picture, visual_inputs
from seagull_tune.errors import ConfigError, DataError, RegionError
from seagull_tune.instructions.chat import EncodedChat, TokenLayout, encode_chat
from seagull_tune.records import Message

IMAGE_TOKEN = "<image>"
REGION_TOKENS = ("<global>", "<local>")
VIEWS = ("native", "square")
REGION_SHAPES = ("mask", "box")


class SeagullProcessor(ProcessorMixin):
    """Prepares photographs, regions and conversations for the model.

    Args:
        tokenizer: the language model's tokenizer; the placeholders ``<image>``, ``<global>``, ``<local>`` are added.
        image_max_side: longest side, in pixels, that the vision tower sees; larger photographs are shrunk.
        image_mean, image_std: per-channel normalisation of sRGB values in [0, 1].
        image_grid: side of the grid of image tokens.
        patch_size: side of a native-resolution patch (a multiple of 8), or of a region's crop, in pixels.
        patches_per_region: native-resolution patches read per region; 1 in the view ``square``.
        view: ``native``: aspect ratio kept, patches at the photograph's own resolution; ``square``: as the released
            model sees it, squashed to a square of ``image_max_side``, the box of every region resized to a square.
        keep_blanks: blanks before image and regions keep their token.
        region_tokens: how many global and how many local tokens stand for a region; at least one in all.
        region_shape: what of a region the model reads: its ``mask``, or everything inside its bounding ``box``.
    """

    tokenizer: PreTrainedTokenizerBase

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None = None,
        image_max_side: int = 512,
        image_mean: Sequence[float] = (0.5, 0.5, 0.5),
        image_std: Sequence[float] = (0.5, 0.5, 0.5),
        image_grid: int = 3,
        patch_size: int = 32,
        patches_per_region: int = 8,
        view: str = "native",
        keep_blanks: bool = False,
        region_tokens: Sequence[int] = (1, 1),
        region_shape: str = "mask",
        chat_template: str | None = None,
    ) -> None:
        if tokenizer is None:
            raise DataError("A processor needs a tokenizer; load it with SeagullProcessor.from_pretrained(DIR).")
        if view not in VIEWS:
            raise ConfigError(f"view is {view!r}; allowed: {', '.join(VIEWS)}.")
        if region_shape not in REGION_SHAPES:
            raise ConfigError(f"region_shape is {region_shape!r}; allowed: {', '.join(REGION_SHAPES)}.")
        self.region_tokens, self.region_shape = list(region_tokens), region_shape
        tokenizer.add_tokens([IMAGE_TOKEN, *self.region_token_names], special_tokens=True)
        self.image_max_side = image_max_side
        self.image_mean, self.image_std = list(image_mean), list(image_std)
        self.image_grid = image_grid
        self.patch_size, self.patches_per_region = patch_size, patches_per_region
        self.view, self.keep_blanks = view, keep_blanks
        super().__init__(tokenizer, chat_template=chat_template)

    @property
    def region_token_names(self) -> list[str]:
        """Placeholders of one region, in order: ``<global>``, ``<global_2>``, ..., ``<local>``, ``<local_2>``, ..."""
        return [
            name if index == 1 else f"{name[:-1]}_{index}>"
            for name, count in zip(REGION_TOKENS, self.region_tokens, strict=True)
            for index in range(1, count + 1)
        ]

    @property
    def layout(self) -> TokenLayout:
        """Ids and counts of the placeholders in the token sequence."""
        image, *regions = self.tokenizer.convert_tokens_to_ids([IMAGE_TOKEN, *self.region_token_names])
        return TokenLayout(image, self.image_grid**2, tuple(regions), keep_blanks=self.keep_blanks)

    @property
    def padding_id(self) -> int:
        """What fills shorter sequences: the padding token, or the end of sequence where a tokenizer has none."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id)

    def visual(self, image: np.ndarray, masks: np.ndarray) -> VisualInputs:
        """What the model reads of a photograph uint8 (H, W, 3) and its regions bool (R, H, W)."""
        if self.region_shape == "box":
            check_picture(image, masks)
            masks = box_masks(masks)
        if self.view == "square":
            return square_inputs(
                image, masks, side=self.image_max_side, mean=tuple(self.image_mean), std=tuple(self.image_std),
                crop_side=self.patch_size,
            )  # fmt: skip
        return visual_inputs(
            image, masks, max_side=self.image_max_side, mean=tuple(self.image_mean), std=tuple(self.image_std),
            patch_size=self.patch_size, patches_per_region=self.patches_per_region,
        )  # fmt: skip

    def encode(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> EncodedChat:
        """Token ids of a conversation, with its trained spans and value slots."""
        return encode_chat(self.tokenizer, messages, self.layout, add_generation_prompt=add_generation_prompt)

    def __call__(  # type: ignore[override]
        self,
        image: np.ndarray,
        masks: np.ndarray,
        messages: Sequence[Message],
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> BatchFeature:
        """Everything ``model.generate`` needs for one photograph.

        Args:
            image: uint8 (H, W, 3), sRGB.
            masks: bool (R, H, W).
            messages: the conversation; its region parts index ``masks``.
            add_generation_prompt: whether the answer is to be generated next.

        Raises:
            RegionError: a region that is not there is mentioned.
        """
        encoded = self.encode(messages, add_generation_prompt)
        mentions = [position.region for position in encoded.region_positions]
        beyond = [region for region in mentions if not 0 <= region < len(masks)]
        if beyond:
            raise RegionError(
                f"The conversation mentions region {beyond[0] + 1}; the photograph has {len(masks)} regions."
            )
        ids = torch.tensor([encoded.input_ids])
        return BatchFeature(
            {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                **visual_tensors([self.visual(image, masks)]),
                "mention_index": torch.tensor(mentions, dtype=torch.long),
                "mention_counts": torch.tensor([len(mentions)]),
            }
        )


def visual_tensors(inputs: Sequence[VisualInputs]) -> dict[str, Any]:
    """The model's picture arguments for a batch of photographs (sizes may differ; nothing is padded)."""
    return {
        "pixel_values": [torch.from_numpy(item.pixels) for item in inputs],
        "region_masks": [torch.from_numpy(item.masks) for item in inputs],
        "region_geometry": torch.from_numpy(np.concatenate([item.geometry for item in inputs])),
        "patches": torch.from_numpy(np.concatenate([item.patches for item in inputs])),
        "patch_masks": torch.from_numpy(np.concatenate([item.patch_masks for item in inputs])),
    }


def to_device(inputs: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """The same arguments on another device; ``inputs`` as :func:`visual_tensors` makes them."""
    return {name: [t.to(device) for t in v] if isinstance(v, list) else v.to(device) for name, v in inputs.items()}


AutoProcessor.register("seagull", SeagullProcessor, exist_ok=True)
