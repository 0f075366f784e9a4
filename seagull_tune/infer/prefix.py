"""One shared prefix, many questions: the picture is read once, and a tree of questions about each region in one pass.

Legend: Q regions, T tokens of the prefix, S tokens of the tree, N places that are read, D width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

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

    Attributes:
        input_ids: (S,) int64, branch after branch.
        depth: (S,) int64, tokens between the prefix's end and each token.
        visible: bool (S, S), whether the row's token sees the column's.
        ends: per branch, the place of its last token.
    """

    def __init__(self, branches: Sequence[Branch]) -> None:
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


class SharedPrefix:
    """The language model's memory of what all questions begin with.

    Args:
        model: the model.
        prefix: (1, T, D) embeddings.
    """

    def __init__(self, model: SeagullForConditionalGeneration, prefix: Tensor) -> None:
        self._model = model
        output = model.decoder(inputs_embeds=prefix, use_cache=True, past_key_values=DynamicCache())
        self._cache = output.past_key_values
        self._length = prefix.shape[1]

    def read(self, tree: QuestionTree, embeddings: Tensor, places: Sequence[int]) -> Tensor:
        """Continues the prefix with one tree for several regions; the prefix stays as it is.

        Args:
            tree: the questions; the same for all regions.
            embeddings: (Q, S, D) of the tree's tokens, with each region's own tokens in them.
            places: N tokens of the tree after which to read.

        Returns:
            (Q, N, V) float32 logits.
        """
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(len(embeddings))
        output = self._model.decoder(
            inputs_embeds=embeddings,
            attention_mask=self._masks(tree, embeddings),
            position_ids=(self._length + tree.depth)[None].to(embeddings.device),
            past_key_values=cache, use_cache=True,
        )  # fmt: skip
        logits: Tensor = self._model.word_logits(output.last_hidden_state[:, list(places)])
        return logits.float()

    def _masks(self, tree: QuestionTree, embeddings: Tensor) -> Tensor | dict[str, Tensor]:
        """What every token of the tree sees, added to the attention scores, so that every implementation takes it.

        Returns:
            (Q, 1, S, T + S), or one of those per kind of layer where some layers see a window of so many tokens only.
        """
        depth = tree.depth + self._length
        seen = torch.cat([torch.ones(len(depth), self._length, dtype=torch.bool), tree.visible], dim=1)
        distance = depth[:, None] - torch.cat([torch.arange(self._length), depth])  # (S, T + S)
        window, kinds = attention_windows(self._model.config.text_config)
        masks = {
            kind: torch.zeros(seen.shape, dtype=embeddings.dtype)
            .masked_fill(~(seen & (distance < window) if kind == WINDOWED else seen), float("-inf"))
            .to(embeddings.device)
            .expand(len(embeddings), 1, -1, -1)
            for kind in kinds
        }
        return next(iter(masks.values())) if len(masks) == 1 else masks
