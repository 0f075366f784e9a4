"""Sets measurements on the same data beside each other: their figures, and the difference of every one to the first.

    metrics.json + truth and readings beside it -> checked to be of the same data -> figures, paired bootstrap

Legend: N judged regions (or pictures).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from seagull_tune.config.evaluate import CompareConfig
from seagull_tune.errors import DataError
from seagull_tune.evaluate.figures import Metrics
from seagull_tune.evaluate.judged import Judged
from seagull_tune.evaluate.outcomes import MODEL, Reading, Truth
from seagull_tune.evaluate.report_numbers import value_of
from seagull_tune.levels import PRESENT
from seagull_tune.metrics.bootstrap import Difference, Rows, paired_bootstrap
from seagull_tune.metrics.classification import macro_f1, sample_scores, severity_f1, severity_sample_scores
from seagull_tune.metrics.correlation import plcc, rmse, srcc

METRICS_FILE = "metrics.json"
SAME = ("recipe_hash", "data_config_hash", "split", "protocol")
"""Keys of a metrics file that say what was measured; they must be equal to be compared."""

Statistic = Callable[[Rows], float | None]


@dataclass(frozen=True)
class FigureKind:
    """A figure that is compared.

    Attributes:
        key: dotted name in metrics files.
        title: for tables.
        interval: dotted name of its interval; "" where there is none.
        better: 1 where higher is better, -1 where lower is.
    """

    key: str
    title: str
    interval: str = ""
    better: int = 1


KINDS: tuple[FigureKind, ...] = (
    FigureKind("quality.srcc", "Quality SRCC", "quality.ci95"),
    FigureKind("quality.plcc", "Quality PLCC", "quality.plcc_ci95"),
    FigureKind("quality.rmse", "Quality RMSE", "quality.rmse_ci95", -1),
    FigureKind("importance.srcc", "Importance SRCC", "importance.ci95"),
    FigureKind("importance.rmse", "Importance RMSE", "importance.rmse_ci95", -1),
    FigureKind("types.macro_f1", "Types macro F1", "types.macro_f1_ci95"),
    FigureKind("types.sample_f1", "Types sample F1"),
    FigureKind("severity.f1", "Severity macro F1"),
    FigureKind("severity.sample_f1", "Severity sample F1"),
)


@dataclass(frozen=True, eq=False)
class Measurement:
    """One measurement.

    Attributes:
        name: short and different from the others of the comparison.
        path: its metrics file.
        metrics: the figures.
        judged: truth and readings.
    """

    name: str
    path: Path
    metrics: Metrics
    judged: Judged

    @property
    def reading(self) -> Reading:
        """What the model says."""
        return self.judged.readings[MODEL]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several measurements of the same data.

    Attributes:
        runs: the measurements; the first one is the reference.
        differences: per figure, in the order of :data:`KINDS`, per run after the first one: its difference to the
            first; None where it is not defined.
        notes: sentences about everything that is not defined.
        draws: resamplings behind the differences.
    """

    runs: tuple[Measurement, ...]
    differences: Mapping[str, tuple[Difference | None, ...]]
    notes: tuple[str, ...]
    draws: int

    @property
    def kinds(self) -> tuple[FigureKind, ...]:
        """The figures that at least one run has."""
        return tuple(kind for kind in KINDS if any(value_of(run.metrics, kind.key) is not None for run in self.runs))


def compare_runs(paths: Sequence[Path], settings: CompareConfig, show_progress: bool = False) -> Comparison:
    """Reads and compares measurements.

    Args:
        paths: metrics files or run folders, two or more; the first is what the others are compared with.
        settings: draws and seed.
        show_progress: whether a bar is shown on standard error.

    Raises:
        DataError: fewer than two, a file is missing or damaged (all are named), or they are not of the same data (what
            differs is named).
    """
    if len(paths) < 2:
        raise DataError(f"{len(paths)} measurement was named; two or more are compared.")
    runs = _read_all(paths)
    _check_same(runs)
    notes: list[str] = []
    differences: dict[str, tuple[Difference | None, ...]] = {}
    truth = runs[0].judged.truth
    if len(set(truth.photographs.tolist())) < 2:
        notes.append("No differences: all that was judged is of one photograph.")
    if len(runs[0].metrics.get("runs", ())) > 1:
        notes.append("Figures are medians over the seeds; differences and plots are of the first seed's division.")
    statistics = [statistics_of(run.reading, truth) for run in runs]
    for kind in tqdm(KINDS, desc="Comparing", unit="figures", disable=not show_progress):
        found: list[Difference | None] = []
        for run, others in zip(runs[1:], statistics[1:], strict=True):
            pair = _difference(kind, statistics[0], others, truth, settings)
            if pair is None and any(value_of(entry.metrics, kind.key) is not None for entry in (runs[0], run)):
                notes.append(f"{kind.key}: no difference of {run.name} to {runs[0].name}, one of them is not defined.")
            found.append(pair)
        differences[kind.key] = tuple(found)
    return Comparison(tuple(runs), differences, tuple(notes), settings.draws)


def _difference(
    kind: FigureKind, first: Mapping[str, Statistic], second: Mapping[str, Statistic], truth: Truth,
    settings: CompareConfig,
) -> Difference | None:  # fmt: skip
    if kind.key not in first or kind.key not in second:
        return None
    return paired_bootstrap(
        first[kind.key], second[kind.key], truth.photographs.tolist(), settings.draws, seed=settings.seed
    )


def statistics_of(reading: Reading, truth: Truth) -> dict[str, Statistic]:
    """The figures of :data:`KINDS` that a reading speaks of, each as a function of row numbers into the N regions."""
    found: dict[str, Statistic] = {}
    for name, predicted, true in (
        ("quality", reading.quality, truth.quality),
        ("importance", reading.importance, truth.importance),
    ):
        if predicted is not None:
            figures = (("srcc", srcc), ("plcc", plcc), ("rmse", rmse))
            found |= {f"{name}.{key}": _of_scores(figure, predicted, true) for key, figure in figures}
    known = truth.diagnosed
    if reading.types is not None:
        named, present = reading.types >= PRESENT, truth.severities > 0
        found["types.macro_f1"] = _of_known(macro_f1, named, present, known)
        found["types.sample_f1"] = _of_known(_f1_of(sample_scores), named, present, known)
    if reading.severities is not None:
        found["severity.f1"] = _of_known(severity_f1, reading.severities, truth.severities, known)
        found["severity.sample_f1"] = _of_known(
            _f1_of(severity_sample_scores), reading.severities, truth.severities, known
        )
    return found


def _of_scores(figure: Callable[..., float | None], predicted: np.ndarray, true: np.ndarray) -> Statistic:
    scored = np.isfinite(true)

    def statistic(rows: Rows) -> float | None:
        kept = rows[scored[rows]]
        return figure(predicted[kept], true[kept])

    return statistic


def _of_known(figure: Callable[..., float | None], said: np.ndarray, true: np.ndarray, known: np.ndarray) -> Statistic:
    def statistic(rows: Rows) -> float | None:
        kept = rows[known[rows]]
        return figure(said[kept], true[kept])

    return statistic


def _f1_of(figure: Callable[..., Any]) -> Callable[..., float | None]:
    def f1(said: np.ndarray, true: np.ndarray) -> float | None:
        found = figure(said, true)
        return None if found is None else float(found.f1)

    return f1


def _read_all(paths: Sequence[Path]) -> list[Measurement]:
    """All measurements, or one error that names everything that is wrong with any."""
    runs, problems = [], []
    for path, name in zip(paths, _names(paths), strict=True):
        try:
            runs.append(_read(path, name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError("\n".join(problems))
    return runs


def _read(path: Path, name: str) -> Measurement:
    file = path / METRICS_FILE if path.is_dir() else path
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"There is no {file}. Name a metrics file of `seagull-tune evaluate`, or its run folder."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read ({error}). Name a metrics file of `seagull-tune evaluate`.") from error
    if not isinstance(metrics, dict) or not {"model_id", "recipe_hash", "n_regions", "notes"} <= set(metrics):
        raise DataError(f"{file} is no metrics file of `seagull-tune evaluate`: its keys are others.")
    judged = Judged.load(file)
    if MODEL not in judged.readings:
        raise DataError(f"{file}: there is no reading of the model beside it. Run the measurement again.")
    return Measurement(name, file, metrics, judged)


def _names(paths: Sequence[Path]) -> list[str]:
    """Short names: the run folder's, with as many folders above it as tell them apart; equal paths are numbered."""
    parts = []
    for path in paths:
        whole = Path(path).resolve()
        parts.append(whole.parent.parts if whole.name == METRICS_FILE else whole.with_suffix("").parts)
    length = 1
    while length < max(map(len, parts)) and len({entry[-length:] for entry in parts}) < len(set(parts)):
        length += 1
    names = ["/".join(entry[-length:]) for entry in parts]
    counts = {name: names.count(name) for name in names}
    return [f"{name} ({at})" if counts[name] > 1 else name for at, name in enumerate(names, start=1)]


def _check_same(runs: Sequence[Measurement]) -> None:
    """Refuses measurements of other data.

    Raises:
        DataError: names every run and what of it differs from the first.
    """
    first, problems = runs[0], []
    for run in runs[1:]:
        for key in SAME:
            left, right = first.metrics.get(key), run.metrics.get(key)
            if left != right:
                problems.append(f"{key}: {first.name} has {_shown(left)}, {run.name} has {_shown(right)}")
        if not problems and not _same_truth(first.judged, run.judged):
            problems.append(f"truth: the samples or labels of {first.name} and {run.name} differ")
    if problems:
        raise DataError(
            "These measurements are not of the same data, so their figures do not compare:\n  " + "\n  ".join(problems)
        )


def _same_truth(left: Judged, right: Judged) -> bool:
    """Whether the same samples were judged against the same truth (labels are stored as float32)."""
    if not np.array_equal(left.samples, right.samples):
        return False
    pairs = [
        (getattr(left.truth, name), getattr(right.truth, name)) for name in ("quality", "importance", "severities")
    ]
    return all(a.shape == b.shape and np.allclose(a, b, atol=1e-6, equal_nan=True) for a, b in pairs)


def _shown(value: Any) -> str:
    text = value.get("name", "") if isinstance(value, Mapping) else str(value)
    return repr(text if len(text) <= 24 else text[:21] + "...")
