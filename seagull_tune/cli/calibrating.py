"""The command that makes a tuned model's numbers honest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, say, show_plan
from seagull_tune.cli.data import ImageRoot
from seagull_tune.cli.query import DeviceOption, ModelOption


@app.command(
    epilog=example(
        "seagull-tune calibrate --model runs/mine/finetune/model --data runs/mine/data",
        "seagull-tune calibrate --model runs/quickstart/model --data data/held-out",
    )
)
def calibrate(
    data: Annotated[
        Path, typer.Option("--data", metavar="DATASET", help="Data set with photographs that it was not trained on.")
    ],
    model: ModelOption = None,
    split: Annotated[
        str | None, typer.Option("--split", help="validation (default) or test: never the photographs of the training.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Predictions and figure; default: MODEL-calibration.")
    ] = None,
    image_root: ImageRoot = None,
    device: DeviceOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Fit a model's probabilities and scores to held-out regions; the fit becomes a part of the checkpoint.

    Reports its errors before and after, of photographs that were left out of the fit. The same command goes on where it
    was cut off. What a model was calibrated on cannot test it any more.
    """
    from seagull_tune.config.calibrate import CalibrateConfig

    changes = {
        "model": model, "data": data, "split": split, "out": out, "image_root": image_root, "engine.device": device,
    }  # fmt: skip
    settings = resolve(CalibrateConfig, config, overrides(changes, sets))
    from seagull_tune.evaluate.calibrate import calibrate_checkpoint, plan_calibration

    plan = plan_calibration(settings)
    if dry_run:
        show_plan(settings, plan)
        return
    say(plan)
    typer.echo(calibrate_checkpoint(settings))
