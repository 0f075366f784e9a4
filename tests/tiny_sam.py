"""A tiny SAM with random weights: the real code of segment_anything, without a checkpoint."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer


def tiny_sam(seed: int = 0, side: int = 256) -> Sam:
    """A SAM of width 32 with two encoder blocks, for images of ``side`` pixels (a multiple of 16)."""
    torch.manual_seed(seed)
    width, grid = 32, side // 16
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=2, embed_dim=width, img_size=side, mlp_ratio=2, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=2, patch_size=16, qkv_bias=True, use_rel_pos=True, global_attn_indexes=(1,), window_size=7,
            out_chans=width,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=width, image_embedding_size=(grid, grid), input_image_size=(side, side), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3, transformer_dim=width, iou_head_depth=2, iou_head_hidden_dim=16,
            transformer=TwoWayTransformer(depth=1, embedding_dim=width, mlp_dim=32, num_heads=2),
        ),
    ).eval()  # fmt: skip
