"""What every part of the whole-image scorer is worth: an ablation table at equal pictures, backbone and budget.

    python -m benchmarks.rsa_quality --data DIR [--describer MODEL] [--out runs/rsa-quality] [--cells global,rsa-text]
                                     [--seeds 0,1,2,3,4] [--seconds S] [--set a.b=c] [--dry-run]

DIR as for benchmarks/bench_rsa.py. A cell is one row of the table under one seed; the seed draws the split (a fifth of
the groups tests: no prompt is on both sides), the weights and the order. Features and descriptions are computed once,
kept in ``<out>/cache``, and held in memory for all cells. Each finished cell is a JSON file in ``<out>/cells``: a
second call goes on with those that are missing. Leaves ``<out>/table.json`` and ``<out>/table.md``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bench_rsa import bench_config
from benchmarks.rsa_table import BASE, FREE, FULL, Row, summary, table_of
from seagull_tune.config.rsa import RsaSpec, RsaTrainConfig
from seagull_tune.errors import ConfigError, DataError, SeagullError, did_you_mean
from seagull_tune.files import atomic_write_text, sha256_of
from seagull_tune.metrics.correlation import plcc, srcc
from seagull_tune.threads import wait_politely

CELLS: dict[str, dict[str, Any]] = {
    "describer": {"semantics": "numbers"},
    "svr": {"semantics": "none"},
    BASE: {"attention": "global", "head": "pooled", "semantics": "none"},
    "uniform": {"attention": "uniform", "semantics": "none"},
    "rsa": {"semantics": "none"},
    "rsa-numbers": {"semantics": "numbers"},
    "rsa-tokens": {"semantics": "tokens"},
    FULL: {"semantics": "text"},
    "rsa-regions": {"semantics": "text", "whole": False},
    FREE: {"semantics": "text", "head": "pooled"},
}
"""Cells of the table -> settings laid over the configuration's scorer. The first two train no scorer: ``describer`` is
the mean quality that the untuned describer gives the regions, by area, and ``svr`` a kernel machine on the frozen
statistics of whole pictures. ``free-head`` is not bound to contributions per region, so it says what they cost."""


def cell_config(config: RsaTrainConfig, cell: str, seed: int) -> RsaTrainConfig:
    """The training of one cell; of one that trains nothing, the split.

    Args:
        config: what all cells have in common; ``out`` is the benchmark's folder.
        cell: a key of :data:`CELLS`.
        seed: of split, weights and order.

    Raises:
        ConfigError: there is no such cell.
    """
    if cell not in CELLS:
        raise ConfigError(f"There is no cell {cell!r}.{did_you_mean(cell, CELLS)} Allowed: {', '.join(CELLS)}.")
    plain = config.model_dump()
    plain["scorer"] |= CELLS[cell]
    plain["split"] |= {"seed": seed, "test": config.split.test or 0.2}
    plain |= {"seed": seed, "save_every": 0, "keep_describer": "reference", "cache_dir": cache_of(config)}
    plain["out"] = f"{config.out}/runs/{cell}-{seed}"
    return RsaTrainConfig.model_validate(plain)


def cache_of(config: RsaTrainConfig) -> str:
    """Where features and descriptions of all cells lie."""
    return config.cache_dir or f"{config.out}/cache"


class Bench:
    """The pictures, read once for all cells.

    Args:
        config: what all cells have in common.
        cells: those that will be run: they say how much is read of every picture.

    Raises:
        ConfigError, DataError, CheckpointError: see their messages.
    """

    def __init__(self, config: RsaTrainConfig, cells: Sequence[str]) -> None:
        from seagull_tune.rsa.opinion_data import RatedInputs, read_rated
        from seagull_tune.rsa.scorer import make_reader

        spec = RsaSpec.model_validate(config.scorer.model_dump() | {"attention": "rsa", "semantics": widest(cells)})
        started = time.monotonic()
        reader = make_reader(spec, config.describer, cache_of(config), config.device)
        self.inputs = RatedInputs(read_rated(config.data), reader, config.data.max_pixels)
        self.inputs.prepare("pictures")
        self.seconds = time.monotonic() - started
        self._index = {picture.path: index for index, picture in enumerate(self.inputs.pictures)}

    def run(self, plan: RsaTrainConfig, cell: str) -> Row:
        """Trains and measures one cell; its row of the table."""
        started = time.monotonic()
        figures = PLAIN[cell](self, plan) if cell in PLAIN else self._train(plan)
        return {"cell": cell, "seed": plan.seed, **figures, "seconds": round(time.monotonic() - started, 1)}

    def _train(self, plan: RsaTrainConfig) -> Row:
        from seagull_tune.rsa.train import METRICS, train

        # What a killed cell left: its training is minutes, so it begins anew.
        shutil.rmtree(plan.out, ignore_errors=True)
        train(plan, known=self.inputs)
        found: Row = json.loads((Path(plan.out) / METRICS).read_text(encoding="utf-8"))
        return found

    def split(self, plan: RsaTrainConfig) -> tuple[list[int], list[int]]:
        """Indices of the training and of the test pictures."""
        from seagull_tune.rsa.opinion_data import divide

        train_part, test_part = divide(self.inputs.pictures, plan.split)
        return [self._index[p.path] for p in train_part], [self._index[p.path] for p in test_part]

    def true(self, indices: Sequence[int]) -> np.ndarray:
        """Their opinion scores as qualities, float64 (M,)."""
        return np.array([self.inputs.pictures[index].quality for index in indices])


def widest(cells: Sequence[str]) -> str:
    """The most that one of the cells reads of a picture."""
    order = ("none", "numbers", "tokens", "text")
    return max((CELLS[cell]["semantics"] for cell in cells), key=order.index)


def describer_alone(bench: Bench, plan: RsaTrainConfig) -> Row:
    """Mean quality of a picture's regions, by area, against the opinion scores: nothing is fitted to them."""
    _, test = bench.split(plan)
    predicted = []
    for index in test:
        description = bench.inputs.read(index).description
        assert description is not None, "a bench of this cell has a describer"
        areas = [region.area for region in description.regions]
        predicted.append(float(np.average([s.quality for s in description.scores], weights=areas)))
    return _figures(np.array(predicted), bench.true(test))


def support_vectors(bench: Bench, plan: RsaTrainConfig) -> Row:
    """What no learned scorer may fall behind: statistics of whole pictures, standardised, in an RBF kernel machine."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVR

    train_part, test = bench.split(plan)
    left, right = (np.stack([_statistics(bench, index) for index in part]) for part in (train_part, test))
    machine = make_pipeline(StandardScaler(), SVR(C=1.0, epsilon=0.02)).fit(left, bench.true(train_part))
    return _figures(machine.predict(right), bench.true(test))


def _statistics(bench: Bench, index: int) -> np.ndarray:
    """Means and log-variances of a whole picture's features, float32 (2C,)."""
    import torch

    from seagull_tune.rsa.attention import weighted_statistics
    from seagull_tune.rsa.features import FLOOR

    features = bench.inputs.read(index).features
    mean, log_variance = (torch.from_numpy(v.astype(np.float32))[None] for v in (features.mean, features.log_variance))
    even = torch.full((1, 1, mean.shape[1]), 1.0 / mean.shape[1])
    return np.asarray(weighted_statistics(mean, log_variance, even, FLOOR)[0, 0])


def _figures(predicted: np.ndarray, true: np.ndarray) -> Row:
    return {"n": len(true), "srcc": srcc(predicted, true), "plcc": plcc(predicted, true)}


PLAIN: dict[str, Callable[[Bench, RsaTrainConfig], Row]] = {"describer": describer_alone, "svr": support_vectors}
"""Cells that train no scorer."""


def run_cells(
    config: RsaTrainConfig, cells: Sequence[str], seeds: Sequence[int], seconds: float | None = None
) -> dict[str, list[Row]]:
    """Rows of all cells that are finished, by cell; those that are missing are done first, seed by seed.

    Args:
        config: what all cells have in common; ``out`` holds everything.
        cells, seeds: the cells.
        seconds: no further cell is begun after this time; None does all.

    Raises:
        ConfigError, DataError, CheckpointError: see their messages; finished cells stay.
    """
    started = time.monotonic()
    # Seed by seed: a call that is stopped leaves whole comparisons.
    plans = {(cell, seed): cell_config(config, cell, seed) for seed in seeds for cell in cells}
    marks = {key: mark_of(plan, config) for key, plan in plans.items()}
    rows: dict[str, list[Row]] = {cell: [] for cell in cells}
    bench: Bench | None = None
    for number, ((cell, seed), plan) in enumerate(plans.items(), start=1):
        file = Path(config.out) / "cells" / f"{cell}-{seed}-{marks[cell, seed]}.json"
        where = f"[{number}/{len(plans)}] {cell}, seed {seed}"
        if file.is_file():
            rows[cell].append(_kept(file))
            print(f"{where}: finished earlier", flush=True)
            continue
        if seconds is not None and time.monotonic() - started > seconds:
            print(f"{where}: left for the next call (--seconds)", flush=True)
            continue
        print(f"{where}: begins", flush=True)
        bench = bench or Bench(config, cells)
        row = bench.run(plan, cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, json.dumps(row, indent=1) + "\n")
        rows[cell].append(row)
        shutil.rmtree(plan.out, ignore_errors=True)
    return rows


def _kept(file: Path) -> Row:
    """A finished cell.

    Raises:
        DataError: its file is damaged.
    """
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}). Remove it, and run again.") from error


def mark_of(plan: RsaTrainConfig, config: RsaTrainConfig) -> str:
    """Eight digits that change with whatever a cell's figures depend on: settings, opinion scores, describer.

    Raises:
        CheckpointError: the describer's model is no checkpoint.
    """
    from seagull_tune.rsa.checkpoint import FORMAT_VERSION
    from seagull_tune.rsa.train import digest_of
    from seagull_tune.training.run_record import config_hash

    plain = plan.model_dump(mode="json", exclude={"out", "cache_dir", "log_every", "device", "report_to"})
    plain["describer"].pop("model")
    plain["data"].pop("images")
    plain["data"]["file"] = sha256_of(Path(config.data.file))
    plain |= {"digest": digest_of(plan), "format": FORMAT_VERSION}
    return config_hash(plain)[:8]


def report(config: RsaTrainConfig, rows: Mapping[str, Sequence[Row]]) -> str:
    """Writes ``table.json`` and ``table.md``; the latter's text."""
    from seagull_tune.model.checkpoint import model_digest
    from seagull_tune.rsa.opinion_data import read_rated

    pictures = read_rated(config.data)
    facts = {
        "pictures": len(pictures), "groups": len({picture.row.scene for picture in pictures}),
        "describer": model_digest(Path(config.describer.model)),
    }  # fmt: skip
    lines = summary(rows)
    whole = {**facts, "table": lines, "cells": [row for found in rows.values() for row in found]}
    text = table_of(lines, facts)
    atomic_write_text(Path(config.out) / "table.json", json.dumps(whole, indent=1) + "\n")
    atomic_write_text(Path(config.out) / "table.md", text)
    return text


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", type=Path, required=True, help="folder with mos.csv and images/")
    found.add_argument("--describer", type=Path, default=None, help="tuned model (default: that of bench-roi)")
    found.add_argument("--out", default="runs/rsa-quality", help="everything lies here (default: %(default)s)")
    found.add_argument("--cells", default=",".join(CELLS), help="by commas (default: all: %(default)s)")
    found.add_argument("--seeds", default="0,1,2,3,4", help="by commas (default: %(default)s)")
    found.add_argument("--seconds", type=float, default=None, help="begin no further cell after this time")
    found.add_argument("--set", dest="sets", action="append", default=[], metavar="A.B=C", help="override one key")
    found.add_argument("--dry-run", action="store_true", help="check everything, print the plan, stop")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the cells that are missing and print the table; ends with status 2 and one sentence where it cannot."""
    options = parser().parse_args(arguments)
    wait_politely()
    try:
        config = bench_config(options.data, options.describer, options.out, options.sets)
        cells, seeds = options.cells.split(","), _seeds(options.seeds)
        if options.dry_run:
            from seagull_tune.rsa.launch import plan

            plans = [cell_config(config, cell, seed) for seed in seeds for cell in cells]
            print(plan(plans[0]), f"{len(plans)} cells: {', '.join(cells)}; seeds {seeds}", sep="\n")
            return
        print(report(config, run_cells(config, cells, seeds, options.seconds)))
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds is {text!r}; whole numbers by commas are expected, as 0,1,2.") from None


if __name__ == "__main__":
    main()
