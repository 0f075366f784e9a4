"""What is in a data set: counts, histograms, how often each level word would be answered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from seagull_tune.config.data import SPLITS
from seagull_tune.data.schema import open_tables
from seagull_tune.levels import DISTORTION_TYPES, IMPORTANCE_LEVELS, QUALITY_LEVELS, SEVERITY_NAMES

Row = dict[str, Any]
N_BINS = 10


@dataclass(frozen=True)
class SplitStats:
    """Counts of one split.

    Attributes:
        split: its name.
        n_scenes, n_images, n_regions, n_samples, n_labels: how many; a label is one region of one sample.
        steps: number of steps of a recipe -> samples.
        without_recipe: samples whose pixels came as they are.
        variants: ``type/variant`` -> steps.
        whole_image: steps on the whole image.
        types: per distortion type, labels for which it holds (severity above 0).
        severities: per severity 0..5, (label, type) pairs.
        quality: labels per tenth of [0, 1].
        importance: scored labels per tenth of [0, 1].
        importance_unscored: labels without importance.
        quality_levels, importance_levels: labels per nearest level.
        area_shares: regions per tenth of the image area.
    """

    split: str
    n_scenes: int
    n_images: int
    n_regions: int
    n_samples: int
    n_labels: int
    steps: dict[int, int]
    without_recipe: int
    variants: dict[str, int]
    whole_image: int
    types: dict[str, int]
    severities: tuple[int, ...]
    quality: tuple[int, ...]
    importance: tuple[int, ...]
    importance_unscored: int
    quality_levels: dict[str, int]
    importance_levels: dict[str, int]
    area_shares: tuple[int, ...]


def dataset_stats(folder: str | Path) -> tuple[SplitStats, ...]:
    """Statistics of every split that a data set has.

    Raises:
        DataError: no data set, unfinished, another schema version, a damaged file.
    """
    images, samples = open_tables(folder)
    image_rows = images.table.drop_columns(["file_bytes"]).to_pylist()
    split_of = {row["image_id"]: row["split"] for row in image_rows}
    sample_rows = samples.table.to_pylist()
    found = []
    for split in SPLITS:
        mine = [row for row in image_rows if row["split"] == split]
        if mine:
            found.append(_split_stats(split, mine, [r for r in sample_rows if split_of.get(r["image_id"]) == split]))
    return tuple(found)


def _split_stats(split: str, images: list[Row], samples: list[Row]) -> SplitStats:
    labels = [label for row in samples for label in row["labels"]]
    recipes = [row["recipe"] for row in samples if row["recipe"] is not None]
    steps = [step for recipe in recipes for step in recipe]
    quality = np.array([label["quality"] for label in labels], dtype=np.float64)
    importance = np.array([x["importance"] for x in labels if x["importance"] is not None], dtype=np.float64)
    severities = np.array(
        [label["severities"] for label in labels if label["severities"] is not None], dtype=np.int64
    ).reshape(-1, len(DISTORTION_TYPES))
    shares = [region["area"] / (row["height"] * row["width"]) for row in images for region in row["regions"]]
    return SplitStats(
        split=split,
        n_scenes=len({row["scene_id"] for row in images}),
        n_images=len(images),
        n_regions=len(shares),
        n_samples=len(samples),
        n_labels=len(labels),
        steps=dict(sorted(Counter(len(recipe) for recipe in recipes).items())),
        without_recipe=len(samples) - len(recipes),
        variants=dict(sorted(Counter(f"{step['type']}/{step['variant']}" for step in steps).items())),
        whole_image=sum(step["regions"] is None for step in steps),
        types=dict(zip(DISTORTION_TYPES, (severities > 0).sum(axis=0).tolist(), strict=True)),
        severities=tuple(np.bincount(severities.ravel(), minlength=len(SEVERITY_NAMES)).tolist()),
        quality=_histogram(quality),
        importance=_histogram(importance),
        importance_unscored=len(labels) - len(importance),
        quality_levels=_level_counts(quality, QUALITY_LEVELS),
        importance_levels=_level_counts(importance, IMPORTANCE_LEVELS),
        area_shares=_histogram(np.array(shares)),
    )


def _histogram(values: np.ndarray) -> tuple[int, ...]:
    return tuple(np.histogram(values, bins=N_BINS, range=(0.0, 1.0))[0].tolist())


def _level_counts(values: np.ndarray, names: tuple[str, ...]) -> dict[str, int]:
    """As :func:`seagull_tune.levels.nearest_level`, for many values."""
    nearest = np.minimum((values * (len(names) - 1) + 0.5).astype(np.int64), len(names) - 1)
    return dict(zip(names, np.bincount(nearest, minlength=len(names)).tolist(), strict=True))


def print_stats(stats: tuple[SplitStats, ...], console: Console | None = None) -> None:
    """Print statistics as tables."""
    console = console or Console()
    overview = Table(
        "split", "scenes", "images", "regions", "samples", "labels", "steps 0 / 1 / 2 / 3", "no recipe", "whole image"
    )
    for s in stats:
        n_steps = sum(s.variants.values())
        overview.add_row(
            s.split, *(str(n) for n in (s.n_scenes, s.n_images, s.n_regions, s.n_samples, s.n_labels)),
            " / ".join(_share(s.steps.get(k, 0), s.n_samples) for k in range(4)), str(s.without_recipe),
            _share(s.whole_image, n_steps),
        )  # fmt: skip
    console.print(overview)
    for s in stats:
        _print_split(s, console)


def _print_split(s: SplitStats, console: Console) -> None:
    scored = sum(s.importance)
    bins = Table(*(["tenth of [0, 1]"] + [f"{i / N_BINS:.1f}" for i in range(N_BINS)]), title=f"{s.split}: shares")
    bins.add_row("quality", *(_share(n, s.n_labels) for n in s.quality))
    bins.add_row("importance", *(_share(n, scored) for n in s.importance))
    bins.add_row("region area", *(_share(n, s.n_regions) for n in s.area_shares))
    console.print(bins)
    levels = Table("level", "1", "2", "3", "4", "5")
    levels.add_row("quality", *(f"{name} {_share(n, s.n_labels)}" for name, n in s.quality_levels.items()))
    levels.add_row("importance", *(f"{name} {_share(n, scored)}" for name, n in s.importance_levels.items()))
    levels.add_row("severity", *(f"{n} {s.severities[i + 1]}" for i, n in enumerate(SEVERITY_NAMES[1:])))
    console.print(levels)
    console.print(f"importance not scored: {_share(s.importance_unscored, s.n_labels)} of the labels")
    types = Table("type", "labels", "steps by variant")
    for name, n in s.types.items():
        of_type = [f"{key.split('/')[1]} {count}" for key, count in s.variants.items() if key.startswith(f"{name}/")]
        types.add_row(name, f"{n} ({_share(n, s.n_labels)})", ", ".join(of_type))
    console.print(types)


def _share(count: int, total: int) -> str:
    return f"{count / total:.1%}" if total else "-"
