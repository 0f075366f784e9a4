"""Checks a whole data set and says which row is wrong and why; nothing is repaired."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_builders.progress import progress_bar
from data_builders.splits import find_leaks
from seagull_tune.data.schema import (
    MANIFEST,
    ImageRecord,
    RowTable,
    image_from_row,
    load_image,
    open_tables,
    read_manifest,
    recipe_from_rows,
    sample_from_row,
)
from seagull_tune.distortions.registry import get_variant
from seagull_tune.errors import DataError, RegionError, SeagullError
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import DistortionStep, Recipe, RegionLabel
from seagull_tune.regions.masks import box_of_mask, decode

_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: file and row (from 0), or the file alone.
        reason: what is wrong with it, in a sentence.
    """

    where: str
    reason: str


@dataclass(frozen=True)
class ValidationReport:
    """What a check found.

    Attributes:
        folder: the data set.
        n_images, n_samples: rows checked.
        problems: what is wrong, in the order of the rows.
    """

    folder: Path
    n_images: int
    n_samples: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def describe(self, limit: int = _SHOWN) -> str:
        """The report as a person reads it, with the first ``limit`` problems."""
        rows = f"{self.n_images} images and {self.n_samples} samples"
        if self.ok:
            return f"{self.folder}: {rows}, all valid."
        lines = [f"{self.folder}: {rows}, {len(self.problems)} problems:"]
        lines += [f"  {problem.where}: {problem.reason}" for problem in self.problems[:limit]]
        if len(self.problems) > limit:
            lines.append(f"  ... and {len(self.problems) - limit} more")
        return "\n".join(lines)


def validate_dataset(
    folder: str | Path,
    image_root: str | Path | None = None,
    check_images: bool = True,
    show_progress: bool = True,
) -> ValidationReport:
    """Check every row of a data set.

    Images: ids differ, regions decode to the stored area and box, the photograph is there, unchanged and of the stored
    size. Samples: ids differ, the image exists, one label per region, labels in range and consistent with the recipe,
    variants and parameters known, region indices exist. Splits: no scene and no photograph in two. Counts: as recorded.

    Args:
        folder: the data set.
        image_root: where the photographs are now, if they were moved.
        check_images: whether photographs are read, hashed and decoded.
        show_progress: whether progress is shown on standard error.

    Raises:
        DataError: it cannot be opened at all: no data set, unfinished, another schema version, a damaged file.
    """
    folder = Path(folder)
    images, samples = open_tables(folder)
    manifest = read_manifest(folder)
    root = Path(image_root or manifest.get("image_root") or folder)
    problems: list[Problem] = []
    total = len(images) + len(samples)
    with progress_bar("Checking", "rows", show_progress) as tick:
        records = _check_images(images, root if check_images else None, problems, lambda done: tick(done, total))
        _check_samples(samples, records, problems, lambda done: tick(len(images) + done, total))
    leaks = find_leaks((r.scene_id, r.sha256, r.split) for r in records.values())
    problems += [Problem("images", leak) for leak in leaks]
    for name, found in (("n_images", len(images)), ("n_samples", len(samples))):
        if manifest.get(name) != found:
            problems.append(Problem(MANIFEST, f"{name} is {manifest.get(name)!r}, but the files hold {found} rows."))
    return ValidationReport(folder, len(images), len(samples), tuple(problems))


def _rows(table: RowTable) -> Iterator[tuple[int, dict[str, Any]]]:
    """All rows with their numbers; a block at a time, so that memory stays small."""
    number = 0
    for batch in table.table.to_batches(max_chunksize=512):
        for row in batch.to_pylist():
            yield number, row
            number += 1


def _check_images(
    table: RowTable, root: Path | None, problems: list[Problem], tick: Callable[[int], None]
) -> dict[str, ImageRecord]:
    """Returns the rows that could be read, by image id."""
    records: dict[str, ImageRecord] = {}
    for number, row in _rows(table):
        where = table.where(number)
        try:
            record = image_from_row(row)
        except (SeagullError, TypeError, KeyError) as error:
            problems.append(Problem(where, f"cannot be read: {error}"))
            continue
        if record.image_id in records:
            problems.append(Problem(where, f"image_id {record.image_id!r} occurs twice."))
        records[record.image_id] = record
        problems += [Problem(where, reason) for reason in _image_problems(record)]
        if root is not None:
            try:
                load_image(record, root, where)
            except SeagullError as error:
                problems.append(Problem(where, str(error)))
        tick(number + 1)
    return records


def _image_problems(record: ImageRecord) -> Iterator[str]:
    if not record.regions:
        yield "the image has no region."
    for index, region in enumerate(record.regions):
        try:
            mask = decode(region)
        except RegionError as error:
            yield f"region {index}: {error}"
            continue
        if int(mask.sum()) != region.area:
            yield f"region {index}: its area is stored as {region.area}, its mask has {int(mask.sum())} pixels."
        if box_of_mask(mask) != region.box_xyxy:
            yield f"region {index}: its box is stored as {region.box_xyxy}, that of its mask is {box_of_mask(mask)}."


def _check_samples(
    table: RowTable, records: Mapping[str, ImageRecord], problems: list[Problem], tick: Callable[[int], None]
) -> None:
    seen: set[str] = set()
    pairs: dict[str, list[tuple[str, str]]] = {}
    for number, row in _rows(table):
        where = table.where(number)
        if row["pair_id"] is not None:
            pairs.setdefault(row["pair_id"], []).append((where, row["image_id"]))
        if row["sample_id"] in seen:
            problems.append(Problem(where, f"sample_id {row['sample_id']!r} occurs twice."))
        seen.add(row["sample_id"])
        problems += [Problem(where, reason) for reason in _sample_problems(row, records)]
        tick(number + 1)
    for pair_id, members in pairs.items():
        if len(members) != 2 or members[0][1] != members[1][1]:
            of = " and ".join(sorted({image_id for _, image_id in members}))
            reason = f"pair_id {pair_id!r} has {len(members)} samples, of {of}; a pair is two samples of one image."
            problems.append(Problem(members[0][0], reason))


def _sample_problems(row: Mapping[str, Any], records: Mapping[str, ImageRecord]) -> Iterator[str]:
    record = records.get(row["image_id"])
    if record is None:
        yield f"image_id {row['image_id']!r} is in no row of the images table."
    try:
        recipe = recipe_from_rows(row["recipe"])
    except (DataError, TypeError) as error:
        yield f"recipe: {error}"
        return
    n_regions = len(record.regions) if record is not None else len(row["labels"])
    for index, step in enumerate(recipe.steps):
        for reason in _step_problems(step, n_regions):
            yield f"recipe step {index}: {reason}"
    quality = row["image_quality"]
    if quality is None or not 0.0 <= quality <= 1.0:
        yield f"image_quality is {quality!r}; allowed: [0, 1]."
    if len(row["labels"]) != n_regions:
        yield f"{len(row['labels'])} labels, but image {row['image_id']!r} has {n_regions} regions."
    try:
        labels = sample_from_row(row).labels
    except (DataError, TypeError) as error:
        yield f"labels: {error}"
        return
    for index, label in enumerate(labels):
        for reason in _label_problems(label, recipe):
            yield f"label {index}: {reason}"


def _step_problems(step: DistortionStep, n_regions: int) -> Iterator[str]:
    try:
        get_variant(step.type, step.variant).check_params(step.params)
    except DataError as error:
        yield str(error)
    for name, value in step.params.items():
        if not math.isfinite(value):
            yield f"parameter {name!r} is {value!r}; it must be a finite number."
    outside = [i for i in step.regions or () if not 0 <= i < n_regions]
    if outside:
        yield f"names region {outside[0]}, but the image has {n_regions} (numbered from 0)."
    if step.regions is not None and not step.regions:
        yield "names no region; null stands for the whole image."


def _label_problems(label: RegionLabel, recipe: Recipe) -> Iterator[str]:
    if recipe.pristine and (label.quality != 1.0 or label.importance is not None):
        yield f"the recipe is pristine, but quality is {label.quality:g} and importance {label.importance!r}."
    for name, severity in zip(DISTORTION_TYPES, label.severities, strict=True):
        if severity and severity not in {step.severity for step in recipe.steps if step.type == name}:
            yield f"severity {severity} of {name}, but no step of the recipe has it."
