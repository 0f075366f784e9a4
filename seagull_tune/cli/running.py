"""Commands that train, and the look at the machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, show_plan

if TYPE_CHECKING:
    from seagull_tune.config.train import TrainConfig

DEFAULT_QUICKSTART = "configs/embedded/quickstart.yaml"

OutOption = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Run folder.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", min=1, help="Steps of each training: a few for a first look, more for quality.")
]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder of the data set.")]
EngineConfigOption = Annotated[
    Path | None,
    typer.Option("--engine-config", metavar="FILE", help="With --dry-run: accelerate configuration; default: all."),
]
ProcessesOption = Annotated[
    int | None, typer.Option("--processes", min=1, metavar="N", help="With --dry-run: memory and time on N GPUs.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on from the newest complete checkpoint of the run folder.")
]


@app.command(epilog=example("seagull-tune quickstart", "seagull-tune quickstart --steps 20 --out runs/look"))
def quickstart(
    steps: StepsOption = None,
    out: OutOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Go the whole way once: photographs, data set, both trainings, measured report, an answer.

    Finished stages are skipped when it is called again; a changed configuration redoes the first changed stage and
    those after it.
    """
    from seagull_tune.config.runs import QuickstartConfig

    changes = {"out": out, "pretrain.optimisation.steps": steps, "finetune.optimisation.steps": steps}
    settings = resolve(QuickstartConfig, config, overrides(changes, sets), DEFAULT_QUICKSTART).with_folders()
    if dry_run:
        from seagull_tune.quickstart.plan import describe

        show_plan(settings, *describe(settings))
        return
    from seagull_tune.quickstart import run

    run(settings)


@app.command(
    epilog=example(
        "seagull-tune pretrain --data runs/quickstart/data --out runs/mine/pretrain",
        "seagull-tune pretrain --config configs/embedded/pretrain.yaml --set optimisation.steps=100",
        "seagull-tune pretrain --config configs/train/seagull-7b-pretrain.yaml --processes 4 --dry-run",
    )
)
def pretrain(
    data: DataOption = None,
    out: OutOption = None,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="DIR", help="Checkpoint to start from; default: a new model.")
    ] = None,
    resume: ResumeOption = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
    engine_config: EngineConfigOption = None,
    processes: ProcessesOption = None,
) -> None:
    """Stage 1: shape the region tokens (one process; scripts/pretrain.py for several)."""
    settings = _training("pretrain", {"data": data, "out": out, "init": init}, config, sets)
    _plan("pretrain", settings, engine_config, processes) if dry_run else _train(settings, resume)


@app.command(
    epilog=example(
        "seagull-tune finetune --data runs/quickstart/data --init runs/mine/pretrain/model --out runs/mine/tuned"
    )
)
def finetune(
    data: DataOption = None,
    out: OutOption = None,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="DIR", help="Pre-trained checkpoint to start from.")
    ] = None,
    resume: ResumeOption = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
    engine_config: EngineConfigOption = None,
    processes: ProcessesOption = None,
) -> None:
    """Stage 2: teach the language model to answer (one process; scripts/finetune.py for several)."""
    settings = _training("finetune", {"data": data, "out": out, "init": init}, config, sets)
    _plan("finetune", settings, engine_config, processes) if dry_run else _train(settings, resume)


def _training(stage: str, changes: dict[str, Path | None], config: Path | None, sets: list[str] | None) -> TrainConfig:
    from seagull_tune.config.train import TrainConfig
    from seagull_tune.tune.launch import DEFAULTS

    return resolve(TrainConfig, config, overrides(changes, sets), DEFAULTS[stage])


def _plan(stage: str, settings: TrainConfig, engine_file: Path | None, processes: int | None) -> None:
    from seagull_tune.tune.plan import describe

    show_plan(settings, describe(stage, settings, engine_file, processes))


def _train(settings: TrainConfig, resume: bool) -> None:
    from seagull_tune.tune.recipe import train

    typer.echo(f"Finished checkpoint: {train(settings, resume)}")


@app.command(epilog=example("seagull-tune doctor", "seagull-tune doctor --json"))
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    sam_checkpoint: Annotated[
        Path | None, typer.Option("--sam-checkpoint", metavar="FILE", help="Weights of SAM that you mean to use.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Show what is installed, which models and devices are there, and what is missing for which feature."""
    from seagull_tune.config.tools import DoctorConfig

    settings = resolve(DoctorConfig, config, overrides({"sam_checkpoint": sam_checkpoint}, sets))
    if dry_run:
        show_plan(settings, "Look at packages, models, devices and tools; nothing is changed, no network is used.")
        return
    from seagull_tune.doctor import collect, render

    report = collect(settings.sam_checkpoint)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=1))
        return
    from rich import print as print_rich

    print_rich(render(report))
