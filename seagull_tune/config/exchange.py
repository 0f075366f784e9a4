"""Configuration of `export` and `import`: data sets out of and into our two tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from seagull_tune.config.base import StrictModel
from seagull_tune.config.data import SplitName, SplitRule
from seagull_tune.config.instructions import ConversationSettings

ExportFormat = Literal["seagull", "llava", "coco"]


class ExportConfig(StrictModel):
    """How a data set is exported.

    Attributes:
        format: ``seagull`` (the layout of SEAGULL-100w), ``llava`` (conversations) or ``coco`` (instances).
        split: what is exported; None takes all.
        image_root: where the photographs are now, if they were moved.
        pictures: whether the pictures are written too, as PNG files; they are what takes the time and the disk.
        workers: processes that write pictures; does not change the result.
        max_pixels: largest photograph that is decoded.
        passes: conversations per sample (``llava``); pass 0 is what the first epoch of a training sees.
        conversation: how conversations are drawn (``llava``); a training's own settings give its own conversations.
        prompts: folder of prompts (``llava``); None takes the shipped ones.
        pairs: whether conversations about both pictures of every pair are written too (``llava``).
    """

    format: ExportFormat
    split: SplitName | None = None
    image_root: Path | None = None
    pictures: bool = True
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000
    passes: Annotated[int, Field(ge=1, le=1000)] = 1
    conversation: ConversationSettings = ConversationSettings()
    prompts: Path | None = None
    pairs: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pairs and self.format != "llava":
            raise ValueError(f"pairs are conversations, and {self.format!r} has none; export them as 'llava'")
        if self.format == "seagull" and not self.pictures:
            raise ValueError("the layout 'seagull' is one of pictures; leave pictures true, or use 'coco' or 'llava'")
        return self


ImportFormat = Literal["seagull", "coco", "mos", "ratings", "pandabench", "qground"]

Depth = Annotated[int, Field(ge=1, le=8)]


class Scale(StrictModel):
    """What a score means: its declared range and direction. There is no default, because no guess is safe.

    Attributes:
        low, high: the range.
        higher_is_better: False for degradation scores (DMOS).
    """

    low: float
    high: float
    higher_is_better: bool

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low:g} and {self.high:g}")
        return self


class MosTable(StrictModel):
    """A CSV file with a mean opinion score per picture.

    Attributes:
        scale: range and direction of the scores; required.
        image, score: names of the columns; a file name below the folder of pictures, and a number.
        scene: column of what may not be divided between splits (a prompt, a source photograph); None: the picture.
        split: column that says train, validation or test; None divides by ``split`` of the import.
        delimiter: between the columns.
    """

    scale: Scale
    image: str = "image"
    score: str = "mos"
    scene: str | None = None
    split: str | None = None
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","


class RatingRule(StrictModel):
    """When a rater is left out, and when a region has enough ratings.

    Attributes:
        min_srcc: raters whose SRCC with the mean of all others is below it are left out, the worst first, one at a
            time, as long as three or more are left.
        min_common: raters who share fewer regions with others than this cannot be judged: they are kept, and named.
        bt500: whether raters are screened by outliers too (ITU-R BT.500). That test rejects about one
            honest rater in twenty where twenty or more rated a region, and nobody where fewer than six did.
        min_raters: regions with fewer ratings than this, after screening, are left out.
    """

    min_srcc: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.25
    min_common: Annotated[int, Field(ge=3)] = 5
    bt500: bool = True
    min_raters: Annotated[int, Field(ge=2)] = 2


class RatingTable(StrictModel):
    """A file with one rating per line: who said what of which region. CSV, or JSON lines (``.jsonl``, ``.ndjson``).

    Attributes:
        scale: range and direction of the scores; required.
        image, region, rater, score: names of the columns or keys: a file name below the folder of pictures; the
            region's name, or its number from 0, in the image's file of regions; anybody's name; a number.
        delimiter: between the columns of a CSV file.
        rule: who and what is left out.
    """

    scale: Scale
    image: str = "image"
    region: str = "region"
    rater: str = "rater"
    score: str = "score"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    rule: RatingRule = RatingRule()


class RoiKeys(StrictModel):
    """Where the regions are in a JSON file of SEAGULL-100w. Paths: ``a.b``, ``*`` for every entry, empty for itself.

    Attributes:
        file: below the folder.
        depth: of the values that belong to one image: 1 is an entry of the outermost object or array.
        image: the image's id: ``@0`` is the outermost key, ``@1`` the next; anything else is a path; joined by ``/``.
        rles: path of the regions' RLE objects (``size``, ``counts``).
    """

    file: str = "Labels/SEAGULL-100w_mask-based-rois.json"
    depth: Depth = 1
    image: str = "@0"
    rles: str = "*"


class ScoreKeys(StrictModel):
    """Where the scores are in a JSON file of SEAGULL-100w. Paths as in :class:`RoiKeys`.

    Attributes:
        file: below the folder.
        depth: of the values that belong to one distorted picture.
        picture: ``<Type>/<Type>_<k>/<id>`` or ``<Type>_<k>/<id>``, put together like ``RoiKeys.image``.
        quality: path of the qualities, one per region.
        importance: path of the importances, one per region; None: there are none.
        distortions: path of {type: severity} per region; None: the folder's type, its severity estimated from the
            quality (the severity whose target quality in configs/data/severity.yaml is nearest).
        scale: range and direction of the qualities.
    """

    file: str = "Labels/SEAGULL-100w_scores.json"
    depth: Depth = 1
    picture: str = "@0"
    quality: str = "quality"
    importance: str | None = "importance"
    distortions: str | None = "distortions"
    scale: Scale = Scale(low=0.0, high=1.0, higher_is_better=True)


class SeagullKeys(StrictModel):
    """Key layout of SEAGULL-100w's JSON files; the defaults are what our own export writes."""

    rois: RoiKeys = RoiKeys()
    scores: ScoreKeys = ScoreKeys()


class PandaKeys(StrictModel):
    """How PandaBench's labels become ours.

    Attributes:
        severities: our severity 0..5 for its clean, minor, moderate and severe.
        splits: its splits, in the order train, validation, test.
    """

    severities: tuple[int, int, int, int] = (0, 1, 3, 5)
    splits: tuple[str, str, str] = ("train", "val", "test")


class QGroundKeys(StrictModel):
    """Where QGround-100K's annotations are. Its card documents ``id``, ``image`` and ``ann_list`` only: name the rest.

    Attributes:
        file: the annotation file, below the folder.
        id: path of an entry's id; one picture may have several entries, one per annotator.
        annotations: path of an entry's annotations.
        image: path of an entry's picture, below ``images/``.
        mask: path, inside an annotation, of its mask: a file below ``masks/``, or an RLE object. Required.
        type: path, inside an annotation, of its distortion type. Required.
        quality: path, inside an annotation, of its quality: a level word (bad .. excellent), or a number. Required.
        types: its names of distortion types -> ours.
        scale: range and direction of numbers.
    """

    file: str
    id: str = "id"
    annotations: str = "ann_list"
    image: str = "image"
    mask: str | None = None
    type: str | None = None
    quality: str | None = None
    types: dict[str, str] = Field(default_factory=dict)
    scale: Scale = Scale(low=0.0, high=1.0, higher_is_better=True)


class ImportConfig(StrictModel):
    """How a data set of others becomes our two tables.

    Attributes:
        format: ``seagull`` (SEAGULL-100w), ``mos`` (opinion scores of whole pictures), ``ratings`` (of regions, by
            people), ``pandabench``, ``qground``; ``coco`` makes a folder of regions for `build`.
        source: the data set's folder, or (``mos``, ``ratings``, ``coco``) its file.
        images: folder of the pictures (``mos``, ``ratings``; default: beside the file) or of the panoptic PNG files
            (``coco``).
        regions: folder of the regions that were rated (``ratings``), as in `build`; needed there.
        split: how scenes are divided, where the source does not say.
        seed: of the messages.
        licence: of the data set, for the data card.
        max_pixels: largest picture that is decoded.
        shard_rows: rows per file.
        mos, ratings, seagull, pandabench, qground: what only that format needs.
    """

    format: ImportFormat
    source: Path
    images: Path | None = None
    regions: Path | None = None
    split: SplitRule = SplitRule()
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    licence: str = "unknown"
    max_pixels: Annotated[int, Field(ge=1)] = 178_000_000
    shard_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    mos: MosTable | None = None
    ratings: RatingTable | None = None
    seagull: SeagullKeys = SeagullKeys()
    pandabench: PandaKeys = PandaKeys()
    qground: QGroundKeys | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.format == "mos" and self.mos is None:
            raise ValueError(
                "a MOS means nothing without its range and direction: give --low, --high and --higher-is-better or "
                "--lower-is-better (mos.scale)"
            )
        if self.format == "ratings" and self.ratings is None:
            raise ValueError(
                "a rating means nothing without its range and direction: give --low, --high and --higher-is-better or "
                "--lower-is-better (ratings.scale)"
            )
        if (self.format == "ratings") is not (self.regions is not None):
            raise ValueError("format 'ratings', and no other, needs the folder of the rated regions: --regions DIR")
        if self.format == "qground" and self.qground is None:
            raise ValueError("name QGround's annotation file: --set qground.file=NAME.json")
        return self
