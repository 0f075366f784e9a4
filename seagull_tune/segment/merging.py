"""Merging neighbouring pieces of an over-segmentation, the cheapest pair first (a region adjacency graph).

Legend: h, w size of the label map; n number of pieces.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Pieces:
    """What merging knows of the pieces of a label map.

    Attributes:
        area: float64 (n,), pixels (weighted).
        colour: float64 (n, 3), mean CIELAB colour.
        spread: float64 (n,), root mean squared deviation from that colour: how textured the piece is.
        border: per piece, neighbour -> (length in pixel pairs, summed colour difference across the border).
    """

    area: np.ndarray
    colour: np.ndarray
    spread: np.ndarray
    border: list[dict[int, tuple[float, float]]]

    @classmethod
    def measure(cls, labels: np.ndarray, lab: np.ndarray, weights: np.ndarray) -> Pieces:
        """Measure the pieces of a label map.

        Args:
            labels: int (h, w), 0..n-1, every value used.
            lab: float (h, w, 3), CIELAB (L in 0..100).
            weights: (h, w), how many pixels each stands for, > 0.
        """
        n = int(labels.max()) + 1
        flat, weight = labels.ravel(), weights.ravel().astype(np.float64)
        area = np.bincount(flat, weights=weight, minlength=n)
        colour: np.ndarray = np.stack(
            [np.bincount(flat, weights=weight * lab[..., c].ravel(), minlength=n) for c in range(3)], 1
        )
        colour = colour / area[:, None]
        deviation = ((lab.reshape(-1, 3) - colour[flat]) ** 2).sum(axis=1)
        spread = np.sqrt(np.bincount(flat, weights=weight * deviation, minlength=n) / area)
        return cls(area, colour, spread, _borders(labels, lab, n))


def _borders(labels: np.ndarray, lab: np.ndarray, n: int) -> list[dict[int, tuple[float, float]]]:
    keys, steps = [], []
    for a, b, da, db in (
        (labels[:, :-1], labels[:, 1:], lab[:, :-1], lab[:, 1:]),
        (labels[:-1], labels[1:], lab[:-1], lab[1:]),
    ):
        different = a != b
        one, two = a[different].astype(np.int64), b[different].astype(np.int64)
        keys.append(np.minimum(one, two) * n + np.maximum(one, two))
        steps.append(np.sqrt(((da[different] - db[different]) ** 2).sum(axis=1)))
    pairs, index = np.unique(np.concatenate(keys), return_inverse=True)
    length = np.bincount(index, minlength=len(pairs))
    total = np.bincount(index, weights=np.concatenate(steps), minlength=len(pairs))
    border: list[dict[int, tuple[float, float]]] = [{} for _ in range(n)]
    for pair, count, step in zip(pairs.tolist(), length.tolist(), total.tolist(), strict=True):
        i, j = divmod(pair, n)
        border[i][j] = border[j][i] = (float(count), step)
    return border


def merge_pieces(
    pieces: Pieces, min_area: float, min_regions: int, max_regions: int, stop_cost: float, same_cost: float
) -> np.ndarray:
    """Merge until all regions have ``min_area``, few enough are left, and no pair costs under ``stop_cost``.

    Args:
        pieces: measured pieces; used up.
        min_area: in the unit of ``pieces.area``.
        min_regions: with this many left or fewer, pairs stay apart unless they cost under ``same_cost``.
        max_regions: most regions left.
        stop_cost: pairs below this cost are merged even where the other conditions hold.
        same_cost: pairs below this cost look the same and are always merged.

    Returns:
        int64 (n,): the region, 0..m-1, of each piece.
    """
    n = len(pieces.area)
    total = float(pieces.area.sum())
    root = np.arange(n)
    alive = set(range(n))
    costs = {(i, j): _cost(pieces, i, j, total) for i in alive for j in pieces.border[i] if i < j}
    queue = [(cost, pair) for pair, cost in costs.items()]
    heapq.heapify(queue)
    while len(alive) > 1:
        while costs.get(queue[0][1]) != queue[0][0]:
            heapq.heappop(queue)  # the pair is gone, or its cost is an old one
        cost, pair = queue[0]
        smallest = min(alive, key=lambda i: (pieces.area[i], i))
        if cost < (stop_cost if len(alive) > min_regions else same_cost):
            pass
        elif pieces.area[smallest] < min_area:
            near = [(min(smallest, k), max(smallest, k)) for k in pieces.border[smallest]]
            pair = min(near, key=lambda p: (costs[p], p))
        elif len(alive) <= max_regions:
            break
        for changed in _merge(pieces, costs, *pair, total):
            heapq.heappush(queue, (costs[changed], changed))
        alive.remove(pair[1])
        root[root == pair[1]] = pair[0]
    return np.unique(root, return_inverse=True)[1]


def _cost(pieces: Pieces, i: int, j: int, total: float) -> float:
    a, b = pieces.area[i] / total, pieces.area[j] / total
    length, step = pieces.border[i][j]
    gap = pieces.colour[i] - pieces.colour[j]
    # In texture a difference of means says less: measure it against the spread inside the two.
    texture = 1.0 + 0.05 * (pieces.spread[i] + pieces.spread[j])
    return 4.0 * math.sqrt(a * b / (a + b)) * (math.sqrt(float(gap @ gap)) / float(texture) + step / length)


def _merge(pieces: Pieces, costs: dict[tuple[int, int], float], i: int, j: int, total: float) -> list[tuple[int, int]]:
    """Join piece j to piece i. Returns the pairs whose cost changed."""
    a, b = pieces.area[i], pieces.area[j]
    mean = (a * pieces.colour[i] + b * pieces.colour[j]) / (a + b)
    # Spread inside the union: what was inside each, plus each mean's way to the common mean.
    within = a * pieces.spread[i] ** 2 + b * pieces.spread[j] ** 2
    between = a * ((pieces.colour[i] - mean) ** 2).sum() + b * ((pieces.colour[j] - mean) ** 2).sum()
    pieces.spread[i] = np.sqrt((within + between) / (a + b))
    pieces.colour[i], pieces.area[i] = mean, a + b
    for k, (length, step) in pieces.border[j].items():
        del costs[(min(j, k), max(j, k))]
        del pieces.border[k][j]
        if k != i:
            old_length, old_step = pieces.border[i].get(k, (0.0, 0.0))
            pieces.border[i][k] = pieces.border[k][i] = (old_length + length, old_step + step)
    pieces.border[j] = {}
    changed = [(min(i, k), max(i, k)) for k in pieces.border[i]]
    costs.update((pair, _cost(pieces, *pair, total)) for pair in changed)
    return changed
