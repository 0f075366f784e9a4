"""The command that judges regions: of a photograph, of several, of whole folders."""

from __future__ import annotations

from contextlib import nullcontext
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
from seagull_tune.cli.query import (
    BoxOption,
    DeviceOption,
    LabelMapsOption,
    MaskOption,
    MaxPixelsOption,
    ModelOption,
    PointOption,
    PolygonOption,
    Regions,
    RleOption,
    SamCheckpointOption,
    SamTypeOption,
    SeagullJsonOption,
    answer_changes,
    load_assessor,
    require_model,
    segmenter_of,
)

if TYPE_CHECKING:
    from seagull_tune.config.answer import AnswerConfig
    from seagull_tune.gallery.report import ReportFolder
    from seagull_tune.regions.parse import RegionQuery


ImagesArgument = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="Photographs, or folders of them (and of folders).")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every region that the segmenter finds.")]
TextOption = Annotated[bool, typer.Option("--text", help="Also describe every region in words (slower).")]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the lines there; FILE.csv and FILE.parquet are tables [default: -]."
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="DIR", help="Also draw every photograph; DIR/index.html leads through them."),
]


@app.command(
    epilog=example(
        "seagull-tune assess photo.jpg --box 10,20,200,300",
        "seagull-tune assess photo.jpg --polygon '10,20;150,40;120,140'",
        "seagull-tune assess a.jpg b.jpg --seagull-json rois.json",
        "seagull-tune assess a.jpg b.jpg --all --text --out answers.jsonl",
        "seagull-tune assess photos --all --out results.jsonl --report report",
    )
)
def assess(
    images: ImagesArgument,
    model: ModelOption = None,
    box: BoxOption = None,
    point: PointOption = None,
    polygon: PolygonOption = None,
    mask: MaskOption = None,
    rle: RleOption = None,
    seagull_json: SeagullJsonOption = None,
    regions: LabelMapsOption = None,
    all_: AllOption = False,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    text: TextOption = False,
    out: OutOption = None,
    report: ReportOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Judge regions of photographs: one line of JSON per region.

    A photograph that cannot be judged is named and skipped (exit code 1 at the end). Without a region option, every
    region that the graph segmenter finds is judged. FILE.summary.json says what failed and why. Of a folder, the same
    command goes on where it was stopped, and judges what is new. --report draws the regions by their quality.
    """
    from seagull_tune.config.answer import AnswerConfig
    from seagull_tune.gallery.report import ReportFolder
    from seagull_tune.infer.folder import find_photographs

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type) | {"text": True if text else None}
    settings = resolve(AnswerConfig, config, overrides(changes, sets))
    query = Regions(box, point, polygon, mask, rle, seagull_json, regions, all_).query()
    if query.empty:
        say(f"No region was named: taking all that the {settings.segmenter.method} segmenter finds (--all).")
        query = Regions(all=True).query()
    paths = find_photographs(images, [regions] if regions is not None else [])
    pages = ReportFolder(report, images, settings.max_pixels) if report is not None else None
    if dry_run:
        show_plan(
            settings, f"Judge regions of {len(paths)} photographs with {require_model(settings)}.",
            f"  regions: {query}", f"  lines go to {out or 'standard output'}, reports to {report or 'nowhere'}",
        )  # fmt: skip
        return
    _judge(images, paths, query, settings, out, pages)


def _judge(
    images: list[Path],
    paths: list[Path],
    query: RegionQuery,
    settings: AnswerConfig,
    out: Path | None,
    pages: ReportFolder | None,
) -> None:
    """Judges the photographs, writes their lines and pages, and says how it ended.

    Raises:
        typer.Exit: some could not be judged; the others are written.
    """
    from data_builders.progress import progress_bar
    from seagull_tune.infer.answer_file import SUMMARY_SUFFIX, answers_to
    from seagull_tune.infer.folder import judge, made_with

    segmenter, assessor = segmenter_of(settings), load_assessor(settings)
    whole_folders = any(place.is_dir() for place in images)
    origin = made_with(settings, assessor.name, query, images)
    bar = progress_bar("Judging", "photographs") if whole_folders else nullcontext(lambda done, total: None)
    with answers_to(out, origin, resume=whole_folders) as sink:
        with bar as tick:
            outcome = judge(paths, query, segmenter, assessor, settings, sink, tell=say, tick=tick, visit=pages)
        written = sink.finish(outcome.answered, outcome.to_dict())
    if not written:
        say(f"There is no line to write: {out} stays as it was.")
    if pages is not None:
        say(f"Report: {pages.finish(outcome.failed)}")
    if whole_folders:
        say(outcome.in_words() + (f" Summary: {out}{SUMMARY_SUFFIX}" if out is not None else ""))
    if outcome.failed:
        others = "; the others are done" if outcome.answered else ""
        say(f"{len(outcome.failed)} of {len(paths)} photographs could not be judged (named above){others}.")
        raise typer.Exit(DONE_IN_PART)
