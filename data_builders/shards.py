"""Builds one shard: photographs -> images with regions -> recipes -> rendered, labelled samples -> two Parquet files.

A shard is finished exactly if its samples file exists; both files appear by renaming, the images file first.

Legend: R regions of an image.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_builders.labelers import Labeler, make_labeler
from data_builders.regions import drawn_boxes, regions_of
from data_builders.sampler import draw_pair, draw_recipe
from data_builders.sources import SourceImage, View, load_source, views_of
from seagull_tune.config.data import BuildConfig, SplitName
from seagull_tune.config.labels import LabelSource
from seagull_tune.data.schema import (
    IMAGES_DIR,
    IMAGES_FEATURES,
    SAMPLES_DIR,
    SAMPLES_FEATURES,
    ImageRecord,
    encodings,
    file_metadata,
    image_to_row,
    sample_to_row,
    to_table,
    view_of,
)
from seagull_tune.distortions.recipe import render, severities_of
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError, RegionError
from seagull_tune.files import why_not_written
from seagull_tune.fullref.measure import RegionMeasures
from seagull_tune.images import require_min_size
from seagull_tune.records import Recipe, RegionLabel, Sample
from seagull_tune.regions.masks import decode_all
from seagull_tune.regions.windows import MaskWindows
from seagull_tune.segment.base import by_area

PARTIAL_SUFFIX = ".partial"
_GO_ON = (
    "Finished shards are kept: make room (or repair the folder's rights), then run the same build again; it goes on "
    "where it was."
)
MIN_SIDE = 32
"""Smallest side of an image, in pixels: below it no region has any structure to judge."""


@dataclass(frozen=True)
class Failure:
    """A photograph that could not be built.

    Attributes:
        image_id: its id.
        reason: why, in a sentence.
    """

    image_id: str
    reason: str


@dataclass(frozen=True)
class ShardTask:
    """Everything one shard is built from.

    Attributes:
        out: folder of the data set.
        name: file name of both files.
        config_hash: of the build.
        config: of the build.
        sources: its photographs.
        splits: scene -> split.
    """

    out: Path
    name: str
    config_hash: str
    config: BuildConfig
    sources: tuple[SourceImage, ...]
    splits: Mapping[str, SplitName]

    @property
    def images_file(self) -> Path:
        """Its part of the `images` table."""
        return self.out / IMAGES_DIR / self.name

    @property
    def samples_file(self) -> Path:
        """Its part of the `samples` table; the shard is finished exactly if it exists."""
        return self.out / SAMPLES_DIR / self.name


@dataclass(frozen=True)
class ShardSummary:
    """What is in a finished shard; stored in the metadata of its samples file.

    Attributes:
        n_images, n_regions, n_samples: counts.
        recipe_sum: sum of the SHA-256 of all (sample id, recipe), modulo 2**256, in hex: adds up over shards.
        failed: the photographs that could not be built.
    """

    n_images: int
    n_regions: int
    n_samples: int
    recipe_sum: str
    failed: tuple[Failure, ...]

    @classmethod
    def read(cls, task: ShardTask) -> ShardSummary:
        """The summary of a finished shard.

        Raises:
            DataError: its file is damaged.
        """
        metadata = file_metadata(task.samples_file)
        try:
            stored = dict(metadata["summary"])
            failed = tuple(Failure(**entry) for entry in stored.pop("failed"))
            int(stored["recipe_sum"], 16)
            return cls(**stored, failed=failed)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{task.samples_file}: what it says of its shard is damaged ({error}). Remove it and build again: "
                "only it is redone."
            ) from error


def seed_of(*parts: str | int) -> int:
    """A seed in 0..2**63 - 1 from the SHA-256 of the parts: the same on every machine, in any order of building."""
    text = json.dumps([str(part) for part in parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def build_shard(task: ShardTask) -> ShardSummary:
    """Build and write one shard.

    Raises:
        DataError: the files cannot be written (for example a full disk); finished shards stay.
    """
    images: list[dict[str, Any]] = []
    samples: list[dict[str, Any]] = []
    failed: list[Failure] = []
    for source in task.sources:
        try:
            new_images, new_samples = _build_photograph(source, task)
        except (DataError, RegionError) as error:  # one bad photograph must not stop the others; it is reported
            failed.append(Failure(source.image_id, str(error)))
            continue
        except Exception as error:
            error.add_note(f"This happened while {source.path} was built.")
            raise
        images += new_images
        samples += new_samples
    summary = ShardSummary(
        n_images=len(images),
        n_regions=sum(len(row["regions"]) for row in images),
        n_samples=len(samples),
        recipe_sum=f"{sum(map(_recipe_number, samples)) % 2**256:064x}",
        failed=tuple(failed),
    )
    metadata = {"config_hash": task.config_hash, "summary": asdict(summary)}
    write_table(to_table(images, IMAGES_FEATURES, metadata), task.images_file)
    write_table(to_table(samples, SAMPLES_FEATURES, metadata), task.samples_file)
    return summary


def write_table(table: pa.Table, target: Path, remedy: str = _GO_ON) -> None:
    """Write a Parquet file that appears whole or not at all, and outlives a power cut once it is there.

    Args:
        table: its content.
        target: the file; its folder is made.
        remedy: what to do where it cannot be written.

    Raises:
        DataError: it cannot be written.
    """
    staging = target.with_name(target.name + PARTIAL_SUFFIX)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, staging, compression="zstd", write_page_checksum=True, **encodings(table.schema))
        with staging.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(staging, target)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise DataError(f"{target} cannot be written: {why_not_written(error)}. {remedy}") from error


def _build_photograph(source: SourceImage, task: ShardTask) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The `images` and the `samples` rows of one photograph."""
    images, samples = [], []
    for record, image in open_photograph(source, task):
        images.append(image_to_row(record))
        samples += build_samples(record, image, task.config)
    return images, samples


def open_photograph(source: SourceImage, task: ShardTask) -> Iterator[tuple[ImageRecord, np.ndarray]]:
    """The images of a photograph with their regions.

    Yields:
        The row, and the pixels, (H, W, 3) uint8 or scene light.

    Raises:
        DataError: the photograph cannot be read or is too small.  RegionError: it has no region.
    """
    config = task.config
    photograph = load_source(source, config.max_pixels)
    height, width = photograph.shape[:2]
    for view in views_of(height, width, config.max_side, config.tile_side):
        image = view_of(photograph, view.crop_xyxy, view.height, view.width)
        changed = (
            "" if image.shape[:2] == (height, width) else f" ({width}x{height}), cut or shrunk by max_side, tile_side"
        )
        require_min_size(image, MIN_SIDE, f"{source.path}{changed}")
        regions = regions_of(source, (height, width), view, developed(image), config.regions)
        if config.regions.boxes:
            rng = np.random.default_rng(seed_of(config.seed, source.image_id + view.suffix, "boxes"))
            regions = by_area([*regions, *drawn_boxes(view.height, view.width, config.regions, rng)])
        yield _image_record(source, view, task, regions), image


def _image_record(source: SourceImage, view: View, task: ShardTask, regions: Sequence[Any]) -> ImageRecord:
    return ImageRecord(
        image_id=source.image_id + view.suffix,
        scene_id=source.scene_id,
        source_kind=source.kind,
        source=source.source,
        sha256=source.sha256,
        crop_xyxy=view.crop_xyxy,
        height=view.height,
        width=view.width,
        split=task.splits[source.scene_id],
        regions=tuple(regions),
        file_bytes=source.path.read_bytes() if task.config.embed_images else None,
    )


def build_samples(record: ImageRecord, image: np.ndarray, config: BuildConfig) -> list[dict[str, Any]]:
    """Draw, render and label the samples of one image, (H, W, 3) uint8 or scene light: their rows."""
    windows = MaskWindows(decode_all(record.regions))  # (R, H, W)
    areas = [region.area for region in record.regions]
    judge = _labeler(config.labels).open(developed(image), windows)
    rows = []
    recipes = draw_recipes(record.image_id, areas, float(image.shape[0] * image.shape[1]), config)
    for k, (recipe, pair_id) in enumerate(recipes):
        measures = judge.measure(render(image, recipe, windows.masks))
        sample = Sample(
            sample_id=f"{record.image_id}#{k:04d}",
            image_id=record.image_id,
            recipe=recipe,
            labels=_labels(measures, recipe, windows),
            prompt_seed=seed_of(config.seed, record.image_id, k, "prompt"),
            pair_id=pair_id,
        )
        rows.append(sample_to_row(sample, measures.image_quality))
    return rows


@functools.lru_cache(maxsize=1)
def _labeler(config: LabelSource) -> Labeler:
    """One labeler per process: a network's weights are read once."""
    return make_labeler(config)


def draw_recipes(
    image_id: str, areas: Sequence[float], image_area: float, config: BuildConfig
) -> Iterator[tuple[Recipe, str | None]]:
    """The recipes of an image's samples, each with the id of its pair. Every draw has a seed of its own."""
    mix, count = config.mix, config.samples_per_image
    # A draw that says "pair" takes two samples: this chance of it puts the share `pairs` of all samples into pairs.
    chance = mix.pairs / (2.0 - mix.pairs)
    k = 0
    while k < count:
        first_type = mix.types[k % len(mix.types)] if mix.cycle_types else None
        rng = _generator(config.seed, image_id, k, "recipe")
        in_pair = chance > 0 and k + 1 < count and _generator(config.seed, image_id, k, "pair").random() < chance
        if in_pair:
            pair_id = f"{image_id}#{k:04d}+{k + 1:04d}"
            for recipe in draw_pair(mix, len(areas), areas, rng, image_area, first_type):
                yield recipe, pair_id
        else:
            yield draw_recipe(mix, len(areas), areas, rng, image_area, first_type), None
        k += 2 if in_pair else 1


def _generator(*parts: str | int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed_of(*parts)))


def _labels(measures: RegionMeasures, recipe: Recipe, windows: MaskWindows) -> tuple[RegionLabel, ...]:
    importances = [None if math.isnan(value) else value for value in measures.importance.tolist()]
    return tuple(
        RegionLabel(quality, importance, severities)
        for quality, importance, severities in zip(
            measures.quality.tolist(), importances, severities_of(recipe, windows), strict=True
        )
    )


def _recipe_number(row: Mapping[str, Any]) -> int:
    # `outside` counts only where it is true: published hashes of recipes without it stay what they are.
    recipe = [{key: value for key, value in step.items() if key != "outside" or value} for step in row["recipe"]]
    text = json.dumps([row["sample_id"], recipe], sort_keys=True)
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
