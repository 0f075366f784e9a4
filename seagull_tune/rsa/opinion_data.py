"""Pictures with opinion scores: read, checked, divided by group, and as items of a training.

Everything that is wrong with the rows is said before anything is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from seagull_tune.config.rsa import OpinionData, OpinionSplit
from seagull_tune.data.schema.leaks import find_leaks
from seagull_tune.errors import DataError
from seagull_tune.files import sha256_of
from seagull_tune.images import read_image
from seagull_tune.opinions import OpinionRow, listed, read_opinions
from seagull_tune.rsa.inputs import PictureInputs, PictureReader, to_batch

MIN_PICTURES = 8
"""Fewer pictures than this have no order to learn."""

MIN_TRAINED = 4
"""Fewer of them in the training part have no correlation to speak of."""

_KEPT_BYTES = 4 << 30
"""Features that are held in memory; of a larger set, the rest is read from the cache at every visit."""


@dataclass(frozen=True)
class RatedPicture:
    """One picture of the training or test part.

    Attributes:
        row: of the file of opinion scores.
        path: of the picture.
        trust: weight of its score, about 1; less where people disagree.
    """

    row: OpinionRow
    path: Path
    trust: float

    @property
    def quality(self) -> float:
        """Its score in [0, 1], higher is better."""
        return self.row.opinion.quality


def read_rated(data: OpinionData) -> list[RatedPicture]:
    """The pictures of a file of opinion scores.

    Raises:
        DataError: rows are wrong or pictures are missing (all are named, with their lines), there are too few, or all
            have the same score.
    """
    file = Path(data.file)
    rows = read_opinions(file, data.mos, data.std)
    folder = Path(data.images) if data.images is not None else file.parent
    missing = [f"line {row.line}: {row.name}" for row in rows if not (folder / row.name).is_file()]
    if missing:
        raise DataError(
            f"{file}: {len(missing)} of {len(rows)} pictures are not in {folder}:\n{listed(missing)}\n"
            "Name their folder (data.images), or take the rows out."
        )
    if len(rows) < MIN_PICTURES:
        raise DataError(f"{file} has {len(rows)} pictures; at least {MIN_PICTURES} are needed to learn an order.")
    values = {row.opinion.value for row in rows}
    if len(values) == 1:
        raise DataError(
            f"{file}: all {len(rows)} scores are {values.pop():g}: there is nothing to learn. Is "
            f"{data.mos.score!r} the column of the scores?"
        )
    return [RatedPicture(row, folder / row.name, t) for row, t in zip(rows, _trusts(rows), strict=True)]


def _trusts(rows: Sequence[OpinionRow]) -> list[float]:
    """Weights of the scores: the inverse of their variance beside the mean one, so that none counts for more than 2."""
    deviations = np.array([row.deviation or 0.0 for row in rows])
    usual = float(np.mean(deviations**2))
    if usual == 0.0:
        return [1.0] * len(rows)
    return [float(2.0 * usual / (usual + value)) for value in deviations**2]


def divide(pictures: Sequence[RatedPicture], split: OpinionSplit) -> tuple[list[RatedPicture], list[RatedPicture]]:
    """Training and test part, no group in both.

    The split that the file states holds; otherwise groups are drawn in the order of a hash of their names and the seed.

    Returns:
        Training and test pictures, in the order of the file; the test part is empty where ``split.test`` is 0.

    Raises:
        DataError: one group only, a group or the same picture on both sides, or too few pictures on one.
    """
    stated = {picture.row.split for picture in pictures}
    if stated != {None}:
        test = {id(p) for p in pictures if p.row.split == "test"}
    else:
        test = _drawn(pictures, split)
    parts = [p for p in pictures if id(p) not in test], [p for p in pictures if id(p) in test]
    for name, part, least in zip(("training", "test"), parts, (MIN_TRAINED, int(split.test > 0)), strict=True):
        if len(part) < least:
            raise DataError(
                f"The {name} part has {len(part) or 'no'} picture{'s' * (len(part) > 1)}; at least {least} are needed. "
                f"Check data.mos.split and split.test ({split.test:g})."
            )
    _refuse_leaks(parts)
    return parts


def _drawn(pictures: Sequence[RatedPicture], split: OpinionSplit) -> set[int]:
    if split.test == 0.0:
        return set()
    groups = sorted({picture.row.scene for picture in pictures}, key=lambda name: _draw(name, split.seed))
    if len(groups) < 2:
        raise DataError(
            f"All {len(pictures)} pictures are of one group ({groups[0]!r}), which cannot be divided. Name another "
            "column (data.mos.scene), or train on all of them (split.test=0)."
        )
    count = min(len(groups) - 1, max(1, round(split.test * len(groups))))
    chosen = set(groups[-count:])
    return {id(picture) for picture in pictures if picture.row.scene in chosen}


def _draw(name: str, seed: int) -> tuple[str, str]:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest(), name


def _refuse_leaks(parts: tuple[list[RatedPicture], list[RatedPicture]]) -> None:
    if not parts[1]:
        return
    leaks = find_leaks(
        (picture.row.scene, sha256_of(picture.path), name)
        for name, part in zip(("train", "test"), parts, strict=True)
        for picture in part
    )
    if leaks:
        raise DataError("What is tested was trained on:\n" + listed(leaks))


class RatedInputs(Dataset[dict[str, Any]]):
    """What the scorer reads of rated pictures, by index; features are kept in memory as far as they fit.

    Args:
        pictures: the part.
        reader: reads them.
        max_pixels: photographs with more pixels are refused.
        known: pictures that were read already, by a reader of the same backbone, segmenter and describer that reads as
            much as this one or more; those of them that are in the part are not read again.
    """

    def __init__(
        self,
        pictures: Sequence[RatedPicture],
        reader: PictureReader,
        max_pixels: int,
        known: RatedInputs | None = None,
    ) -> None:
        self.pictures, self._reader, self._max_pixels = list(pictures), reader, max_pixels
        self._kept: dict[int, PictureInputs] = {}
        if known is not None:
            found = {index: known.kept(picture.path) for index, picture in enumerate(self.pictures)}
            self._kept = {index: reader.narrowed(inputs) for index, inputs in found.items() if inputs is not None}
        self._places = {picture.path: index for index, picture in enumerate(self.pictures)}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def kept(self, path: Path) -> PictureInputs | None:
        """What is held in memory of a picture; None where nothing is."""
        index = self._places.get(path)
        return None if index is None else self._kept.get(index)

    def read(self, index: int) -> PictureInputs:
        """Features, regions and semantics of one picture.

        Raises:
            DataError: it cannot be read, is too small, or its features are not finite; it is named.
        """
        if index in self._kept:
            return self._kept[index]
        path = self.pictures[index].path
        inputs = self._reader(read_image(path, self._max_pixels), str(path))
        size = inputs.features.mean.nbytes * 2 + inputs.shares.nbytes + inputs.semantics.nbytes
        if self._bytes + size <= _KEPT_BYTES:
            self._kept[index] = inputs
            self._bytes += size
        return inputs

    def __getitem__(self, index: int) -> dict[str, Any]:
        picture = self.pictures[index]
        return {
            "inputs": self.read(index), "quality": picture.quality, "trust": picture.trust, "name": picture.row.name,
        }  # fmt: skip

    def prepare(self, what: str) -> None:
        """Computes and keeps what is missing, with progress; all pictures that cannot be used are named at once.

        Raises:
            DataError: naming them, with their lines.
        """
        problems = []
        for index in tqdm(range(len(self)), desc=what, unit="picture"):
            try:
                self.read(index)
            except DataError as error:
                problems.append(f"line {self.pictures[index].row.line}: {error}")
        if problems:
            raise DataError(f"{len(problems)} of {len(self)} pictures cannot be used:\n{listed(problems)}")


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Items of :class:`RatedInputs` -> the batch, qualities and trusts float32 (B,), names."""
    return {
        "batch": to_batch([item["inputs"] for item in items]),
        "quality": torch.tensor([item["quality"] for item in items], dtype=torch.float32),
        "trust": torch.tensor([item["trust"] for item in items], dtype=torch.float32),
        "names": [item["name"] for item in items],
    }
