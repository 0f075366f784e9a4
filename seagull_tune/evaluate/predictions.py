"""The file of predictions beside a measurement: one JSON line per finished sample, so that a killed run goes on.

A line belongs to one model, one set of recipes and one set of baselines (its ``run``); lines of other runs are kept and
left alone. Figures are always made from these lines, so a run that was resumed gives the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from seagull_tune.errors import DataError
from seagull_tune.evaluate.outcomes import DIGITS, Reading

SUFFIX = ".predictions.jsonl"


@dataclass(frozen=True)
class RunKey:
    """What predictions depend on.

    Attributes:
        model: model id, with the hash of its weights.
        recipe_hash: of the recipes of the data set.
        data: hash of its configuration, photographs and regions.
        precision: ``fp32`` or ``bf16``.
        baselines: digest of the baselines, or "" without.
        view: how pictures were cut into regions, where that is not in the data set; "" where it is.
    """

    model: str
    recipe_hash: str
    data: str
    precision: str
    baselines: str
    view: str = ""

    @property
    def digest(self) -> str:
        """Short hash of all of it."""
        # An empty view is left out, so that the files of measurements from before there was one are gone on with.
        values = {name: value for name, value in asdict(self).items() if name != "view" or value}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class TextResult:
    """One generated text.

    Attributes:
        region: index of the region in its image.
        text: the model's words.
        unparsable: whether their severity words could not be read back.
    """

    region: int
    text: str
    unparsable: bool


@dataclass(frozen=True)
class Prediction:
    """What was read of one sample.

    Attributes:
        sample_id: the sample.
        readings: per reader, of its R regions.
        texts: generated texts of some of its regions.
        seconds: time that judging took.
        areas: of its R regions, shares of the picture, where the data set does not hold them.
    """

    sample_id: str
    readings: Mapping[str, Reading]
    texts: tuple[TextResult, ...]
    seconds: float
    areas: tuple[float, ...] = ()

    def to_line(self, key: RunKey) -> str:
        """One line of JSON."""
        values = {
            "sample_id": self.sample_id, "model": key.model, "recipe_hash": key.recipe_hash, "run": key.digest,
            "seconds": round(self.seconds, 3), "texts": [asdict(text) for text in self.texts],
            "readings": {name: reading.to_lists() for name, reading in self.readings.items()},
            **({"areas": [round(area, DIGITS) for area in self.areas]} if self.areas else {}),
        }  # fmt: skip
        return json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Prediction:
        """Inverse of :meth:`to_line`."""
        return cls(
            values["sample_id"],
            {name: Reading.from_lists(lists) for name, lists in values["readings"].items()},
            tuple(TextResult(**text) for text in values["texts"]),
            float(values["seconds"]),
            tuple(values.get("areas", ())),
        )


class PredictionFile:
    """Predictions of one run, on disk; use it in a ``with`` block.

    Args:
        path: the file; it is made where it does not exist. A last line that a kill cut off is removed.
        key: the run.

    Attributes:
        found: the predictions of this run, by sample id; later lines win.

    Raises:
        DataError: the file is not one of predictions (names the line), or cannot be written.
    """

    def __init__(self, path: Path, key: RunKey) -> None:
        self.path, self.key = Path(path), key
        self.found: dict[str, Prediction] = {}
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            self._file.seek(0)
            content = self._file.read()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                self._file.truncate(len(whole))
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error}. Choose another `out`.") from error
        try:
            self._read(whole)
        except BaseException:
            self._file.close()
            raise
        return self

    def _read(self, content: bytes) -> None:
        for number, line in enumerate(content.splitlines(), start=1):
            try:
                values = json.loads(line)
                if values["run"] != self.key.digest:
                    continue
                prediction = Prediction.from_values(values)
            except (ValueError, KeyError, TypeError, DataError) as error:
                raise DataError(
                    f"{self.path}, line {number}: not a prediction ({error!r}). Remove the file to measure again from "
                    "the start."
                ) from error
            self.found[prediction.sample_id] = prediction

    def append(self, prediction: Prediction) -> None:
        """Writes one finished sample.

        Raises:
            DataError: the disk is full.
        """
        if self._file is None:
            raise ValueError("Predictions are appended inside a `with` block.")
        line = prediction.to_line(self.key)
        try:
            self._file.write(line.encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"{self.path} cannot be written: {error}. Finished samples are kept; run again to go on."
            ) from error
        # What is kept is what a later run will read.
        self.found[prediction.sample_id] = Prediction.from_values(json.loads(line))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
