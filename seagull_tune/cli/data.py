"""Commands about data sets and prompts: `build`, `validate`, `stats`, `lint-prompts`, `messages`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seagull_tune.cli.app import (
    DONE_IN_PART,
    ConfigOption,
    DryRunOption,
    SetOption,
    app,
    example,
    overrides,
    resolve,
    say,
    show_plan,
)
from seagull_tune.cli.query import LabelMapsOption, MaxPixelsOption, SamCheckpointOption
from seagull_tune.errors import ConfigError

if TYPE_CHECKING:
    from seagull_tune.config.data import BuildConfig

DEFAULT_BUILD = "configs/data/default.yaml"

SamplesOption = Annotated[int | None, typer.Option("--samples", help="Distorted versions of every photograph.")]
DataSet = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of a data set.")]
ImageRoot = Annotated[
    Path | None, typer.Option("--image-root", metavar="DIR", help="Where the photographs are now, if they were moved.")
]


@app.command(
    epilog=example(
        "seagull-tune build --images photos --out data/mine",
        "seagull-tune build --images photos --regions label_maps --samples 40 --out data/mine",
        "seagull-tune build --images photos --config configs/data/seagull-100w.yaml --plan 978720",
        "seagull-tune build --images photos --set executor=ray --set ray_address=auto --out /shared/data/mine",
    )
)
def build(
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder of the data set.")] = None,
    images: Annotated[
        str | None, typer.Option("--images", metavar="DIR", help="Folder of photographs, or 'builtin'.")
    ] = None,
    regions: LabelMapsOption = None,
    sam_checkpoint: SamCheckpointOption = None,
    samples: SamplesOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything that is drawn.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes; default: one per processor.")] = None,
    max_pixels: MaxPixelsOption = None,
    plan: Annotated[
        int | None,
        typer.Option("--plan", metavar="N_IMAGES", min=1, help="Say what N_IMAGES distorted images would cost; stop."),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Build an ROI data set from photographs; the same command goes on where it was cut off.

    Photographs that cannot be used are named and left out (exit code 1).
    """
    from seagull_tune.config.data import BuildConfig

    method = "label_maps" if regions is not None else "sam" if sam_checkpoint is not None else None
    changes = {
        "source": images, "regions.method": method, "regions.dir": regions, "regions.sam.checkpoint": sam_checkpoint,
        "samples_per_image": samples, "seed": seed, "workers": workers, "max_pixels": max_pixels,
    }  # fmt: skip
    settings = resolve(BuildConfig, config, overrides(changes, sets), DEFAULT_BUILD)
    if "workers" not in settings.model_fields_set:
        settings = settings.model_copy(update={"workers": processors()})
    if out is None and plan is None:
        raise ConfigError("Where is the data set to be? Name a folder with --out, or ask for the cost with --plan.")
    if dry_run:
        said = [f"Measure for some seconds what {plan:,} distorted images would cost."] if plan is not None else []
        built = [f"Build a data set in {out}:", f"  {plan_in_words(settings, out)}"] if out is not None else []
        show_plan(settings, *(said or built))
        return
    if plan is not None:
        from data_builders.estimate import estimate_build

        typer.echo(estimate_build(settings, plan).describe())
        return
    assert out is not None
    from data_builders.pipeline import build_dataset

    summary = build_dataset(settings, out)
    typer.echo(summary.describe())
    if summary.failed:
        raise typer.Exit(DONE_IN_PART)


def processors() -> int:
    """Processors that this process may use (macOS does not say, and all are counted)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan_in_words(config: BuildConfig, out: Path) -> str:
    """What a build would do; looks at a folder's photographs, fetches nothing."""
    from seagull_tune.config.data import BUILTIN_INSTALLED

    if config.source.startswith("builtin"):
        from seagull_tune.builtin_scenes import builtin_scenes

        count = len(builtin_scenes(config.source == BUILTIN_INSTALLED))
        return f"{count} built-in photographs, {config.samples_per_image} samples of each, seed {config.seed}"
    from data_builders.pipeline import plan_build

    return plan_build(config, out).describe()


@app.command(
    epilog=example(
        "seagull-tune validate runs/quickstart/data", "seagull-tune validate runs/quickstart/data --prompts my-prompts"
    )
)
def validate(
    dataset: DataSet,
    image_root: ImageRoot = None,
    tables_only: Annotated[
        bool, typer.Option("--tables-only", help="Do not read the photographs: only the tables.")
    ] = False,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="DIR", help="Prompts of your own that it is trained with.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Check every row of a data set, and its prompts; name what is wrong (exit code 1 if anything is).

    What is valid but not plausible is a warning: rare classes, contradictory labels, near copies across splits.
    """
    from seagull_tune.config.tools import ValidateConfig

    changes = {"image_root": image_root, "check_images": False if tables_only else None, "prompts": prompts}
    settings = resolve(ValidateConfig, config, overrides(changes, sets))
    if dry_run:
        show_plan(settings, f"Check every row of the data set {dataset}, and its prompts; nothing is changed.")
        return
    from data_builders.validate import validate_dataset

    report = validate_dataset(
        dataset,
        settings.image_root,
        settings.check_images,
        prompts=settings.prompts,
        lint=settings.lint,
        limits=settings.plausibility,
    )
    typer.echo(report.describe(settings.shown))
    if not report.ok:
        raise typer.Exit(DONE_IN_PART)


@app.command(epilog=example("seagull-tune stats runs/quickstart/data --sheet sheet.png"))
def stats(
    dataset: DataSet,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE.png", help="Also draw a contact sheet.")
    ] = None,
    image_root: ImageRoot = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Show what is in a data set: counts, histograms, and a contact sheet."""
    from seagull_tune.config.tools import StatsConfig

    settings = resolve(StatsConfig, config, overrides({"image_root": image_root}, sets))
    if dry_run:
        drawn = f", and draw a contact sheet into {sheet}" if sheet else ""
        show_plan(settings, f"Count what is in the data set {dataset}{drawn}.")
        return
    from data_builders.inspect import dataset_stats, print_stats

    print_stats(dataset_stats(dataset))
    if sheet is not None:
        from data_builders.contact_sheet import contact_sheet

        contact_sheet(
            dataset, sheet, settings.split, settings.images, settings.samples_per_image, settings.cell,
            settings.image_root,
        )  # fmt: skip
        say(f"Contact sheet: {sheet}")


@app.command("lint-prompts", epilog=example("seagull-tune lint-prompts", "seagull-tune lint-prompts my-prompts"))
def lint_prompts(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Folder of prompt files; default: the package's own.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Check a folder of questions and answer forms, and name what should be changed (exit code 1 if anything)."""
    from seagull_tune.config.tools import LintConfig

    settings = resolve(LintConfig, config, overrides({}, sets))
    if dry_run:
        show_plan(settings, f"Check {folder if folder else 'the shipped prompts'}; nothing is changed.")
        return
    from seagull_tune.instructions.lint import lint_prompts as lint

    report = lint(folder, settings)
    typer.echo(report.describe())
    if not report.ok:
        raise typer.Exit(DONE_IN_PART)


@app.command(
    epilog=example(
        "seagull-tune messages runs/quickstart/data --out messages.jsonl",
        "seagull-tune messages runs/quickstart/data --split train --set conversation.turns=2 --out train.jsonl",
        "seagull-tune messages data/with-pairs --pairs --out messages.jsonl",
    )
)
def messages(
    dataset: DataSet,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.jsonl", help="File with one conversation a line.")],
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test; default: all.")] = None,
    visits: Annotated[int | None, typer.Option("--visits", help="Conversations per sample.")] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="DIR", help="Prompts of your own; default: the package's.")
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Also conversations about both pictures of a pair.")] = False,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Write the questions and answers of a data set as JSON lines, as a training would draw them."""
    from seagull_tune.config.tools import MessagesConfig

    changes = {"split": split, "visits": visits, "prompts": prompts, "pairs": pairs or None}
    settings = resolve(MessagesConfig, config, overrides(changes, sets))
    if dry_run:
        show_plan(settings, f"Write the conversations of the data set {dataset} into {out}; no picture is read.")
        return
    from seagull_tune.data.messages import write_messages
    from seagull_tune.data.reader import RoiDataset
    from seagull_tune.instructions.templates import load_prompts

    texts = load_prompts(settings.prompts)
    rows = RoiDataset(dataset, settings.split)
    count = write_messages(rows, out, texts, settings.conversation, settings.visits, pairs=settings.pairs)
    typer.echo(f"{count} conversations: {out}")
