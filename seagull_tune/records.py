"""The neutral records that travel between the stages: frozen, validated where they enter, free of heavy imports.

    photograph -> Region -> Recipe (DistortionStep) -> RegionLabel -> Sample -> Message -> RegionAssessment

Legend: H, W image height and width in pixels; boxes are ``box_xyxy`` with exclusive ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from seagull_tune.errors import DataError, RegionError
from seagull_tune.files import is_unicode
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES, level_deviation


@dataclass(frozen=True)
class Region:
    """A region of interest of one image, stored as compressed COCO run-length encoding.

    Attributes:
        height, width: size of the image that the mask belongs to, in pixels.
        counts: COCO compressed RLE counts (column-major runs, ASCII).
        area: pixels inside the mask, > 0.
        box_xyxy: tight bounding box (x0, y0, x1, y1), ends exclusive.
        name: free name ("sky", "face"), may be empty.

    Decode with :func:`seagull_tune.regions.masks.decode`; build with :func:`seagull_tune.regions.masks.encode`.
    """

    height: int
    width: int
    counts: str
    area: int
    box_xyxy: tuple[int, int, int, int]
    name: str = ""

    def __post_init__(self) -> None:
        if self.area <= 0:
            raise RegionError(f"Region {self.name!r} is empty: a region needs at least one pixel.")
        if not is_unicode(self.name):
            raise RegionError(f"The name {self.name!a} of a region is no Unicode text; it cannot be stored.")


@dataclass(frozen=True)
class DistortionStep:
    """One distortion of a recipe.

    Attributes:
        type: one of ``levels.DISTORTION_TYPES``.
        variant: a variant of that type, for example ``motion``.
        severity: 1..5 (an index into ``levels.SEVERITY_NAMES``).
        params: physical parameters of the variant (documented in its family's file).
        seed: seed of the step's own random generator (noise, kernel shape).
        regions: indices of the image's regions that are distorted; None is the whole image.
        outside: whether the step acts on all of the image *but* those regions instead (its background).
        feather_px: width of the soft border of the distorted area, in pixels (0 for the whole image).
    """

    type: str
    variant: str
    severity: int
    params: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    regions: tuple[int, ...] | None = None
    feather_px: float = 0.0
    outside: bool = False

    def __post_init__(self) -> None:
        if self.type not in DISTORTION_TYPES:
            raise DataError(f"Unknown distortion type {self.type!r}; allowed: {', '.join(DISTORTION_TYPES)}.")
        if not 1 <= self.severity < len(SEVERITY_NAMES):
            raise DataError(f"Severity of {self.type!r} is {self.severity!r}; allowed: 1..{len(SEVERITY_NAMES) - 1}.")
        if self.outside and self.regions is None:
            raise DataError(
                f"A step of {self.type!r} acts outside of no region: name the regions that stay as they are."
            )


@dataclass(frozen=True)
class Recipe:
    """How a distorted image is rendered from its reference: the steps, in order. No step means pristine."""

    steps: tuple[DistortionStep, ...] = ()

    @property
    def pristine(self) -> bool:
        """Whether the recipe leaves the reference as it is."""
        return not self.steps


@dataclass(frozen=True)
class RegionLabel:
    """What is true of one region of a rendered sample.

    Attributes:
        quality: [0, 1], higher is better.
        importance: [0, 1]: the share of the picture's loss that would go if this region alone were restored;
            None where the picture is as good as pristine (importance is not scored there).
        severities: one severity 0..5 per type, in the order of ``levels.DISTORTION_TYPES``; None where nobody knows
            (people rated the quality, and were not asked what is wrong).
        quality_deviation: standard deviation of the raters' scores, on the scale of ``quality``; None where the quality
            was measured, or nobody knows how far people agreed.
    """

    quality: float
    importance: float | None
    severities: tuple[int, ...] | None
    quality_deviation: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.quality <= 1.0:
            raise DataError(f"Region quality is {self.quality!r}; allowed: [0, 1].")
        if self.importance is not None and not 0.0 <= self.importance <= 1.0:
            raise DataError(f"Region importance is {self.importance!r}; allowed: [0, 1] or none.")
        if self.quality_deviation is not None and not 0.0 <= self.quality_deviation <= 1.0:
            raise DataError(f"The deviation of region quality is {self.quality_deviation!r}; allowed: [0, 1] or none.")
        if self.severities is None:
            return
        if len(self.severities) != len(DISTORTION_TYPES):
            raise DataError(
                f"{len(self.severities)} severities; a label needs one for each of {len(DISTORTION_TYPES)} types."
            )
        if not all(0 <= s < len(SEVERITY_NAMES) for s in self.severities):
            raise DataError(f"Severities are {self.severities!r}; each must be 0..{len(SEVERITY_NAMES) - 1}.")


@dataclass(frozen=True)
class PictureFile:
    """The pixels of a sample that no recipe renders: a file of the same size as its image.

    Attributes:
        source: path below the data set's image root, forward slashes.
        sha256: of the file's content, in hex.
    """

    source: str
    sha256: str


@dataclass(frozen=True)
class OpinionScore:
    """A mean opinion score (MOS) of a whole picture, as its owners state it, with the range that they declare.

    Attributes:
        value: the score, within the range.
        low, high: the declared range.
        higher_is_better: the declared direction; False for a degradation score (DMOS).
    """

    value: float
    low: float
    high: float
    higher_is_better: bool

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise DataError(f"The range of a MOS is {self.low!r}..{self.high!r}; it needs two numbers, low below high.")
        if not self.low <= self.value <= self.high:
            raise DataError(f"A MOS is {self.value!r}; allowed: its declared range {self.low:g}..{self.high:g}.")

    @property
    def quality(self) -> float:
        """The score on our scale: [0, 1], higher is better."""
        share = (self.value - self.low) / (self.high - self.low)
        return share if self.higher_is_better else 1.0 - share


@dataclass(frozen=True)
class Sample:
    """One row of the ``samples`` table: what is seen of one source image, with the labels of that image's regions.

    Attributes:
        sample_id: unique, stable name.
        image_id: the source image in the ``images`` table.
        recipe: how to render it; None where nobody knows: then it is ``picture``, or the image itself (authentic).
        labels: one per region of the source image, in the order of its regions.
        prompt_seed: seed from which the messages are derived when the row is read.
        picture: the file that holds its pixels; None where they are rendered, or are the image itself.
        opinion: what people said of the whole picture, where they were asked.
        pair_id: shared by two samples that are versions of one image and differ in one step; None for the others.
    """

    sample_id: str
    image_id: str
    recipe: Recipe | None
    labels: tuple[RegionLabel, ...]
    prompt_seed: int
    picture: PictureFile | None = None
    opinion: OpinionScore | None = None
    pair_id: str | None = None

    def __post_init__(self) -> None:
        if self.recipe is not None and self.picture is not None:
            raise DataError(f"Sample {self.sample_id!r} has a recipe and a picture; its pixels come from one of them.")


@dataclass(frozen=True)
class Slot:
    """A word of an answer that carries a value: the place where a score is trained and read.

    Attributes:
        kind: vocabulary of the word: ``quality``, ``importance``, ``types``, ``severity`` or ``judgement``.
        words: the candidate words, in order.
        target: probabilities over ``words`` (soft label); the text part holds the word nearest to the value. Of
            ``types``, several words may be true at once: they share the mass.
        key: what the value is about, for example the distortion type of a severity word ("" otherwise).
        region: index into the conversation's regions of the one that the value is of; None where it is of none alone.
    """

    kind: str
    words: tuple[str, ...]
    target: tuple[float, ...]
    key: str = ""
    region: int | None = None


@dataclass(frozen=True)
class Part:
    """A piece of a message. Exactly one meaning: text (with or without a slot), the image, or a region.

    Attributes:
        text: literal text; with ``slot`` it is exactly one candidate word, without surrounding blanks.
        slot: set where the text is a value word.
        region: index into the conversation's regions where the part is a region's tokens, else None.
        image: True where the part is the image's tokens.
    """

    text: str = ""
    slot: Slot | None = None
    region: int | None = None
    image: bool = False


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``role`` is ``system``, ``user`` or ``assistant``. Assistant turns are trained."""

    role: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The turn as a person reads it: image and region parts as ``<image>`` and ``<region N>`` (N from 1)."""
        pieces = []
        for part in self.parts:
            if part.image:
                pieces.append("<image>")
            elif part.region is not None:
                pieces.append(f"<region {part.region + 1}>")
            else:
                pieces.append(part.text)
        return "".join(pieces)


@dataclass(frozen=True)
class Scores:
    """Numbers for one region from one reader (the language model, or the region tokens' own head).

    Attributes:
        quality, importance: expected levels, in [0, 1]; of a calibrated model the expected labels.
        quality_levels, importance_levels: probability of each level word, in the order of ``levels``.
        severities: per type, probabilities of the severities 0..5.
        types: per type, the probability that the distortion is there.
    """

    quality: float
    importance: float
    quality_levels: tuple[float, ...]
    importance_levels: tuple[float, ...]
    severities: Mapping[str, tuple[float, ...]]
    types: Mapping[str, float]

    @property
    def quality_deviation(self) -> float:
        """Standard deviation of the quality that is believed, on the scale of ``quality``."""
        return level_deviation(self.quality_levels)

    @property
    def importance_deviation(self) -> float:
        """The same of importance."""
        return level_deviation(self.importance_levels)


@dataclass(frozen=True)
class RegionAssessment:
    """The tuned model's judgement of one region.

    Attributes:
        region: the region that was judged.
        scores: from the language model's token probabilities.
        direct: the region tokens' own head, reported beside them, never instead.
        text: a generated description, or "" where none was asked for.
        unparsable: True where text was generated and its severity words could not be read back.
        model_id: name and content hash of the checkpoint.
        resolution: (height, width) of the image as the vision tower saw it.
        abstain: whether these numbers should not be relied on.
        raw: what ``scores`` were before calibration; None where the model is not calibrated, and they are raw.
    """

    region: Region
    scores: Scores
    direct: Scores
    text: str
    unparsable: bool
    model_id: str
    resolution: tuple[int, int]
    abstain: bool = False
    raw: Scores | None = None
