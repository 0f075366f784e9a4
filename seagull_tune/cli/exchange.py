"""Commands that bring data sets in and out, and models in: `import`, `ratings`, `export`, `convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from seagull_tune.cli.data import DataSet, ImageRoot, processors
from seagull_tune.cli.query import MaxPixelsOption

LowOption = Annotated[float | None, typer.Option("--low", help="Lowest score of the declared range.")]
HighOption = Annotated[float | None, typer.Option("--high", help="Highest score of the declared range.")]
DirectionOption = Annotated[
    bool | None, typer.Option("--higher-is-better/--lower-is-better", help="What a high score means.")
]
ScoreOption = Annotated[str | None, typer.Option("--score", metavar="COLUMN", help="Column of the score.")]
ImageOption = Annotated[str | None, typer.Option("--image", metavar="COLUMN", help="Column of the image file.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Processes; default: one per processor.")]


@app.command(
    epilog=example(
        "seagull-tune export runs/quickstart/data --format coco --out exported",
        "seagull-tune export runs/quickstart/data --format llava --split train --out exported",
        "seagull-tune export data/with-pairs --format llava --pairs --out exported",
    )
)
def export(
    dataset: DataSet,
    format: Annotated[str, typer.Option("--format", help="seagull, llava or coco (docs/data-format.md).")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the export.")],
    split: Annotated[str | None, typer.Option("--split", help="train, validation or test; default: all.")] = None,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Write no pictures (llava, coco).")] = False,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also conversations about both pictures of a pair (llava).")
    ] = False,
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
        "pictures": False if labels_only else None, "pairs": pairs or None,
    }  # fmt: skip
    settings = resolve(ExportConfig, config, overrides(changes, sets))
    if "workers" not in settings.model_fields_set:
        settings = settings.model_copy(update={"workers": processors()})
    if dry_run:
        show_plan(settings, f"Export the data set {dataset} as {settings.format} into {out}.")
        return
    from data_builders.exporters import export_dataset

    typer.echo(export_dataset(dataset, out, settings).describe())


@app.command(
    "import",
    epilog=example(
        "seagull-tune import mos scores.csv --low 1 --high 5 --higher-is-better --out data/mos",
        "seagull-tune import ratings ratings.csv --images photos --regions label_maps "
        "--low 1 --high 5 --higher-is-better --out data/rated",
        "seagull-tune import coco instances.json --out regions",
        "seagull-tune import seagull SEAGULL-100w --out data/100w",
    ),
)
def import_(
    format: Annotated[
        str, typer.Argument(metavar="FORMAT", help="seagull, coco, mos, ratings, pandabench or qground.")
    ],
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The data set's folder, or (mos, ratings, coco) its file.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder for the result.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", help="Where pictures (mos, ratings) or panoptic PNG (coco) are."),
    ] = None,
    regions: Annotated[
        Path | None, typer.Option("--regions", metavar="DIR", help="Where the rated regions are (ratings).")
    ] = None,
    low: LowOption = None,
    high: HighOption = None,
    higher_is_better: DirectionOption = None,
    score: ScoreOption = None,
    image: ImageOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Bring a data set of others in: into our tables, or (coco) into regions for `build`.

    What cannot be used is named and left out (exit code 1).
    """
    from seagull_tune.config.exchange import ImportConfig

    table = "ratings" if format == "ratings" else "mos"
    scores = _score_changes(low, high, higher_is_better, score, image)
    changes = {
        "format": format, "source": source, "images": images, "regions": regions, "max_pixels": max_pixels,
        **{f"{table}.{key}": value for key, value in scores.items()},
    }  # fmt: skip
    settings = resolve(ImportConfig, config, overrides(changes, sets))
    if dry_run:
        made = "regions for `build`" if settings.format == "coco" else "a data set"
        show_plan(settings, f"Make {made} in {out} from the {settings.format} data {source}.")
        return
    from data_builders.importers import import_dataset
    from data_builders.importers.coco import import_regions

    run = import_regions if settings.format == "coco" else import_dataset
    summary = run(settings, out)
    typer.echo(summary.describe())
    if summary.failed:
        raise typer.Exit(DONE_IN_PART)


@app.command(
    epilog=example("seagull-tune ratings ratings.csv --low 1 --high 5 --higher-is-better --out regions.csv"),
)
def ratings(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV or JSON lines: image, region, rater, score per line.")
    ],
    low: LowOption = None,
    high: HighOption = None,
    higher_is_better: DirectionOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv", help="Also write mean and deviation per region.")
    ] = None,
    score: ScoreOption = None,
    image: ImageOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Show how well people agree who rated regions, and who is left out; `import ratings` makes a data set of them.

    Raters are left out whose SRCC with the mean of all others is below rule.min_srcc, and those that ITU-R BT.500's
    outlier test rejects (exit code 1 if anybody is, or a region has too few ratings).
    """
    from seagull_tune.config.exchange import RatingTable

    changes = _score_changes(low, high, higher_is_better, score, image)
    settings = resolve(RatingTable, config, overrides(changes, sets))
    if dry_run:
        written = f", and write mean and deviation per region into {out}" if out else ""
        show_plan(settings, f"Read the ratings {file}, screen the raters{written}.")
        return
    from data_builders.ratings import summarise_ratings

    summary = summarise_ratings(file, settings)
    typer.echo(summary.describe())
    if out is not None:
        summary.write_table(out)
        say(f"Regions: {out}")
    if summary.left_out or summary.too_few:
        raise typer.Exit(DONE_IN_PART)


@app.command(
    epilog=example(
        "seagull-tune convert seagull SEAGULL-7B --out models/seagull-7b",
        "seagull-tune convert seagull hub:ORGANISATION/SEAGULL-7B@main --out models/seagull-7b",
        "seagull-tune convert seagull SEAGULL-7B --tower open_clip_pytorch_model.bin --out models/seagull-7b",
    )
)
def convert(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help="seagull: the layout of SEAGULL-7B.")],
    source: Annotated[
        str,
        typer.Argument(metavar="DIR", help="Folder with config.json, weights and tokenizer; or hub:ID@REVISION."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The checkpoint.")],
    tower: Annotated[
        Path | None,
        typer.Option("--tower", metavar="FILE", help="The vision tower's weights, where DIR does not hold them."),
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Make one of our checkpoints of a released model; every tensor is shown with its place.

    Nothing may be missing or unknown. With --dry-run a release that is here, or was fetched from the hub before, is
    read and checked, and nothing is written.
    """
    from seagull_tune.config.convert import ConvertConfig
    from seagull_tune.model.convert_seagull import convert_release, is_here, read_release

    settings = resolve(ConvertConfig, config, overrides({"format": format, "source": source, "tower": tower}, sets))
    if dry_run:
        here = is_here(settings.source)
        typer.echo(read_release(settings).table() if here else f"{source} is not here (yet): nothing was checked.")
        show_plan(settings, f"Convert {source} into the checkpoint {out}.")
        return
    typer.echo(convert_release(settings, out).table())
    typer.echo(f"Checkpoint: {out}")


def _score_changes(
    low: float | None, high: float | None, higher_is_better: bool | None, score: str | None, image: str | None
) -> dict[str, object]:
    """What the options about scores change in a table of scores."""
    return {
        "scale.low": low, "scale.high": high, "scale.higher_is_better": higher_is_better, "score": score,
        "image": image,
    }  # fmt: skip
