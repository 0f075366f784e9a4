"""The scorer: a photograph in, its quality out, and which regions made it so.

Legend: R regions, N cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seagull_tune.config.exchange import Scale
from seagull_tune.config.rsa import BackboneSettings, DescriberSettings, RsaSpec
from seagull_tune.data.array_cache import ArrayCache
from seagull_tune.errors import CheckpointError, ConfigError, DataError
from seagull_tune.images import MAX_PIXELS, read_image
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.describer import RegionDescriber, segmenter_identity
from seagull_tune.records import Region
from seagull_tune.rsa.checkpoint import (
    DescriberRecord,
    ScorerManifest,
    find_describer,
    load_weights,
    read_manifest,
    save_scorer,
)
from seagull_tune.rsa.features import Backbone, CellExtractor
from seagull_tune.rsa.inputs import PictureInputs, PictureReader, to_batch
from seagull_tune.rsa.model import RsaModel
from seagull_tune.segment import build_segmenter
from seagull_tune.segment.cache import CachedSegmenter, RegionCache

Picture = np.ndarray | str | Path
"""uint8 (H, W, 3) sRGB, or a file."""

_ALIKE = 1e-9  # a region that pulls less than this differs from the rest by rounding alone
_BATCH = 16  # photographs that are scored together; their cells are small


@dataclass(frozen=True)
class ImageScore:
    """The quality of a whole image.

    Attributes:
        score: on the declared scale of the opinion scores, within its range.
        score_01: in [0, 1], higher is better.
    """

    score: float
    score_01: float


@dataclass(frozen=True)
class Explanation:
    """Which regions made a score what it is.

    Attributes:
        image_score: the score.
        bias: what the score begins with, on the declared scale; it takes in what the range cut off.
        contributions: R numbers, on the declared scale; ``bias + sum(contributions)`` is the score (to 1e-5). None of a
            scorer whose head is not additive.
        weights: R numbers >= 0 of sum 1, how much each region counts.
        qualities: R numbers in [0, 1], higher is better: what each region's own score would be. None likewise.
        map: float32 (rows, columns) of sum 1, the attention map over the cells.
        regions: R, a cover of the image.
        texts: R, what the describer says of each; "" where it was not asked.
    """

    image_score: ImageScore
    bias: float
    contributions: tuple[float, ...] | None
    weights: tuple[float, ...]
    qualities: tuple[float, ...] | None
    map: np.ndarray
    regions: tuple[Region, ...]
    texts: tuple[str, ...]

    def worst(self, count: int = 3) -> list[int]:
        """Indices of the regions that pull the score down the most: what it would gain if they were like the rest.

        Empty where the head is not additive, or there is one region.
        """
        pulls = self._pulls()
        return [index for index in self.order() if pulls[index] > _ALIKE and len(pulls) > 1][:count]

    def order(self) -> list[int]:
        """Indices of all regions, first those that pull the score down the most; empty where the head is pooled."""
        pulls = self._pulls()
        return sorted(range(len(pulls)), key=lambda index: (-pulls[index], index))

    def _pulls(self) -> list[float]:
        """How far each region pulls the quality down; they add up to 0. Empty where the head is not additive."""
        if self.qualities is None:
            return []
        mean = sum(w * q for w, q in zip(self.weights, self.qualities, strict=True)) / sum(self.weights)
        return [w * (mean - q) for w, q in zip(self.weights, self.qualities, strict=True)]


class RsaScorer:
    """Scores photographs with a trained scorer.

    Args:
        model: attention and head.
        reader: reads photographs for it.
        scale: range and direction of the opinion scores.
        describer: who knows the regions, for the record.
    """

    def __init__(
        self, model: RsaModel, reader: PictureReader, scale: Scale, describer: DescriberRecord | None = None
    ) -> None:
        self.model, self.reader, self.scale = model.eval(), reader, scale
        self._describer = describer or DescriberRecord()

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        describer: str | Path | None = None,
        backbone: Backbone | None = None,
        device: str | None = None,
        cache_dir: str | Path | None = None,
        assessor: RegionAssessor | None = None,
    ) -> RsaScorer:
        """Loads a scorer.

        Args:
            folder: for example ``runs/rsa/model``.
            describer: checkpoint of its tuned model, where it is neither inside nor near.
            backbone: the module of your own that it was trained on.
            device: ``cpu``, ``cuda``, ``mps``; None takes a GPU where there is one.
            cache_dir: where features and descriptions are kept; None keeps none.
            assessor: a model that is loaded already, on ``device``. Where it is the scorer's own describer, its weights
                are shared, and none is looked for.

        Raises:
            CheckpointError: it cannot be used: damaged, its describer is gone, or the backbone is another one.
            ConfigError: the device does not exist.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        model = RsaModel(manifest.spec, manifest.channels, manifest.semantics)
        load_weights(model, folder)
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            model.to(place)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"Device {place!r} cannot be used here: {error}. Allowed: cpu, cuda, mps.") from error
        record = manifest.describer
        known = assessor.raw() if assessor is not None and describer is None else None
        if known is not None and (known.name.rpartition("@")[2], known.bf16) != (record.digest, record.bf16):
            known = None
        tuned = Path()
        if record.digest and known is None:
            tuned = find_describer(folder, record.digest, Path(describer) if describer is not None else None)
        settings = DescriberSettings(model=str(tuned), bf16=record.bf16, segmenter=record.segmenter, text=record.text)
        reader = make_reader(manifest.spec, settings, cache_dir, place, backbone, known)
        _check_backbone(folder, manifest, reader)
        return cls(model, reader, manifest.scale, record)

    def save_pretrained(self, folder: str | Path, describer: str | Path | None = None) -> None:
        """Writes the scorer; ``describer``: checkpoint that is copied into it (None names it by hash alone).

        Raises:
            CheckpointError: it cannot be written.
        """
        save_scorer(Path(folder), self.model, self.manifest(), Path(describer) if describer is not None else None)

    def manifest(self) -> ScorerManifest:
        """What the scorer is."""
        return ScorerManifest(
            spec=self.model.spec, channels=self.model.channels, semantics=self.model.semantics, scale=self.scale,
            backbone=self.reader.extractor.backbone.identity, describer=self._describer,
        )  # fmt: skip

    def score(self, images: Sequence[Picture], max_pixels: int = MAX_PIXELS) -> list[ImageScore]:
        """Scores photographs; one alone and one among many give the same.

        Raises:
            DataError: a photograph cannot be read or is too small; it is named.
        """
        return [explanation.image_score for explanation in self.explain(images, max_pixels)]

    def explain(
        self, images: Sequence[Picture], max_pixels: int = MAX_PIXELS, names: Sequence[str] | None = None
    ) -> list[Explanation]:
        """Scores photographs and says why.

        Args:
            images: pixels or files.
            max_pixels: files with more pixels are refused.
            names: what errors call them; None calls a file by its path, and pixels by their number.

        Raises:
            DataError: as :meth:`score`.
        """
        called = names or [f"image {i + 1}" if isinstance(im, np.ndarray) else str(im) for i, im in enumerate(images)]
        found: list[Explanation] = []
        for first in range(0, len(images), _BATCH):
            part = slice(first, first + _BATCH)
            pictures = [
                self.reader(image if isinstance(image, np.ndarray) else read_image(Path(image), max_pixels), name)
                for image, name in zip(images[part], called[part], strict=True)
            ]
            found += self._explain(pictures)
        return found

    def _explain(self, pictures: Sequence[PictureInputs]) -> Iterator[Explanation]:
        with torch.inference_mode():
            output = self.model(to_batch(pictures).to(next(self.model.parameters()).device))
        # Sums of an explanation are made in double precision: they have to add up.
        values = {name: tensor.double().cpu().numpy() for name, tensor in output.items()}
        bias = float(self.model.bias.detach())
        for row, picture in enumerate(pictures):
            count = len(picture.regions)
            mine = {name: value[row] for name, value in values.items()}
            if not np.isfinite(mine["score"]):
                raise DataError(f"The score of picture {row + 1} of the batch is {mine['score']}: damaged weights?")
            parts = mine["contributions"][:count] if "contributions" in mine else None
            raw = bias + float(parts.sum()) if parts is not None else float(mine["score"])
            quality = min(1.0, max(0.0, raw))
            scaled, offset = self._on_scale(quality), quality - raw
            step = self._on_scale(1.0) - self._on_scale(0.0)
            description = picture.description
            yield Explanation(
                image_score=ImageScore(scaled, quality),
                bias=self._on_scale(bias + offset) if parts is not None else scaled,
                contributions=None if parts is None else tuple((parts * step).tolist()),
                weights=tuple(mine["weights"][:count].tolist()) if "weights" in mine else (1.0,) * count,
                qualities=None if parts is None else tuple(
                    np.clip(bias + mine["region_values"][:count], 0.0, 1.0).tolist()
                ),
                map=mine["map"][: picture.shares.shape[1]].reshape(picture.features.grid).astype(np.float32),
                regions=picture.regions,
                texts=description.texts if description is not None else ("",) * count,
            )  # fmt: skip

    def _on_scale(self, quality: float) -> float:
        """A quality in [0, 1] on the declared scale."""
        share = quality if self.scale.higher_is_better else 1.0 - quality
        return self.scale.low + share * (self.scale.high - self.scale.low)


def make_reader(
    spec: RsaSpec,
    describer: DescriberSettings,
    cache_dir: str | Path | None = None,
    device: str | None = None,
    backbone: Backbone | None = None,
    assessor: RegionAssessor | None = None,
) -> PictureReader:
    """Backbone, describer and caches as a configuration says.

    Args:
        spec: the scorer's parts; the describer's model is loaded only where ``semantics`` asks for it.
        describer: who knows the regions.
        cache_dir: features lie in its ``features``, descriptions (or regions, without a describer) beside them; None
            keeps none.
        device: where backbone and describer run.
        backbone: a module of your own.
        assessor: the describer's model, raw, where it is loaded already.

    Raises:
        CheckpointError, ConfigError: see their messages.
    """
    caches = [ArrayCache(Path(cache_dir) / name) if cache_dir else None for name in ("features", "descriptions")]
    settings: BackboneSettings = spec.backbone
    extractor = CellExtractor(settings, backbone, caches[0], device or "cpu")
    if spec.semantics == "none":
        choice = describer.segmenter
        segmenter = build_segmenter(choice.method, choice.min_area_share, choice.max_regions, choice.sam)
        if cache_dir:
            identity = segmenter_identity(choice)
            segmenter = CachedSegmenter(segmenter, RegionCache(Path(cache_dir) / "regions"), identity)
        return PictureReader(spec, extractor, None, segmenter)
    if assessor is not None:
        return PictureReader(spec, extractor, RegionDescriber(assessor, describer.segmenter, caches[1], describer.text))
    speaker = RegionDescriber.from_pretrained(
        describer.model, describer.segmenter, caches[1], device, describer.bf16, describer.text
    )
    return PictureReader(spec, extractor, speaker)


def _check_backbone(folder: Path, manifest: ScorerManifest, reader: PictureReader) -> None:
    found = reader.extractor.backbone.identity
    if found != manifest.backbone:
        raise CheckpointError(
            f"The scorer {folder} was trained on features of {manifest.backbone}, and this backbone is {found}. "
            "Bring that one (a module of your own: backbone=...), or train again."
        )
