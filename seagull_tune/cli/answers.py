"""The command that asks a tuned model once: `ask`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seagull_tune.cli.app import (
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
    MaskOption,
    MaxPixelsOption,
    ModelOption,
    PointOption,
    PolygonOption,
    Regions,
    RleOption,
    SamCheckpointOption,
    SamTypeOption,
    answer_changes,
    load_assessor,
    require_model,
    segmenter_of,
)
from seagull_tune.errors import RegionError

if TYPE_CHECKING:
    from seagull_tune.config.answer import AnswerConfig
    from seagull_tune.infer.chat import ChatSession
    from seagull_tune.regions.parse import RegionQuery

Photograph = Annotated[Path, typer.Argument(metavar="IMAGE", help="A photograph.")]


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
    from seagull_tune.infer.questions import check_question

    if question or not as_json:
        check_question(question)
    session = _session_about(image, query, settings)
    if as_json:
        typer.echo(session.ask_in_json(question).model_dump_json())
        return
    session.ask(question, on_text=show_piece, max_new_tokens=settings.max_new_tokens)
    typer.echo()


def _session_about(image: Path, query: RegionQuery, settings: AnswerConfig) -> ChatSession:
    """A session about the one region that is named, or the whole image.

    Raises:
        RegionError: several were named.
    """
    from seagull_tune.images import read_image
    from seagull_tune.infer.chat import ChatSession
    from seagull_tune.regions.boxes import box_region

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
    return session


def show_piece(text: str) -> None:
    """A piece of an answer, shown at once."""
    typer.echo(text, nl=False)
    sys.stdout.flush()
