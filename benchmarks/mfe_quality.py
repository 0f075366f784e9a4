"""What every part of the feature extractor is worth: an ablation table at equal data, steps and language model.

    python -m benchmarks.mfe_quality --data DIR [--out runs/mfe-quality] [--cells ours,released] [--seeds 0,1,2]
                                     [--steps N] [--seconds S] [--set a.b=c]

DIR as for benchmarks/bench_roi.py, whose data and split these are: the first four fifths of the photographs train, the
last fifth tests. A cell is one variant under one seed: extractor and direct head learn from the labels as in
configs/embedded/pretrain.yaml (the same samples in the same order), then ``evaluate`` measures the direct head. Each
finished cell is a JSON file in ``<out>/cells``; a second call goes on with those that are missing, the cut-off one from
its last checkpoint and prediction. The released extractor reads whole maps, which are not cached, so its cells render
and run the tower at every visit and take far longer: its seconds are no measure of its speed (benchmarks/mfe_speed.py
is).

What it costs on 300 photographs of BSDS500 with 2 quiet processors: the data 16 s, once; each kind of statistics (ours
with its parts left out; the ring; boxes; means) 165 s of frozen front, once; a cell of ours 2 minutes of training (1095
steps; all this as bench-roi's pre-training takes it) and about one of measuring. A cell of the released extractor is
43,800 visits that render, run the tower and the extractor: 6 steps of 16 samples took 86 s on a busy machine, 0.9 s a
visit. So, three seeds each (by arithmetic; not run at full size yet):
    --cells ours       a quarter of an hour
    --cells released   up to 33 hours; with --steps 100 (and ours with as many) up to 3
    all of the others  an hour and a half
A look in minutes, which says nothing of quality: --seeds 0 --steps 6 --set data.samples_per_image=2, on a folder with
20 of the photographs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bench_roi import bench_config
from data_builders.pipeline import build_dataset
from seagull_tune.config.evaluate import EvaluationSettings
from seagull_tune.config.runs import QuickstartConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import ConfigError, SeagullError
from seagull_tune.evaluate.judging import draw_box
from seagull_tune.evaluate.protocols import evaluate_model
from seagull_tune.files import atomic_write_text
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.infer.scoring import direct_scores
from seagull_tune.records import Region, RegionAssessment
from seagull_tune.regions.boxes import box_region
from seagull_tune.threads import wait_politely
from seagull_tune.tune.recipe import train

VARIANTS: dict[str, dict[str, Any]] = {
    "released": {"mfe": "seagull", "mfe_hidden": 1024, "mfe_dropout": 0.0},
    "ours": {},
    "without-local": {"mfe_local": False},
    "without-global": {"mfe_global": False},
    "with-context": {"mfe_context": 0.25},
    "with-attention": {"mfe_attention": True},
    "box": {"mfe_region": "box"},
    "mean": {"mfe_pooling": "mean"},
    "mean-only": {"mfe_pooling": "mean", "mfe_local": False},
    "drawn-box": {},
}
"""Cells of the table -> settings laid over those of the pre-training configuration; ``ours`` reads no context.

``mean-only`` is what Osprey does with a region: means of feature maps under the mask, nothing else."""

DRAWN = {"drawn-box": "ours"}
"""Cells without a training of their own -> the cell whose model is asked about pictures with drawn boxes."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "quality SRCC": ("quality", "srcc"),
    "importance SRCC": ("importance", "srcc"),
    "types macro F1": ("types", "macro_f1"),
    "severity F1": ("severity", "f1"),
}


class DirectAssessor(RegionAssessor):
    """Judges regions by the direct head alone: the language model was not trained, and is not asked."""

    def assess(
        self, image: np.ndarray | str | Path, regions: Sequence[Region], text: bool | Collection[int] = False
    ) -> list[RegionAssessment]:
        """See :meth:`RegionAssessor.assess`; ``image`` is an array, and there are no texts."""
        if not isinstance(image, np.ndarray):
            raise TypeError("The benchmark judges arrays, not files.")
        with self.running():
            encoded = self.encode(image, regions)
            scores = direct_scores(self.model.judge_regions(encoded.tokens))
        return [
            RegionAssessment(region, said, said, "", False, self.name, encoded.size)
            for region, said in zip(regions, scores, strict=True)
        ]


class DrawnBoxAssessor(DirectAssessor):
    """Is asked about the whole picture, with the box of the region drawn on it."""

    def assess(
        self, image: np.ndarray | str | Path, regions: Sequence[Region], text: bool | Collection[int] = False
    ) -> list[RegionAssessment]:
        """See :meth:`DirectAssessor.assess`."""
        if not isinstance(image, np.ndarray):
            raise TypeError("The benchmark judges arrays, not files.")
        height, width = image.shape[:2]
        whole = [box_region((0, 0, width, height), height, width)]
        judge = super().assess  # a comprehension has no `super()` of its own before Python 3.12
        return [judge(draw_box(image, region.box_xyxy), whole)[0] for region in regions]


def cell_config(config: QuickstartConfig, variant: str, seed: int) -> TrainConfig:
    """The training of one cell, or of the one whose model it asks.

    Raises:
        ConfigError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"There is no variant {variant!r}; allowed: {', '.join(VARIANTS)}.")
    plain = config.with_folders().pretrain.model_dump()
    plain["model"] |= VARIANTS[variant]
    plain["seed"] = seed
    plain["evaluate_every"] = 0  # it costs time, and chooses nothing
    if plain["model"]["mfe"] == "seagull":
        plain["cache_front"] = False
        plain["optimisation"]["mixup"] = 0.0
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:8]
    plain["out"] = f"{config.out}/runs/{DRAWN.get(variant, variant)}-{seed}-{digest}"
    return TrainConfig.model_validate(plain)


def run_cell(
    train_config: TrainConfig, test: RoiDataset, settings: EvaluationSettings, drawn: bool = False
) -> dict[str, Any]:
    """Trains and measures one cell, or what is missing of it; its row of the table.

    Args:
        train_config: its training.
        test: what is measured.
        settings: how.
        drawn: whether the model is asked about whole pictures with drawn boxes.
    """
    started = time.monotonic()
    run = Path(train_config.out)
    model = run / "model"
    if not model.is_dir():
        model = train(train_config, resume=True)
    trained = time.monotonic() - started
    assessor = (DrawnBoxAssessor if drawn else DirectAssessor).from_pretrained(model)
    out = run / ("drawn.json" if drawn else "metrics.json")
    metrics = evaluate_model(assessor, test, settings, out).metrics
    row: dict[str, Any] = {}
    for name, keys in COLUMNS.items():
        value: Any = metrics
        for key in keys:
            value = value[key]
        row[name] = value
    row["parameters"] = sum(parameter.numel() for parameter in assessor.model.mfe.parameters())
    return row | {"train seconds": round(trained, 1), "seconds": round(time.monotonic() - started, 1)}


def run_cells(
    config: QuickstartConfig, variants: Sequence[str], seeds: Sequence[int], seconds: float | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Rows of all cells that are finished, by variant; those that are missing are done first.

    Args:
        config: data, training and measurement; ``out`` holds everything.
        variants, seeds: the cells.
        seconds: no further cell is begun after this time; None does all.

    Raises:
        ConfigError, DataError, TrainingError: see their messages; finished cells stay.
    """
    started = time.monotonic()
    plans = {(variant, seed): cell_config(config, variant, seed) for variant in variants for seed in seeds}
    out = Path(config.out)
    for name, data in (("data", config.data), ("test", config.test)):
        if data is not None:
            build_dataset(data, out / name)
    test = RoiDataset(out / ("test" if config.test is not None else "data"), "test")
    settings = config.evaluation.model_copy(update={"texts_per_image": 0})
    rows: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for number, ((variant, seed), plan) in enumerate(plans.items(), start=1):
        prefix = "" if variant not in DRAWN else f"{variant}-of-"
        file = out / "cells" / f"{prefix}{Path(plan.out).name}.json"
        if file.is_file():
            rows[variant].append(json.loads(file.read_text(encoding="utf-8")))
            print(f"[{number}/{len(plans)}] {variant}, seed {seed}: finished earlier", flush=True)
            continue
        if seconds is not None and time.monotonic() - started > seconds:
            print(f"[{number}/{len(plans)}] {variant}, seed {seed}: left for the next call (--seconds)", flush=True)
            continue
        print(f"[{number}/{len(plans)}] {variant}, seed {seed}: begins", flush=True)
        row = {"variant": variant, "seed": seed, **run_cell(plan, test, settings, variant in DRAWN)}
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, json.dumps(row, indent=1) + "\n")
        rows[variant].append(row)
    return rows


def summary(values: Sequence[float | None]) -> str:
    """Mean and deviation over seeds; a dash where a figure is not defined."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return "-"
    return f"{mean(known):.3f}" + (f" ± {stdev(known):.3f}" if len(known) > 1 else "")


def table_of(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """The table: a line per variant."""
    table = Table("extractor", "seeds", *COLUMNS, "parameters", "seconds", title="Direct head, mean ± deviation")
    for variant, cells in rows.items():
        if not cells:
            table.add_row(variant, "0")
            continue
        table.add_row(
            variant, str(len(cells)), *(summary([cell[name] for cell in cells]) for name in COLUMNS),
            f"{cells[0]['parameters']:,}", f"{mean(cell['seconds'] for cell in cells):.0f}",
        )  # fmt: skip
    return table


def main() -> None:
    """Do the cells that are missing and print the table; ends with status 2 and one sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and regions/")
    parser.add_argument("--out", default="runs/mfe-quality", help="everything lies here (default: %(default)s)")
    parser.add_argument("--cells", default=",".join(VARIANTS), help="variants, by commas (default: all)")
    parser.add_argument("--seeds", default="0,1,2", help="by commas (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=None, help="training steps of every cell (default: as configured)")
    parser.add_argument("--seconds", type=float, default=None, help="begin no further cell after this time")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="A.B=C", help="override one key")
    options = parser.parse_args()
    wait_politely()
    try:
        config = bench_config(options.data, options.out, options.steps, options.sets)
        seeds = [int(seed) for seed in options.seeds.split(",")]
        rows = run_cells(config, options.cells.split(","), seeds, options.seconds)
    except (SeagullError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    Console(width=140).print(table_of(rows))


if __name__ == "__main__":
    main()
