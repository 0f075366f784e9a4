"""Rows of the two tables <-> records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seagull_tune.config.data import SPLITS
from seagull_tune.data.schema.columns import SOURCE_KINDS
from seagull_tune.errors import DataError
from seagull_tune.records import DistortionStep, OpinionScore, PictureFile, Recipe, Region, RegionLabel, Sample


@dataclass(frozen=True)
class ImageRecord:
    """One row of the ``images`` table.

    Attributes:
        image_id: unique, stable name.
        scene_id: the source photograph's scene; all images of a scene are in one split.
        source_kind: ``file`` (a path below the data set's image root) or ``builtin`` (a built-in photograph).
        source: that path (forward slashes) or name.
        sha256: of the source file's content, in hex.
        crop_xyxy: the part of the photograph that is this image, in its full pixels (ends exclusive); None is all.
        height, width: of the image, after cropping and shrinking.
        split: one of ``config.data.SPLITS``.
        regions: of the image, (height, width) each.
        file_bytes: content of the source file where the data set embeds it, else None.
    """

    image_id: str
    scene_id: str
    source_kind: str
    source: str
    sha256: str
    crop_xyxy: tuple[int, int, int, int] | None
    height: int
    width: int
    split: str
    regions: tuple[Region, ...]
    file_bytes: bytes | None = None

    def __post_init__(self) -> None:
        if self.source_kind not in SOURCE_KINDS:
            raise DataError(f"source_kind is {self.source_kind!r}; allowed: {', '.join(SOURCE_KINDS)}.")
        if self.split not in SPLITS:
            raise DataError(f"split is {self.split!r}; allowed: {', '.join(SPLITS)}.")


def image_to_row(record: ImageRecord) -> dict[str, Any]:
    """The row of an image record."""
    return {
        "image_id": record.image_id,
        "scene_id": record.scene_id,
        "source_kind": record.source_kind,
        "source": record.source,
        "sha256": record.sha256,
        "crop_xyxy": None if record.crop_xyxy is None else list(record.crop_xyxy),
        "height": record.height,
        "width": record.width,
        "split": record.split,
        "regions": [
            {"name": r.name, "counts": r.counts, "area": r.area, "box_xyxy": list(r.box_xyxy)} for r in record.regions
        ],
        "file_bytes": record.file_bytes,
    }


def image_from_row(row: Mapping[str, Any]) -> ImageRecord:
    """The record of an ``images`` row.

    Raises:
        DataError, RegionError: a value that no record may have.
    """
    height, width = row["height"], row["width"]
    crop = row["crop_xyxy"]
    return ImageRecord(
        image_id=row["image_id"],
        scene_id=row["scene_id"],
        source_kind=row["source_kind"],
        source=row["source"],
        sha256=row["sha256"],
        crop_xyxy=None if crop is None else _box(crop),
        height=height,
        width=width,
        split=row["split"],
        regions=tuple(
            Region(height, width, r["counts"], r["area"], _box(r["box_xyxy"]), r["name"]) for r in row["regions"]
        ),
        file_bytes=row["file_bytes"],
    )


def sample_to_row(sample: Sample, image_quality: float | None) -> dict[str, Any]:
    """The row of a sample.

    Args:
        sample: the sample; its step parameters are stored as float64, its labels as float32.
        image_quality: quality of the whole picture, [0, 1]: pooled similarity where it was rendered, what the opinion
            score says where people were asked; None where nobody knows.
    """
    return {
        "sample_id": sample.sample_id,
        "image_id": sample.image_id,
        "recipe": None if sample.recipe is None else recipe_to_rows(sample.recipe),
        "picture": None if sample.picture is None else asdict(sample.picture),
        "image_quality": image_quality,
        "mos": None if sample.opinion is None else asdict(sample.opinion),
        "labels": [
            {
                "quality": label.quality,
                "importance": label.importance,
                "severities": None if label.severities is None else list(label.severities),
                "quality_deviation": label.quality_deviation,
            }
            for label in sample.labels
        ],
        "prompt_seed": sample.prompt_seed,
        "pair_id": sample.pair_id,
    }


def recipe_to_rows(recipe: Recipe) -> list[dict[str, Any]]:
    """The steps of a recipe as plain values; parameters are sorted by name."""
    return [
        {
            "type": step.type,
            "variant": step.variant,
            "severity": step.severity,
            "params": [{"name": name, "value": float(step.params[name])} for name in sorted(step.params)],
            "seed": step.seed,
            "regions": None if step.regions is None else list(step.regions),
            "feather_px": step.feather_px,
            "outside": step.outside,
        }
        for step in recipe.steps
    ]


def recipe_from_rows(rows: Sequence[Mapping[str, Any]]) -> Recipe:
    """Inverse of :func:`recipe_to_rows`.

    Raises:
        DataError: an unknown type or severity.
    """
    return Recipe(
        tuple(
            DistortionStep(
                type=row["type"],
                variant=row["variant"],
                severity=row["severity"],
                params={entry["name"]: entry["value"] for entry in row["params"]},
                seed=row["seed"],
                regions=None if row["regions"] is None else tuple(row["regions"]),
                feather_px=row["feather_px"],
                outside=row["outside"],
            )
            for row in rows
        )
    )


def sample_from_row(row: Mapping[str, Any]) -> Sample:
    """The record of a ``samples`` row.

    Raises:
        DataError: a value that no record may have.
    """
    labels = tuple(
        RegionLabel(
            quality=e["quality"],
            importance=e["importance"],
            severities=None if e["severities"] is None else tuple(e["severities"]),
            quality_deviation=e["quality_deviation"],
        )
        for e in row["labels"]
    )
    recipe, picture, mos = row["recipe"], row["picture"], row["mos"]
    return Sample(
        sample_id=row["sample_id"],
        image_id=row["image_id"],
        recipe=None if recipe is None else recipe_from_rows(recipe),
        labels=labels,
        prompt_seed=row["prompt_seed"],
        picture=None if picture is None else PictureFile(picture["source"], picture["sha256"]),
        opinion=None if mos is None else OpinionScore(mos["value"], mos["low"], mos["high"], mos["higher_is_better"]),
        pair_id=row["pair_id"],
    )


def _box(values: Sequence[int]) -> tuple[int, int, int, int]:
    if len(values) != 4:
        raise DataError(f"A box is {list(values)}; allowed: four integers x0, y0, x1, y1.")
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1
