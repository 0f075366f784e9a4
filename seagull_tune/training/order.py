"""The order in which samples are visited, where neighbours are to be about as long."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

_GROUPS = 50
"""Batches among which samples are sorted by length: more save little, and make neighbours too much alike."""


class LengthGroupedOrder(Sampler[int]):
    """All samples in random order, but for that those of one step are about as long, so that little is padding.

    The order is a function of lengths, seed and epoch alone: every process draws the same one, and so does a run that
    is resumed.

    Args:
        lengths: of the samples, in any unit.
        group: samples of one step, of all processes together.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], group: int, seed: int) -> None:
        self.lengths, self.group, self.seed, self.epoch = lengths, group, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Another order for another pass; the data loader calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self.seed}-{self.epoch}")
        order = list(range(len(self.lengths)))
        draw.shuffle(order)
        groups: list[list[int]] = []
        rest: list[int] = []
        for start in range(0, len(order), _GROUPS * self.group):
            part = sorted(order[start : start + _GROUPS * self.group], key=self.lengths.__getitem__)
            cuts = [part[i : i + self.group] for i in range(0, len(part), self.group)]
            if len(cuts[-1]) < self.group:
                rest = cuts.pop()
            groups += cuts
        draw.shuffle(groups)
        # The group that is not whole comes last, or all after it would be shifted against the steps.
        return iter([index for group in [*groups, rest] for index in group])
