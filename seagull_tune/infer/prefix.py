"""One shared prefix, many questions: the picture is read once, and a tree of questions about each region in one pass.

What a question says before it comes to its region is the same for every region: it is read once too, with the prefix.
Regions of several pictures share the pass as well; each continues the prefix of its own picture.

Legend: Q regions, T tokens of the prefix, S tokens of the tree, C of them common to all regions, N places that are
read, D width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from seagull_tune.model.families import WINDOWED, attention_windows
from seagull_tune.model.modeling import SeagullForConditionalGeneration


@dataclass(frozen=True)
class Branch:
    """A piece of text of a tree.

    Attributes:
        ids: its tokens, at least one.
        parent: index of the branch that it continues; None continues the prefix itself.
    """

    ids: tuple[int, ...]
    parent: int | None = None


class QuestionTree:
    """Texts that begin alike, packed into one sequence: each token sees its own branch, its ancestors and the prefix.

    A branch is read as if it alone followed the prefix, at the positions that it would have there.

    Args:
        branches: parents before their children.
        marks: ids that stand for what differs from region to region; None: any token may differ.

    Attributes:
        input_ids: (S,) int64, branch after branch.
        depth: (S,) int64, tokens between the prefix's end and each token.
        visible: bool (S, S), whether the row's token sees the column's.
        ends: per branch, the place of its last token.
        common: (C,) int64, places of the tokens that see no mark: the same for every region.
        own: (S - C,) int64, places of the others.
    """

    def __init__(self, branches: Sequence[Branch], marks: Collection[int] | None = None) -> None:
        ids: list[int] = []
        depth: list[int] = []
        lineages: list[list[int]] = []
        self.ends: list[int] = []
        for branch in branches:
            before = [] if branch.parent is None else lineages[branch.parent]
            own = list(range(len(ids), len(ids) + len(branch.ids)))
            depth += range(len(before), len(before) + len(own))
            ids += branch.ids
            lineages.append(before + own)
            self.ends.append(own[-1])
        self.input_ids = torch.tensor(ids)
        self.depth = torch.tensor(depth)
        self.visible = torch.zeros(len(ids), len(ids), dtype=torch.bool)
        for lineage in lineages:
            for place, token in enumerate(lineage):
                self.visible[token, lineage[: place + 1]] = True
        marked = torch.ones_like(self.input_ids, dtype=torch.bool)
        if marks is not None:
            marked = torch.isin(self.input_ids, torch.tensor(sorted(marks), dtype=torch.long))
        differs = (self.visible & marked).any(dim=1)
        self.common, self.own = (~differs).nonzero()[:, 0], differs.nonzero()[:, 0]


class _LentLayer(DynamicLayer):
    """One layer's memory of the prefix, lent to a batch: what is read after it goes to the attention and is not kept.

    So a prefix is never copied for later, and a chunk of regions needs the memory of one layer instead of all.

    Args:
        layers: the same layer's memory of one prefix per picture.
        counts: how many rows of the batch continue each of them, in this order; None: one picture, any number of rows.
    """

    def __init__(self, layers: Sequence[DynamicLayer], counts: Sequence[int] | None = None) -> None:
        super().__init__()
        self.lazy_initialization(layers[0].keys, layers[0].values)
        self.keys, self.values = layers[0].keys, layers[0].values
        self.lenders, self._counts = layers, counts

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keys and values of the prefix, then those of the batch (Q, heads, S, D)."""
        counts = [len(key_states)] if self._counts is None else self._counts
        keys = [layer.keys.expand(count, -1, -1, -1) for layer, count in zip(self.lenders, counts, strict=True)]
        values = [layer.values.expand(count, -1, -1, -1) for layer, count in zip(self.lenders, counts, strict=True)]
        before = [rows[0] if len(rows) == 1 else torch.cat(rows) for rows in (keys, values)]
        return torch.cat([before[0], key_states], dim=-2), torch.cat([before[1], value_states], dim=-2)


class SharedPrefix:
    """The language model's memory of what the questions about all regions begin with.

    Args:
        model: the model.
        prefix: (1, T, D) embeddings.
        tree: the questions; the same for all regions.
        common: (1, C, D) embeddings of the tree's common tokens; None where it has none.
    """

    def __init__(
        self,
        model: SeagullForConditionalGeneration,
        prefix: Tensor,
        tree: QuestionTree,
        common: Tensor | None = None,
    ) -> None:
        self._model, self._tree = model, tree
        length, shared = prefix.shape[1], len(tree.common)
        self._depth = torch.cat([torch.arange(length), length + tree.depth[tree.common]])  # (T + C,)
        seen = torch.ones(length + shared, length + shared, dtype=torch.bool).tril()
        seen[length:, length:] = tree.visible[tree.common][:, tree.common]
        embeddings = prefix if common is None else torch.cat([prefix, common], dim=1)
        read = model.decoder(
            inputs_embeds=embeddings,
            attention_mask=self._masks(seen, self._depth, self._depth, embeddings),
            position_ids=self._depth[None].to(embeddings.device),
            past_key_values=DynamicCache(), use_cache=True,
        )  # fmt: skip
        self._cache = DynamicCache()
        self._cache.layers = [_LentLayer([layer]) for layer in read.past_key_values.layers]

    @property
    def n_bytes(self) -> int:
        """What it takes to keep it."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._layers)

    @property
    def _layers(self) -> list[_LentLayer]:
        return self._cache.layers  # type: ignore[return-value]

    @classmethod
    def side_by_side(cls, prefixes: Sequence[Self], counts: Sequence[int]) -> Self:
        """The prefixes of several pictures as one, so that regions of all of them are read in one batch.

        Args:
            prefixes: with one tree, each of one picture.
            counts: how many regions of each picture a batch holds, picture after picture.
        """
        joined = cls.__new__(cls)
        joined._model, joined._tree, joined._depth = prefixes[0]._model, prefixes[0]._tree, prefixes[0]._depth
        joined._cache = DynamicCache()
        joined._cache.layers = [
            _LentLayer(layers, counts) for layers in zip(*(p._layers for p in prefixes), strict=True)
        ]
        return joined

    def read(self, embeddings: Tensor, places: Sequence[int]) -> Tensor:
        """Continues the prefix with the tree for several regions; the prefix stays as it is.

        Args:
            embeddings: (Q, S - C, D) of the tree's own tokens, with each region's tokens in them.
            places: N tokens of the tree after which to read; each sees a region.

        Returns:
            (Q, N, D) last hidden states.
        """
        tree = self._tree
        depth = len(self._depth) - len(tree.common) + tree.depth[tree.own]
        before = torch.ones(len(depth), len(self._depth), dtype=torch.bool)
        before[:, len(self._depth) - len(tree.common) :] = tree.visible[tree.own][:, tree.common]
        seen = torch.cat([before, tree.visible[tree.own][:, tree.own]], dim=1)
        output = self._model.decoder(
            inputs_embeds=embeddings,
            attention_mask=self._masks(seen, depth, torch.cat([self._depth, depth]), embeddings),
            position_ids=depth[None].to(embeddings.device),
            past_key_values=self._cache, use_cache=True,
        )  # fmt: skip
        hidden: Tensor = output.last_hidden_state[:, torch.searchsorted(tree.own, torch.tensor(list(places)))]
        return hidden

    def _masks(self, seen: Tensor, rows: Tensor, columns: Tensor, embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """What every token sees, added to the attention scores, so that every implementation takes it.

        Args:
            seen: bool (S, K), whether the row's token sees the column's where layers see everything.
            rows, columns: positions of the tokens.
            embeddings: (Q, S, D) that will be read.

        Returns:
            (Q, 1, S, K), or one of those per kind of layer where some layers see a window of so many tokens only.
        """
        distance = rows[:, None] - columns  # (S, K)
        window, kinds = attention_windows(self._model.config.text_config)
        masks = {
            kind: torch.zeros(seen.shape, dtype=embeddings.dtype)
            .masked_fill(~(seen & (distance < window) if kind == WINDOWED else seen), float("-inf"))
            .to(embeddings.device)
            .expand(len(embeddings), 1, -1, -1)
            for kind in kinds
        }
        return next(iter(masks.values())) if len(masks) == 1 else masks
