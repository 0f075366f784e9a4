"""Truth and readings of a finished measurement beside its figures, as arrays: what `compare` computes from.

The file is an ``.npz`` archive of numbers and texts (no pickles); it is written anew with the figures.

Legend: N judged regions (or pictures).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seagull_tune.errors import DataError
from seagull_tune.evaluate.outcomes import Reading, Truth
from seagull_tune.files import atomic_write, why_not_written

JUDGED_SUFFIX = ".judged.npz"
_REMEDY = "Run the measurement again: finished predictions are kept, and only the figures are computed."


@dataclass(frozen=True, eq=False)
class Judged:
    """What a measurement's figures are made of.

    Attributes:
        truth: of N regions.
        readings: per reader, of the same N regions.
        samples: str (N,), the sample of each.
    """

    truth: Truth
    readings: Mapping[str, Reading]
    samples: np.ndarray

    def save(self, metrics_file: Path) -> Path:
        """Writes the file beside a metrics file, atomically; returns it.

        Raises:
            DataError: it cannot be written.
        """
        path = judged_path(metrics_file)
        arrays = {f"truth/{name}": value for name, value in self.truth.__dict__.items() if value is not None}
        for reader, reading in self.readings.items():
            arrays |= {f"reading/{reader}/{n}": v for n, v in reading.__dict__.items() if v is not None}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, samples=self.samples, **arrays)
        try:
            atomic_write(path, [buffer.getvalue()])
        except OSError as error:
            raise DataError(f"{path} cannot be written: {why_not_written(error)}.") from error
        return path

    @classmethod
    def load(cls, metrics_file: Path) -> Judged:
        """Reads the file beside a metrics file.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = judged_path(metrics_file)
        if not path.is_file():
            raise DataError(f"There is no {path.name} beside {metrics_file}. {_REMEDY}")
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            truth = {name.split("/")[1]: value for name, value in arrays.items() if name.startswith("truth/")}
            readings: dict[str, dict[str, np.ndarray]] = {}
            for name, value in arrays.items():
                if name.startswith("reading/"):
                    _, reader, column = name.split("/")
                    readings.setdefault(reader, {})[column] = value
            found = cls(
                Truth(**truth), {name: Reading(**columns) for name, columns in readings.items()}, arrays["samples"]
            )
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged ({error}). {_REMEDY}") from error
        lengths = {len(found.truth), len(found.samples), *(len(reading) for reading in found.readings.values())}
        if len(lengths) != 1:
            raise DataError(f"{path} is damaged (columns of {sorted(lengths)} rows). {_REMEDY}")
        return found


def judged_path(metrics_file: Path) -> Path:
    """Where truth and readings of a metrics file lie."""
    return metrics_file.with_name(metrics_file.name + JUDGED_SUFFIX)
