"""Commands that ask a tuned model: `assess`, `ask`, `chat`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

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
from seagull_tune.errors import DataError, RegionError, SeagullError
from seagull_tune.files import is_stream, why_not_written

if TYPE_CHECKING:
    from seagull_tune.config.answer import AnswerConfig
    from seagull_tune.regions.parse import RegionQuery

Photograph = Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")]


@app.command(
    epilog=example(
        "seagull-tune assess photo.jpg --box 10,20,200,300",
        "seagull-tune assess photo.jpg --polygon '10,20;150,40;120,140'",
        "seagull-tune assess a.jpg b.jpg --seagull-json rois.json",
        "seagull-tune assess a.jpg b.jpg --all --text --out answers.jsonl",
    )
)
def assess(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photographs.")],
    model: ModelOption = None,
    box: BoxOption = None,
    point: PointOption = None,
    polygon: PolygonOption = None,
    mask: MaskOption = None,
    rle: RleOption = None,
    seagull_json: SeagullJsonOption = None,
    regions: LabelMapsOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every region that the segmenter finds.")] = False,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    text: Annotated[bool, typer.Option("--text", help="Also describe every region in words (slower).")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the lines there, not to standard output.")
    ] = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Judge regions of photographs: one line of JSON per region.

    A photograph that cannot be judged is named and skipped (exit code 1 at the end). Without a region option, every
    region that the graph segmenter finds is judged.
    """
    from seagull_tune.config.answer import AnswerConfig

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type) | {"text": True if text else None}
    settings = resolve(AnswerConfig, config, overrides(changes, sets))
    query = Regions(box, point, polygon, mask, rle, seagull_json, regions, all_).query()
    if query.empty:
        say(f"No region was named: taking all that the {settings.segmenter.method} segmenter finds (--all).")
        query = Regions(all=True).query()
    if dry_run:
        show_plan(
            settings, f"Judge regions of {len(images)} photographs with {require_model(settings)}.",
            f"  regions: {query}", f"  lines go to {out or 'standard output'}",
        )  # fmt: skip
        return
    failed = _assess_all(images, query, settings, out)
    if failed:
        others = "; the others are done" if failed < len(images) else ""
        say(f"{failed} of {len(images)} photographs could not be judged (named above){others}.")
        raise typer.Exit(DONE_IN_PART)


def _assess_all(images: list[Path], query: RegionQuery, config: AnswerConfig, out: Path | None) -> int:
    """Judges photograph after photograph; returns how many failed."""
    from seagull_tune.images import read_image
    from seagull_tune.infer.serialise import to_json_line

    segmenter = segmenter_of(config)
    assessor = load_assessor(config)
    failed = 0
    with _lines_to(out) as file:
        for path in images:
            try:
                image = read_image(path, config.max_pixels)
                found = query.resolve(image, path, segmenter)
                answers = assessor.assess(image, found, config.text)
            except SeagullError as error:
                failed += 1
                say(str(error) if str(path) in str(error) else f"{path}: {error}")
                continue
            for answer in answers:
                file.write(to_json_line(answer, str(path)) + "\n")
            file.flush()
    return failed


@contextmanager
def _lines_to(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that takes its name when it is complete; a cut-off one stays as ``FILE.partial``.

    Raises:
        DataError: it is a folder, or cannot be written.
    """
    if out is None:
        yield sys.stdout
        return
    out = Path(os.path.realpath(out))
    if out.is_dir():
        raise DataError(f"{out} is a folder; name a file for the lines: --out FILE.")
    if is_stream(out):
        with out.open("w", encoding="utf-8") as stream:
            yield stream
        return
    partial = out.with_name(out.name + ".partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            yield file
            empty = file.tell() == 0
        if empty and out.is_file():  # no photograph could be judged: the lines of an earlier run are worth more
            partial.unlink()
            say(f"There is no line to write: {out} stays as it was.")
        else:
            os.replace(partial, out)
    except OSError as error:
        kept = f" Lines written so far are in {partial}." if partial.is_file() else ""
        raise DataError(f"{out} cannot be written: {why_not_written(error)}.{kept}") from error


@app.command(
    epilog=example(
        'seagull-tune ask photo.jpg "How is the quality of this region?" --box 10,20,200,300',
        "seagull-tune ask photo.jpg --json --box 10,20,200,300",
    )
)
def ask(
    image: Photograph,
    question: Annotated[
        str, typer.Argument(metavar="[QUESTION]", help="In your own words; may be left out with --json.")
    ] = "",
    model: ModelOption = None,
    box: BoxOption = None,
    point: PointOption = None,
    polygon: PolygonOption = None,
    mask: MaskOption = None,
    rle: RleOption = None,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Let the model answer in JSON, which a grammar keeps valid (extra json).")
    ] = False,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Ask one question about one region of a photograph; the answer appears as it is written.

    With --json the model itself writes an object of the form that `seagull-tune schema model` describes. For numbers,
    use `assess`.
    """
    from seagull_tune.config.answer import AnswerConfig

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type)
    settings = resolve(AnswerConfig, config, overrides(changes, sets))
    query = Regions(box, point, polygon, mask, rle).query()
    if dry_run:
        about = "the whole image" if query.empty else str(query)
        show_plan(
            settings,
            f"Ask {require_model(settings)} about {image}: {question or 'its JSON answer'!r}",
            f"  region: {about}",
        )
        return
    from seagull_tune.images import read_image
    from seagull_tune.infer.chat import ChatSession, check_question
    from seagull_tune.regions.boxes import box_region

    if question or not as_json:
        check_question(question)
    pixels = read_image(image, settings.max_pixels)
    height, width = pixels.shape[:2]
    if query.empty:
        say("No region was named: asking about the whole image.")
        found = [box_region((0, 0, width, height), height, width)]
    else:
        found = query.resolve(pixels, image, segmenter_of(settings))
    if len(found) != 1:
        raise RegionError(f"{len(found)} regions were named; `ask` is about one. Use `seagull-tune chat` for several.")
    session = ChatSession(load_assessor(settings), pixels)
    session.add_region(found[0])
    if as_json:
        typer.echo(session.ask_in_json(question).model_dump_json())
        return
    session.ask(question, on_text=show_piece, max_new_tokens=settings.max_new_tokens)
    typer.echo()


@app.command(epilog=example("seagull-tune chat photo.jpg", "seagull-tune chat photo.jpg --model runs/bench-roi/model"))
def chat(
    image: Photograph,
    model: ModelOption = None,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Talk about a photograph: name regions, ask about them, see the answers as they are written. /help inside."""
    from seagull_tune.config.answer import AnswerConfig

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type)
    settings = resolve(AnswerConfig, config, overrides(changes, sets))
    if dry_run:
        show_plan(settings, f"Talk with {require_model(settings)} about {image}.")
        return
    from seagull_tune.cli.repl import Repl
    from seagull_tune.images import read_image

    pixels = read_image(image, settings.max_pixels)
    Repl(load_assessor(settings), segmenter_of(settings), settings, show=show_piece).run(pixels, str(image))


def show_piece(text: str) -> None:
    """A piece of an answer, shown at once."""
    typer.echo(text, nl=False)
    sys.stdout.flush()
