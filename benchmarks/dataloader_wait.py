"""How long a training step waits for the data loader, beside the bar, and what a sample costs at least.

    python benchmarks/dataloader_wait.py [--data DIR] [--photographs 6] [--steps 12] [--warm-up 3]

The run is the fine-tuning of `configs/embedded/finetune.yaml` in the real Trainer, on a data set built here from a few
photographs (those of --data, else built-in ones that need no network); its extractor is not trained before, which
changes no time. A step goes from where the step before it ended to where it ends; it waits until it begins. Every case
is run as configured and without loader processes, with the frozen front read from its cache (the setting) and computed
anew at every visit.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback, set_seed

from data_builders.pipeline import build_dataset
from data_builders.sources import few_sources
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BUILTIN_INSTALLED, BuildConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.collate import TrainingItem, picture_part
from seagull_tune.data.processor import to_device
from seagull_tune.data.reader import RoiDataset
from seagull_tune.training.arguments import start_engine
from seagull_tune.tune.recipe import Prepared, build_trainer, collator_of, prepare

SETTING = "configs/embedded/finetune.yaml"
DATA = "configs/data/default.yaml"
MOST_WAIT = 0.05
"""Share of a step's time, as configured."""
CASES: dict[str, tuple[str, ...]] = {
    "as configured": (),
    "no workers": ("workers=0",),
    "front not cached": ("cache_front=false",),
    "front not cached, no workers": ("cache_front=false", "workers=0"),
}


@dataclass
class StepClock(TrainerCallback):
    """When the optimiser steps of a run begin and end, in seconds of a steady clock."""

    begun: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Its batch is there."""
        self.begun.append(time.perf_counter())

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """The weights are updated."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ended.append(time.perf_counter())


@dataclass(frozen=True)
class Case:
    """A measured run: loader processes, and seconds per step, of which so many waiting."""

    name: str
    loader_workers: int
    step: float
    wait: float

    @property
    def share(self) -> float:
        """Of the step's time that is spent waiting."""
        return self.wait / self.step


def build(data: str, photographs: int, visits: int, folder: Path) -> Path:
    """A data set of about as many samples as the run visits."""
    ids = [source.image_id for source in few_sources(BuildConfig(source=data), photographs)]
    overrides = (
        f"source={data}", f"select.ids={[Path(name).with_suffix('').as_posix() for name in ids]}", "split.test=0.0",
        f"samples_per_image={math.ceil(visits / len(ids))}",
    )  # fmt: skip
    return build_dataset(load_config(BuildConfig, DATA, overrides), folder / "data").folder


def configuration(folder: Path, name: str, steps: int) -> TrainConfig:
    """The run of a case: the setting, cut to its steps and without saves."""
    overrides = (
        f"out={folder / name.replace(' ', '-')}", f"data={folder / 'data'}", f"cache_dir={folder / 'front'}",
        "init=null", f"optimisation.steps={steps}", f"log_every={10 * steps}", "evaluate_every=0", "save_every=0",
        *CASES[name],
    )  # fmt: skip
    return load_config(TrainConfig, SETTING, overrides)


def measure(name: str, config: TrainConfig, warm_up: int) -> tuple[Case, Prepared]:
    """Train, and time the steps after the first ones."""
    set_seed(config.seed)
    prepared, clock = prepare(config), StepClock()
    trainer = build_trainer(config, prepared)
    trainer.add_callback(clock)
    trainer.train()
    waits = [begun - ended for begun, ended in zip(clock.begun[1:], clock.ended[:-1], strict=True)][warm_up - 1 :]
    steps = [after - before for before, after in zip(clock.ended[:-1], clock.ended[1:], strict=True)][warm_up - 1 :]
    workers = trainer.args.dataloader_num_workers
    return Case(name, workers, statistics.fmean(steps), statistics.fmean(waits)), prepared


@torch.no_grad()
def floor(prepared: Prepared, cached: Prepared, count: int) -> dict[str, float]:
    """Median seconds of what a sample costs, part by part, one after the other."""
    rows, processor, model = RoiDataset(prepared.train.rows.folder, "train"), prepared.processor, prepared.model.eval()
    device = next(model.vision_tower.parameters()).device
    seconds: dict[str, list[float]] = {}

    def timed(part: str, work: Callable[..., Any], *values: Any) -> Any:
        started = time.perf_counter()
        result = work(*values)
        seconds.setdefault(part, []).append(time.perf_counter() - started)
        return result

    for image_id in rows.image_ids:
        timed("decode the photograph and its masks (once per image)", rows.load, image_id)
    for row in spread(len(rows), count):
        rendered = timed("distort", rows.__getitem__, row)
        visual = timed("resize, cut patches", processor.visual, rendered.image, rendered.masks)
        inputs = to_device(picture_part([TrainingItem("", rendered.labels, visual=visual)]), device)
        timed("tower and statistics", partial(model.encode_front, **inputs))
    collate = collator_of(cached)
    for row in spread(len(cached.train), count):
        item = timed("conversation, tokens, cached front", cached.train.__getitem__, row)
        timed("into a batch", collate, [item])
    return {part: statistics.median(values) for part, values in seconds.items()}


def spread(total: int, count: int) -> Sequence[int]:
    """``count`` indices (at most) spread over ``total``."""
    return range(0, total, max(1, total // count))


def show(cases: Sequence[Case], parts: dict[str, float], batch: int, steps: int) -> None:
    """Print both tables."""
    busy = os.getloadavg()[0]
    title = f"waiting for the data loader, mean of {steps} steps (load of the machine {busy:.1f})"
    table = Table("case", "loader processes", "s per step", "waits, ms", "share", "bar", "holds", title=title)
    for case in cases:
        barred = case.name == "as configured"
        table.add_row(
            case.name, str(case.loader_workers), f"{case.step:.2f}", f"{case.wait * 1000:.1f}", f"{case.share:.1%}",
            f"<= {MOST_WAIT:.0%}" if barred else "–",
            {True: "yes", False: "NO"}[case.share <= MOST_WAIT] if barred else "",
        )  # fmt: skip
    costs = Table(
        "part", "ms per sample", f"ms per batch of {batch}", title="what a sample costs in one process, median"
    )
    for part, seconds in parts.items():
        costs.add_row(part, f"{seconds * 1000:.1f}", "" if "once" in part else f"{seconds * 1000 * batch:.0f}")
    for each in (table, costs):
        Console(width=110).print(each)


def main() -> None:
    """Print the tables; exit code 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=BUILTIN_INSTALLED, help="folder of photographs; default: built-in ones")
    parser.add_argument("--photographs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=12, help="steps that count")
    parser.add_argument("--warm-up", type=int, default=3, help="steps before them, at least 1")
    arguments = parser.parse_args()
    start_engine()
    total = arguments.steps + max(1, arguments.warm_up)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        batch = load_config(TrainConfig, SETTING).optimisation.batch_size
        build(arguments.data, arguments.photographs, total * batch * PartialState().num_processes, folder)
        cases, cached, prepared = [], None, None
        for name in CASES:
            case, prepared = measure(name, configuration(folder, name, total), total - arguments.steps)
            cached = cached or prepared
            cases.append(case)
        assert cached is not None and prepared is not None
        show(cases, floor(prepared, cached, 24), batch, arguments.steps)
    sys.exit(int(cases[0].share > MOST_WAIT))


if __name__ == "__main__":
    main()
