"""Continuing one shared prefix many times: the picture is read once, every region and task continues from its cache.

Legend: Q continuations run together, T tokens so far, S tokens of the segment being read, D width, V vocabulary.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from transformers import DynamicCache

from seagull_tune.model.modeling import SeagullForConditionalGeneration


class Continuations:
    """Q sequences that grow from one shared prefix, segment by segment; their lengths may come to differ.

    Shorter segments are padded on the right; padded positions are masked for ever and take no position number, so a
    sequence's logits do not depend on its neighbours.

    Args:
        model: the model.
        prefix: (1, T, D) embeddings of the shared prefix.
    """

    def __init__(self, model: SeagullForConditionalGeneration, prefix: Tensor) -> None:
        self._model = model
        output = model.decoder(inputs_embeds=prefix, use_cache=True, past_key_values=DynamicCache())
        self._cache = output.past_key_values
        self._mask = torch.ones(1, prefix.shape[1], dtype=torch.long, device=prefix.device)
        self._length = torch.tensor([prefix.shape[1]], device=prefix.device)

    def fork(self, count: int) -> Continuations:
        """``count`` independent copies of a single sequence."""
        other = copy.copy(self)
        other._cache = copy.deepcopy(self._cache)
        other._cache.batch_repeat_interleave(count)
        other._mask = self._mask.repeat(count, 1)
        other._length = self._length.repeat(count)
        return other

    def read(self, segments: Tensor, lengths: Tensor) -> Tensor:
        """Appends one segment to each sequence.

        Args:
            segments: (Q, S, D) embeddings, padded on the right.
            lengths: (Q,) int64, valid tokens of each, >= 1.

        Returns:
            (Q, V) float32 logits after the last valid token of each.
        """
        _, size, _ = segments.shape
        steps = torch.arange(size, device=segments.device)
        valid = (steps[None] < lengths[:, None]).long()  # (Q, S)
        self._mask = torch.cat([self._mask, valid], dim=1)
        positions = self._length[:, None] + torch.minimum(steps[None], lengths[:, None] - 1)
        output = self._model.decoder(
            inputs_embeds=segments, attention_mask=self._mask, position_ids=positions, past_key_values=self._cache,
            use_cache=True,
        )  # fmt: skip
        self._length = self._length + lengths
        last = output.last_hidden_state[torch.arange(len(segments), device=segments.device), lengths - 1]
        logits: Tensor = self._model.get_output_embeddings()(last).float()
        return logits
