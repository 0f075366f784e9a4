"""The whole way once: photographs -> data set -> two trainings -> baselines -> figures -> report -> answer.

:func:`run` is the table of contents. Everything lies in the run's folder; a second call skips what is finished.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.runs import QuickstartConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.reader import RoiDataset
from seagull_tune.files import only_run_in
from seagull_tune.quickstart.measure import METRICS, REPORT, measure, publish, show_result
from seagull_tune.quickstart.plan import Plans, build_settings, make_plans, train_settings
from seagull_tune.quickstart.stages import Stages
from seagull_tune.training.run_record import peak_memory_gb, write_record

__all__ = ["run"]


def run(config: QuickstartConfig) -> Path:
    """Goes the whole way, or what is left of it.

    Args:
        config: the run.

    Returns:
        The folder of the finished checkpoint, ``<out>/model``.

    Raises:
        SeagullError: see its message; run again to go on.
    """
    config = config.with_folders()
    out, started = Path(config.out), time.monotonic()
    with only_run_in(out):
        stages = Stages(out, _say)
        plans = make_plans(config)
        _build(stages, "data", config.data, plans, out)
        _train(stages, "pretrain", config.pretrain)
        _train(stages, "finetune", config.finetune)
        publish(stages, config, out)
        if config.test is not None:
            _build(stages, "test", config.test, plans, out)
        measure(stages, config, held_out(config))
        show_result(out)
        _finish(stages, out, time.monotonic() - started)
    return out / "model"


def held_out(config: QuickstartConfig) -> RoiDataset:
    """The held-out samples of a run."""
    return RoiDataset(Path(config.out) / ("data" if config.test is None else "test"), "test")


def _build(stages: Stages, name: str, config: BuildConfig, plans: Plans, out: Path) -> None:
    def work() -> dict[str, Any]:
        summary = build_dataset(config, out / name)
        _say(summary.describe())
        return {
            "n_images": summary.n_images, "n_regions": summary.n_regions, "n_samples": summary.n_samples,
            "failed": [failure.image_id for failure in summary.failed], "recipe_hash": summary.recipe_hash,
        }  # fmt: skip

    # The front's cache belongs to the training data; another data set makes it useless.
    stages.run(name, build_settings(config, plans[name]), [name], work, stale=["front"] if name == "data" else ())


def _train(stages: Stages, name: str, config: TrainConfig) -> None:
    def work() -> dict[str, Any]:
        from seagull_tune.tune.recipe import train

        return {"model": str(train(config, resume=True))}

    stages.run(name, train_settings(config), [name], work)


def _finish(stages: Stages, out: Path, seconds: float) -> None:
    """Prints and records how long everything took."""
    peak = peak_memory_gb()
    for name, spent in stages.seconds.items():
        _say(f"  {name:10s} {spent:7.0f} s")
    total = sum(stages.seconds.values())
    _say(f"  {'all':10s} {total:7.0f} s (this call {seconds:.0f} s), peak memory {peak:.1f} GB")
    spent_by_stage = {name: round(spent, 1) for name, spent in stages.seconds.items()}
    write_record(out, "run", {}, {"stage_seconds": spent_by_stage, "seconds": round(total, 1)})
    _say(f"Model: {out / 'model'}   figures: {out / METRICS}   report: {out / REPORT}")


def _say(text: str) -> None:
    print(text, flush=True)
