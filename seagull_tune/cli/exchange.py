"""Commands that bring data sets in and out: `import`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seagull_tune.cli.app import (
    ConfigOption,
    DryRunOption,
    SetOption,
    app,
    example,
    overrides,
    resolve,
    show_plan,
)
from seagull_tune.cli.data import DataSet, ImageRoot, processors
from seagull_tune.cli.query import MaxPixelsOption

WorkersOption = Annotated[int | None, typer.Option("--workers", help="Processes; default: one per processor.")]


@app.command(
    epilog=example(
        "seagull-tune export runs/quickstart/data --format coco --out exported",
        "seagull-tune export runs/quickstart/data --format llava --split train --out exported",
    )
)
def export(
    dataset: DataSet,
    format: Annotated[str, typer.Option("--format", help="seagull, llava or coco (docs/data-format.md).")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the export.")],
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test; default: all.")] = None,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Write no pictures (llava, coco).")] = False,
    image_root: ImageRoot = None,
    workers: WorkersOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Write a data set in another layout, pictures rendered; the same command goes on where it was cut off."""
    from seagull_tune.config.exchange import ExportConfig

    changes = {
        "format": format, "split": split, "image_root": image_root, "workers": workers, "max_pixels": max_pixels,
        "pictures": False if labels_only else None,
    }  # fmt: skip
    settings = resolve(ExportConfig, config, overrides(changes, sets))
    if "workers" not in settings.model_fields_set:
        settings = settings.model_copy(update={"workers": processors()})
    if dry_run:
        show_plan(settings, f"Export the data set {dataset} as {settings.format} into {out}.")
        return
    from data_builders.exporters import export_dataset

    typer.echo(export_dataset(dataset, out, settings).describe())
