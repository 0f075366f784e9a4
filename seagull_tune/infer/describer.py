"""The region describer: a photograph is cut into regions, and the tuned model says of each what it is, at once.

All regions go through the model together, as in :class:`~seagull_tune.infer.assessor.RegionAssessor`. Beside the scores
come what a scorer of whole images reads: the region tokens, and a text embedding, which is the language model's last
hidden state, averaged over the places where scores are read (it is there already: nothing more is computed). The text
says in the words of the model's own canonical answer what its scores say; nothing is generated, unless asked for.

Legend: R regions, T region tokens, D width of the language model, L level words, S severities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seagull_tune.config.answer import SegmenterChoice
from seagull_tune.data.array_cache import ArrayCache, Entry, key_of
from seagull_tune.errors import DataError
from seagull_tune.images import image_hash
from seagull_tune.infer.assessor import TEXT_TASK, RegionAssessor
from seagull_tune.infer.scoring import direct_scores, make_scores
from seagull_tune.instructions.answers import answer_parts
from seagull_tune.instructions.templates import PromptLibrary
from seagull_tune.levels import DISTORTION_TYPES, SEVERITY_NAMES, said_severity
from seagull_tune.records import Region, RegionLabel, Scores
from seagull_tune.regions.partition import non_overlapping
from seagull_tune.segment import Segmenter, build_segmenter

_PER_READER = ("quality", "importance", *(f"severity.{kind}" for kind in DISTORTION_TYPES))
_READERS = ("scores", "direct")
NUMBERS: tuple[str, ...] = (*(f"{reader}.{name}" for reader in _READERS for name in _PER_READER), "area")
"""What :meth:`Description.numbers` holds: scores in [0, 1] (expected severities over 5), and the share of the image."""

_VERSION = 1
"""Of what is kept; a higher one makes kept descriptions be made anew."""


@dataclass(frozen=True)
class Description:
    """What is known of the regions of one photograph; one entry per region, in one order.

    Attributes:
        regions: a cover: every pixel belongs to exactly one.
        scores, direct: from the language model, and from the region tokens' own head.
        texts: a sentence each.
        tokens: float32 (R, T, D), region tokens at the extractor's own scale.
        embedding: float32 (R, D), what the language model thinks of the region.
        model_id: who said it.
    """

    regions: tuple[Region, ...]
    scores: tuple[Scores, ...]
    direct: tuple[Scores, ...]
    texts: tuple[str, ...]
    tokens: np.ndarray
    embedding: np.ndarray
    model_id: str

    def numbers(self) -> np.ndarray:
        """The scores as one vector per region: float32 (R, ``len(NUMBERS)``), all in [0, 1]."""
        rows = []
        for region, *readings in zip(self.regions, self.scores, self.direct, strict=True):
            row: list[float] = []
            for reading in readings:
                row += [reading.quality, reading.importance]
                row += [_expected(reading.severities[kind]) for kind in DISTORTION_TYPES]
            rows.append([*row, region.area / (region.height * region.width)])
        return np.array(rows, np.float32)


def _expected(severity: Sequence[float]) -> float:
    """Expected severity over the worst one, [0, 1], of six probabilities."""
    return sum(i * p for i, p in enumerate(severity)) / (len(SEVERITY_NAMES) - 1)


def say_scores(scores: Scores, prompts: PromptLibrary) -> str:
    """A sentence about a region: the model's canonical description, written from its scores instead of generated."""
    severities = tuple(said_severity(scores.severities[kind]) for kind in DISTORTION_TYPES)
    quality, importance = (min(1.0, max(0.0, value)) for value in (scores.quality, scores.importance))
    label = RegionLabel(quality, importance, severities)
    return "".join(part.text for part in answer_parts(TEXT_TASK, label, prompts))


def cover_of(image: np.ndarray, segmenter: Segmenter) -> tuple[Region, ...]:
    """A cover of a photograph uint8 (H, W, 3): the segmenter's regions, small ones on top, and what is left."""
    return tuple(non_overlapping(segmenter.segment(image), *image.shape[:2]))


def segmenter_identity(choice: SegmenterChoice) -> dict[str, Any]:
    """What a segmenter's regions depend on, ready for JSON; weights count by their content."""
    identity: dict[str, Any] = {
        "method": choice.method, "min_area_share": choice.min_area_share, "max_regions": choice.max_regions,
    }  # fmt: skip
    if choice.method == "sam" and choice.sam.checkpoint is not None:
        from seagull_tune.segment.sam_checkpoint import weights_hash

        identity |= {"sam": choice.sam.identity(), "weights": weights_hash(choice.sam.checkpoint)}
    return identity


class RegionDescriber:
    """Cuts photographs into regions and describes them, kept on disk where a cache is given.

    Args:
        assessor: the tuned model; its scores are taken as they are, without calibration.
        segmenter: what finds the regions.
        cache: where descriptions are kept, by image, model and segmenter.
        text: ``scores`` writes texts from the scores, ``generated`` lets the model speak (slower).
    """

    def __init__(
        self,
        assessor: RegionAssessor,
        segmenter: SegmenterChoice | None = None,
        cache: ArrayCache | None = None,
        text: Literal["scores", "generated"] = "scores",
    ) -> None:
        choice = segmenter or SegmenterChoice()
        self.assessor, self.cache, self.text = assessor, cache, text
        self._segmenter = build_segmenter(choice.method, choice.min_area_share, choice.max_regions, choice.sam)
        self._identity = ["description", _VERSION, self.digest, assessor.bf16, segmenter_identity(choice), text]

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        segmenter: SegmenterChoice | None = None,
        cache: ArrayCache | None = None,
        device: str | None = None,
        bf16: bool = False,
        text: Literal["scores", "generated"] = "scores",
    ) -> RegionDescriber:
        """A describer that speaks for a checkpoint.

        Raises:
            CheckpointError: it cannot be used.
            ConfigError: the device does not exist.
        """
        assessor = RegionAssessor.from_pretrained(folder, device, bf16, calibrated=False)
        return cls(assessor, segmenter, cache, text)

    @property
    def digest(self) -> str:
        """Content hash of the model, wherever its folder lies."""
        return self.assessor.name.rpartition("@")[2]

    @property
    def token_width(self) -> int:
        """T * D, values of one region's tokens."""
        return self.assessor.model.config.n_region_tokens * self.embedding_width

    @property
    def embedding_width(self) -> int:
        """D."""
        return int(self.assessor.model.config.text_width)

    def key(self, image: np.ndarray) -> str:
        """Name of a photograph's description: its content, the model, and how regions are found."""
        return key_of(*self._identity, image_hash(image))

    def __call__(self, image: np.ndarray, name: str = "the image") -> Description:
        """Describes one photograph.

        Args:
            image: uint8 (H, W, 3), sRGB.
            name: what errors call it.

        Raises:
            DataError: it cannot be judged, for example because it is too small.
        """
        key = self.key(image) if self.cache is not None else ""
        entry = self.cache.get(key) if self.cache is not None else None
        if entry is not None:
            return _unpack(entry)
        try:
            description = self.describe(image, cover_of(image, self._segmenter))
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        if self.cache is not None:
            self.cache.put(key, *_pack(description))
        return description

    def describe(self, image: np.ndarray, regions: Sequence[Region]) -> Description:
        """Describes given regions of a photograph uint8 (H, W, 3), without a cache.

        Raises:
            DataError, RegionError: as :meth:`~seagull_tune.infer.assessor.RegionAssessor.assess`.
        """
        assessor = self.assessor
        with assessor.running():
            encoded = assessor.encode(image, regions)
            # Raw: a calibration that is fitted later must not change what a scorer was trained to read.
            ((scores, embedding),) = assessor.listen([encoded])
            direct = direct_scores(assessor.model.judge_regions(encoded.tokens))
            if self.text == "generated":
                texts = assessor.describe(encoded, range(len(regions)))
            else:
                texts = [say_scores(score, assessor.prompts) for score in scores]
        # Rounded here and not by the cache, so that a description is the same the first and the second time.
        tokens, thought = (values.float().cpu().numpy().astype(np.float16) for values in (encoded.tokens, embedding))
        return Description(
            tuple(regions), tuple(_rounded(s) for s in scores), tuple(_rounded(s) for s in direct), tuple(texts),
            tokens.astype(np.float32), thought.astype(np.float32), assessor.name,
        )  # fmt: skip


def _rounded(scores: Scores) -> Scores:
    """Scores as their kept probabilities (float32) give them."""
    return _scores(*(values[0] for values in _probabilities([scores])))


def _probabilities(scores: Sequence[Scores]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of R readings, float32: quality (R, L), importance (R, L), severities (R, types, S)."""
    return (
        np.array([s.quality_levels for s in scores], np.float32),
        np.array([s.importance_levels for s in scores], np.float32),
        np.array([[s.severities[kind] for kind in DISTORTION_TYPES] for s in scores], np.float32),
    )


def _scores(quality: np.ndarray, importance: np.ndarray, severities: np.ndarray) -> Scores:
    return make_scores(quality.tolist(), importance.tolist(), severities.tolist())


def _pack(description: Description) -> Entry:
    """A description as arrays and a note; the other direction is :func:`_unpack`."""
    arrays = {"tokens": description.tokens.astype(np.float16), "embedding": description.embedding.astype(np.float16)}
    for reader in _READERS:
        parts = _probabilities(getattr(description, reader))
        arrays |= {f"{reader}.{i}": values for i, values in enumerate(parts)}
    note = {
        "regions": [asdict(region) for region in description.regions],
        "texts": list(description.texts),
        "model_id": description.model_id,
    }
    return arrays, note


def _unpack(entry: Entry) -> Description:
    arrays, note = entry
    regions = tuple(Region(**{**values, "box_xyxy": tuple(values["box_xyxy"])}) for values in note["regions"])
    scores, direct = (
        tuple(_scores(*(arrays[f"{reader}.{i}"][row] for i in range(3))) for row in range(len(regions)))
        for reader in _READERS
    )
    return Description(
        regions, scores, direct, tuple(note["texts"]), arrays["tokens"].astype(np.float32),
        arrays["embedding"].astype(np.float32), note["model_id"],
    )  # fmt: skip
