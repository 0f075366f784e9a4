"""Checks a whole data set and says which row is wrong and why; nothing is repaired."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from data_builders.perceptual_hash import dct_hash
from data_builders.plausibility import Labels, near_duplicates, outliers, rare_classes
from data_builders.progress import progress_bar
from seagull_tune.config.tools import LintConfig, Plausibility
from seagull_tune.data.schema import (
    MANIFEST,
    ImageRecord,
    RowTable,
    find_leaks,
    image_from_row,
    load_image,
    load_picture,
    missing_values,
    open_tables,
    read_manifest,
    recipe_from_rows,
    sample_from_row,
)
from seagull_tune.distortions.registry import get_variant
from seagull_tune.distortions.scene import developed
from seagull_tune.errors import DataError, RegionError, SeagullError
from seagull_tune.instructions.lint import lint_prompts
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import DistortionStep, Recipe, RegionLabel
from seagull_tune.regions.masks import box_of_mask, decode

_SHOWN = 20
_SAME_QUALITY = 1e-6
"""How far a stored float32 may be from the MOS it was made from."""


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
        warnings: what is valid but not plausible.
    """

    folder: Path
    n_images: int
    n_samples: int
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def describe(self, limit: int = _SHOWN) -> str:
        """The report as a person reads it, with the first ``limit`` problems and as many warnings."""
        rows = f"{self.n_images} images and {self.n_samples} samples"
        verdict = "all valid." if self.ok else f"{len(self.problems)} problems:"
        lines = [f"{self.folder}: {rows}, {verdict}", *_listed(self.problems, limit)]
        if self.warnings:
            lines += [f"{len(self.warnings)} warnings (valid, but not plausible):", *_listed(self.warnings, limit)]
        return "\n".join(lines)


def _listed(problems: tuple[Problem, ...], limit: int) -> list[str]:
    lines = [f"  {problem.where}: {problem.reason}" for problem in problems[:limit]]
    return lines + [f"  ... and {len(problems) - limit} more"] * (len(problems) > limit)


def validate_dataset(
    folder: str | Path,
    image_root: str | Path | None = None,
    check_images: bool = True,
    show_progress: bool = True,
    prompts: Path | None = None,
    lint: LintConfig | None = None,
    limits: Plausibility | None = None,
) -> ValidationReport:
    """Check every row of a data set.

    Values: none is missing. Images: ids differ, regions decode to the stored area and box, the photograph is there,
    unchanged and of the stored size. Samples: ids differ, the image exists, one label per region, labels in range and
    consistent with the recipe, variants and parameters known, region indices exist, picture files as recorded. Splits:
    no scene and no photograph in two. Counts: as recorded. Prompts: nothing for the linter to find. Warnings: see
    :mod:`data_builders.plausibility`.

    Args:
        folder: the data set.
        image_root: where the photographs are now, if they were moved.
        check_images: whether photographs are read, hashed and decoded.
        show_progress: whether progress is shown on standard error.
        prompts: folder of the prompts that its messages are derived with; None takes the shipped ones.
        lint: what is wanted of them; None takes the defaults.
        limits: from where on it warns; None takes the defaults. Photographs are compared only if they are read.

    Raises:
        DataError: it cannot be opened at all: no data set, unfinished, another schema version, a damaged file; or there
            is no such prompt folder.
    """
    folder = Path(folder)
    images, samples = open_tables(folder)
    manifest = read_manifest(folder)
    root = Path(image_root or manifest.get("image_root") or folder)
    problems: list[Problem] = []
    hashes: dict[str, int] | None = {} if check_images else None
    total = len(images) + len(samples)
    with progress_bar("Checking", "rows", show_progress) as tick:
        judged = set(samples.table.filter(pc.is_valid(samples.table["mos"])).column("image_id").to_pylist())
        records = _check_images(images, judged, root, hashes, problems, lambda done: tick(done, total))
        pictures = root if check_images else None
        _check_samples(samples, records, pictures, problems, lambda done: tick(len(images) + done, total))
    leaks = find_leaks((r.scene_id, r.sha256, r.split) for r in records.values())
    problems += [Problem("images", leak) for leak in leaks]
    for name, found in (("n_images", len(images)), ("n_samples", len(samples))):
        if manifest.get(name) != found:
            problems.append(Problem(MANIFEST, f"{name} is {manifest.get(name)!r}, but the files hold {found} rows."))
    checked = lint_prompts(prompts, lint)
    problems += [Problem(f"prompts in {checked.folder}", finding) for finding in checked.findings]
    warnings = _warnings(samples, records, hashes or {}, limits or Plausibility())
    return ValidationReport(folder, len(images), len(samples), tuple(problems), tuple(warnings))


def _warnings(
    samples: RowTable, records: Mapping[str, ImageRecord], hashes: Mapping[str, int], limits: Plausibility
) -> Iterator[Problem]:
    labels = Labels.of(samples)
    yield from (Problem("samples", reason) for reason in rare_classes(labels, limits))
    yield from (Problem("images", reason) for reason in near_duplicates(records, hashes, limits))
    yield from (Problem(samples.where(row), reason) for row, reason in outliers(labels))


def _missing(where: str, names: list[str]) -> Problem:
    return Problem(where, f"{', '.join(names)}: a value is missing (null), and one is needed.")


def _rows(table: RowTable) -> Iterator[tuple[int, dict[str, Any]]]:
    """All rows with their numbers; a block at a time, so that memory stays small."""
    number = 0
    for batch in table.table.to_batches(max_chunksize=512):
        for row in batch.to_pylist():
            yield number, row
            number += 1


def _check_images(
    table: RowTable,
    judged: Container[str],
    root: Path,
    hashes: dict[str, int] | None,
    problems: list[Problem],
    tick: Callable[[int], None],
) -> dict[str, ImageRecord]:
    """Returns the rows that could be read, by image id, without embedded files.

    Args:
        judged: the images of samples with a MOS.
        hashes: gets the perceptual hash of every photograph that can be read; None reads none.
    """
    records: dict[str, ImageRecord] = {}
    missing = missing_values(table.table)
    for number, row in _rows(table):
        where = table.where(number)
        if number in missing:
            problems.append(_missing(where, missing[number]))
            continue
        try:
            record = image_from_row(row)
        except (SeagullError, TypeError, KeyError) as error:
            problems.append(Problem(where, f"cannot be read: {error}"))
            continue
        if record.image_id in records:
            problems.append(Problem(where, f"image_id {record.image_id!r} occurs twice."))
        records[record.image_id] = replace(record, file_bytes=None)  # a whole data set of them would fill the memory
        problems += [Problem(where, reason) for reason in _image_problems(record, judged)]
        if hashes is not None:
            try:
                hashes[record.image_id] = dct_hash(developed(load_image(record, root, where)))
            except SeagullError as error:
                problems.append(Problem(where, str(error)))
        tick(number + 1)
    return records


def _image_problems(record: ImageRecord, judged: Container[str]) -> Iterator[str]:
    if not record.regions and record.image_id not in judged:
        yield "the image has no region, and no sample of it a MOS: nothing is known of it."
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
    table: RowTable,
    records: Mapping[str, ImageRecord],
    root: Path | None,
    problems: list[Problem],
    tick: Callable[[int], None],
) -> None:
    seen: set[str] = set()
    pairs: dict[str, list[tuple[str, str]]] = {}
    missing = missing_values(table.table)
    for number, row in _rows(table):
        where = table.where(number)
        if number in missing:
            problems.append(_missing(where, missing[number]))
            continue
        if row["pair_id"] is not None:
            pairs.setdefault(row["pair_id"], []).append((where, row["image_id"]))
        if row["sample_id"] in seen:
            problems.append(Problem(where, f"sample_id {row['sample_id']!r} occurs twice."))
        seen.add(row["sample_id"])
        problems += [Problem(where, reason) for reason in _sample_problems(row, records, root, where)]
        tick(number + 1)
    for pair_id, members in pairs.items():
        if len(members) != 2 or members[0][1] != members[1][1]:
            of = " and ".join(sorted({image_id for _, image_id in members}))
            reason = f"pair_id {pair_id!r} has {len(members)} samples, of {of}; a pair is two samples of one image."
            problems.append(Problem(members[0][0], reason))


def _sample_problems(
    row: Mapping[str, Any], records: Mapping[str, ImageRecord], root: Path | None, where: str
) -> Iterator[str]:
    """What is wrong with a row; picture files are read below ``root``, unless it is None."""
    record = records.get(row["image_id"])
    if record is None:
        yield f"image_id {row['image_id']!r} is in no row of the images table."
    try:
        recipe = None if row["recipe"] is None else recipe_from_rows(row["recipe"])
    except (DataError, TypeError) as error:
        yield f"recipe: {error}"
        return
    n_regions = len(record.regions) if record is not None else len(row["labels"])
    for index, step in enumerate(recipe.steps if recipe is not None else ()):
        for reason in _step_problems(step, n_regions):
            yield f"recipe step {index}: {reason}"
    quality = row["image_quality"]
    if quality is None and recipe is not None:
        yield "image_quality is missing, and the sample was rendered; allowed: [0, 1]."
    if quality is not None and not 0.0 <= quality <= 1.0:
        yield f"image_quality is {quality!r}; allowed: [0, 1]."
    if len(row["labels"]) != n_regions:
        yield f"{len(row['labels'])} labels, but image {row['image_id']!r} has {n_regions} regions."
    try:
        sample = sample_from_row(row)
    except (DataError, TypeError) as error:
        yield f"labels: {error}"
        return
    if sample.opinion is not None and (quality is None or abs(quality - sample.opinion.quality) > _SAME_QUALITY):
        yield f"image_quality is {quality!r}, but the MOS stands for {sample.opinion.quality:.6g}."
    if sample.picture is not None and record is not None and root is not None:
        try:
            load_picture(sample.picture, record, root, where)
        except DataError as error:
            yield str(error)
    if recipe is not None:  # of other pictures nobody knows what was done
        for index, label in enumerate(sample.labels):
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
    if label.severities is None:
        yield "severities are missing, and the recipe tells them."
        return
    for name, severity in zip(DISTORTION_TYPES, label.severities, strict=True):
        if severity and severity not in {step.severity for step in recipe.steps if step.type == name}:
            yield f"severity {severity} of {name}, but no step of the recipe has it."
