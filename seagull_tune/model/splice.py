"""Puts image and region embeddings where their placeholders stand in the token sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seagull_tune.errors import DataError


def check_counts(
    input_ids: Tensor, image_token_id: int, region_token_ids: Sequence[int], counts: Tensor, n_image: int
) -> None:
    """Every sample must hold exactly its own placeholders: ``n_image`` image tokens (or none), and its own regions.

    Checked per sample, because two samples whose surplus and lack cancel would otherwise swap their features.

    Args:
        input_ids: (B, L) int64.
        counts: (B,) int64, regions each sample refers to.
        n_image: image tokens per image.

    Raises:
        DataError: naming the first sample that disagrees.
    """
    images = (input_ids == image_token_id).sum(dim=1)
    for row, seen in enumerate(images.tolist()):
        if seen != n_image:
            raise DataError(
                f"Sample {row} of the batch holds {seen} image tokens; its image has {n_image}. Was the text truncated?"
            )
    for token in region_token_ids:
        found = (input_ids == token).sum(dim=1)
        wrong = (found != counts).nonzero()
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"Sample {row} of the batch holds {int(found[row])} region tokens {token}, "
                f"but {int(counts[row])} regions were given. Was the text truncated?"
            )


def splice(
    input_ids: Tensor,
    embeddings: Tensor,
    image_tokens: Tensor,
    region_tokens: Tensor,
    image_token_id: int,
    region_token_ids: Sequence[int],
) -> Tensor:
    """Replaces placeholder embeddings by features, in order of appearance.

    Args:
        input_ids: (B, L) int64.
        embeddings: (B, L, D) of the words.
        image_tokens: (B, N, D).
        region_tokens: (R, T, D), one row per region mention, samples in order.
        image_token_id, region_token_ids: the placeholders' ids.

    Returns:
        (B, L, D) in the dtype of ``embeddings``.
    """
    spliced = embeddings.clone()
    spliced[input_ids == image_token_id] = image_tokens.flatten(0, 1).to(embeddings.dtype)
    for slot, token in enumerate(region_token_ids):
        spliced[input_ids == token] = region_tokens[:, slot].to(embeddings.dtype)
    return spliced


def word_ids(input_ids: Tensor, placeholders: Sequence[int]) -> Tensor:
    """``input_ids`` with placeholders set to 0: they have no row of their own in the embedding table."""
    known = torch.isin(input_ids, torch.tensor(list(placeholders), device=input_ids.device))
    return input_ids.masked_fill(known, 0)
