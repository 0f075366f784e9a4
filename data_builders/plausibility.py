"""What is valid but not plausible: classes that hardly occur, labels that contradict themselves, near copies in splits.

The rules are the table of docs/data-format.md (Plausibility). They are warnings: a data set may have good reasons.

Legend: L labels (a region of a sample each), T distortion types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, groupby
from operator import itemgetter

import numpy as np
import pyarrow.compute as pc

from data_builders.perceptual_hash import near_pairs
from seagull_tune.config.data import SPLITS
from seagull_tune.config.tools import Plausibility
from seagull_tune.data.schema import ImageRecord, RowTable
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES

SEVERE = 4
GOOD_ALTHOUGH_SEVERE = 0.9
BAD_ALTHOUGH_CLEAN = 0.3
MATTERS, LOST_NOTHING = 0.5, 0.98


@dataclass(frozen=True)
class Labels:
    """All labels of a data set whose values can be read, as arrays.

    Attributes:
        rows: int64 (L,), row of the ``samples`` table.
        regions: int64 (L,), index of the region.
        quality: float64 (L,), [0, 1].
        importance: float64 (L,), [0, 1]; NaN where it is not scored.
        severities: int64 (L, T), 0..5.
    """

    rows: np.ndarray
    regions: np.ndarray
    quality: np.ndarray
    importance: np.ndarray
    severities: np.ndarray

    @classmethod
    def of(cls, samples: RowTable) -> Labels:
        """The labels of a table; those that validation calls wrong are left out."""
        lists = samples.table.column("labels").combine_chunks()
        counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
        labels = pc.list_flatten(lists)
        rows = np.repeat(np.arange(len(counts)), counts)
        regions = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        quality = labels.field("quality").to_numpy(zero_copy_only=False).astype(np.float64)
        importance = labels.field("importance").to_numpy(zero_copy_only=False).astype(np.float64)
        stored = labels.field("severities")
        unknown = pc.is_null(stored).to_numpy(zero_copy_only=False)
        whole = pc.fill_null(pc.list_value_length(stored), 0).to_numpy() == len(DISTORTION_TYPES)
        severities = np.full((len(rows), len(DISTORTION_TYPES)), -1, dtype=np.int64)
        values = pc.fill_null(pc.list_flatten(stored.filter(whole)), -1).to_numpy()
        severities[whole] = values.reshape(-1, len(DISTORTION_TYPES))
        right = unknown | ((severities >= 0) & (severities < len(SEVERITY_NAMES))).all(axis=1)
        kept = np.flatnonzero(right & (quality >= 0.0) & (quality <= 1.0))
        importance[~((importance >= 0.0) & (importance <= 1.0))] = np.nan
        return cls(rows[kept], regions[kept], quality[kept], importance[kept], severities[kept])


def rare_classes(labels: Labels, limits: Plausibility) -> Iterator[str]:
    """Levels, severities and types whose share lies below ``limits.rare_share``, one sentence each."""
    present = labels.severities[labels.severities > 0]
    scored = labels.importance[~np.isnan(labels.importance)]
    yield from _rare("quality", QUALITY_LEVELS, _levels(labels.quality, len(QUALITY_LEVELS)), limits)
    yield from _rare("importance", IMPORTANCE_LEVELS, _levels(scored, len(IMPORTANCE_LEVELS)), limits)
    yield from _rare(
        "severity", SEVERITY_NAMES[1:], np.bincount(present - 1, minlength=len(SEVERITY_NAMES) - 1), limits
    )
    types, total = (labels.severities > 0).sum(axis=0), int((labels.severities[:, 0] >= 0).sum())
    yield from _rare("type", DISTORTION_TYPES, types, limits, total)


def _levels(values: np.ndarray, count: int) -> np.ndarray:
    """How many values each level is nearest to; as :func:`seagull_tune.levels.nearest_level`."""
    nearest = np.minimum((values * (count - 1) + 0.5).astype(np.int64), count - 1)
    return np.bincount(nearest, minlength=count)


def _rare(
    kind: str, names: tuple[str, ...], counts: np.ndarray, limits: Plausibility, total: int | None = None
) -> Iterator[str]:
    total = int(counts.sum()) if total is None else total
    if total < limits.min_labels:
        return
    for name, count in zip(names, counts.tolist(), strict=True):
        if count < limits.rare_share * total:
            yield (
                f"{kind} {name!r} holds for {count} of {total} labels ({count / total:.2%}), less than "
                f"{limits.rare_share:.2%}: a model will hardly learn it."
            )


def outliers(labels: Labels) -> Iterator[tuple[int, str]]:
    """Labels that contradict themselves: row of the ``samples`` table, and a sentence; in the order of the rows."""
    worst = labels.severities.max(axis=1, initial=-1)
    good = (worst >= SEVERE) & (labels.quality > GOOD_ALTHOUGH_SEVERE)
    bad = (worst == 0) & (labels.quality < BAD_ALTHOUGH_CLEAN)
    matters = (labels.importance > MATTERS) & (labels.quality > LOST_NOTHING)
    for at in np.flatnonzero(good | bad | matters).tolist():
        what = f"label {labels.regions[at]}: quality is {labels.quality[at]:.3g}"
        if good[at]:
            name = DISTORTION_TYPES[int(labels.severities[at].argmax())]
            yield int(labels.rows[at]), f"{what}, although {name} is {SEVERITY_NAMES[worst[at]]}."
        elif bad[at]:
            yield int(labels.rows[at]), f"{what}, although no distortion holds for the region."
        else:
            yield int(labels.rows[at]), f"{what}, although its importance is {labels.importance[at]:.3g}."


def near_duplicates(
    records: Mapping[str, ImageRecord], hashes: Mapping[str, int], limits: Plausibility
) -> Iterator[str]:
    """Photographs of different splits that look alike: a sentence for each of the earlier split. Flat pictures (hash 0)
    are left out.

    Args:
        records: image id -> row.
        hashes: image id -> perceptual hash, for those that could be read.
        limits: how many bits may differ.
    """
    by_split = {
        split: sorted(name for name, bits in hashes.items() if bits and records[name].split == split)
        for split in SPLITS
    }
    for left, right in combinations(SPLITS, 2):
        names, others = by_split[left], by_split[right]
        bits = [np.array([hashes[name] for name in side], np.uint64) for side in (names, others)]
        for i, pairs in groupby(near_pairs(bits[0], bits[1], limits.near_distance), key=itemgetter(0)):
            a, alike = records[names[i]], []
            for _, j, distance in pairs:
                b = records[others[j]]
                if a.scene_id != b.scene_id and a.sha256 != b.sha256:  # those are leaks, and problems
                    alike.append((distance, b.image_id))
            if alike:
                distance, nearest = min(alike)
                more = f", as do {len(alike) - 1} others of {right}" if len(alike) > 1 else ""
                yield (
                    f"{a.image_id!r} ({left}) and {nearest!r} ({right}) look alike ({distance} of 64 bits of their "
                    f"perceptual hashes differ){more}: if they show one scene, put them into one split (split.scenes)."
                )
