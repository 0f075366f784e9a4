"""What the language model has read before: a prompt that begins like an earlier one is read from where they part.

That is so for the next question of a conversation, whose history it has read and written itself; and for questions
about one photograph, which begin with the same instruction and the same image tokens. What was read is recognised by
its embeddings: keys and values follow from them and from nothing else.

Legend: B prompts, L tokens of a prompt, P of them recalled, D width, H heads of keys and values, d their width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from seagull_tune.model.families import WHOLE, attention_windows

Layers = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values per layer, (H, L, d) each."""


@dataclass(frozen=True, eq=False)
class _Reading:
    """A text that was read: embeddings (L, D), and what the language model made of it."""

    embeddings: Tensor
    layers: Layers

    @property
    def n_bytes(self) -> int:
        return self.embeddings.nbytes + sum(keys.nbytes + values.nbytes for keys, values in self.layers)

    def shared(self, embeddings: Tensor) -> int:
        """How many tokens another text (L, D) begins alike."""
        most = min(len(self.embeddings), len(embeddings))
        differs = (self.embeddings[:most] != embeddings[:most]).any(dim=1).nonzero()
        return int(differs[0]) if len(differs) else most


@dataclass(frozen=True)
class Recollection:
    """The beginning of a prompt that need not be read: ``length`` tokens, and their keys and values (H, P, d)."""

    length: int = 0
    layers: Layers = ()


class PromptMemory:
    """Texts that were read, the last ones that fit. For one thread at a time.

    Args:
        max_bytes: of all that is kept; a text that takes more is not.

    Attributes:
        recalled, read: tokens of prompts that were found, and that had to be read.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.recalled = self.read = 0
        self._kept: list[_Reading] = []  # what was not asked for longest comes first

    @staticmethod
    def serves(config: PreTrainedConfig) -> bool:
        """Whether a language model can go on from a memory: all of its layers see everything that came before."""
        return attention_windows(config)[1] == (WHOLE,)

    @property
    def n_bytes(self) -> int:
        """What is kept now."""
        return sum(reading.n_bytes for reading in self._kept)

    def recall(self, embeddings: Tensor) -> Recollection:
        """The longest beginning of a prompt (L, D) that was read before, without its last token, which is to be read.

        Whoever asks owns nothing of it: the keys and values are views.
        """
        found = [min(reading.shared(embeddings), len(embeddings) - 1) for reading in self._kept]
        length = max(found, default=0)
        self.recalled += length
        self.read += len(embeddings) - length
        if length == 0:
            return Recollection()
        reading = self._kept.pop(found.index(length))
        self._kept.append(reading)
        return Recollection(length, tuple((keys[:, :length], values[:, :length]) for keys, values in reading.layers))

    def keep(self, embeddings: Tensor, cache: DynamicCache, row: int, columns: Tensor) -> None:
        """Keeps a text that was read; an earlier one that it only continues goes.

        Args:
            embeddings: (L, D).
            cache: holds its keys and values.
            row, columns: where: a row of the batch, and (L,) places in it.
        """
        shared = [reading.shared(embeddings) for reading in self._kept]
        if len(embeddings) in shared:
            return  # it is the beginning of one that is kept
        self._kept = [
            reading for reading, count in zip(self._kept, shared, strict=True) if count < len(reading.embeddings)
        ]
        layers = tuple((layer.keys[row][:, columns], layer.values[row][:, columns]) for layer in cache.layers)
        reading = _Reading(embeddings.clone(), layers)
        if reading.n_bytes > self.max_bytes:
            return
        self._kept.append(reading)
        held = self.n_bytes
        while held > self.max_bytes:
            held -= self._kept.pop(0).n_bytes


def recalled_cache(recalled: Sequence[Recollection]) -> DynamicCache:
    """What is recalled of B prompts as one cache, zeros on the left of the shorter ones; empty where there is none."""
    cache = DynamicCache()
    longest = max(item.length for item in recalled)
    known = next((item.layers for item in recalled if item.length), ())
    for index, pair in enumerate(known):
        layer = DynamicLayer()
        layer.lazy_initialization(*pair)
        layer.keys, layer.values = (
            _right_aligned([item.layers[index][side] if item.length else None for item in recalled], longest, example)
            for side, example in enumerate(pair)
        )
        cache.layers.append(layer)
    return cache


def _right_aligned(rows: Sequence[Tensor | None], longest: int, example: Tensor) -> Tensor:
    """(H, P, d) or nothing per row -> (B, H, longest, d)."""
    heads, _, width = example.shape
    filled = example.new_zeros(len(rows), heads, longest, width)
    for place, row in zip(filled, rows, strict=True):
        if row is not None:
            place[:, longest - row.shape[1] :] = row
    return filled
