"""Commands of conversations: `chat` at the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seagull_tune.cli.answers import show_piece
from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, show_plan
from seagull_tune.cli.query import (
    DeviceOption,
    MaxPixelsOption,
    ModelOption,
    SamCheckpointOption,
    SamTypeOption,
    answer_changes,
    load_assessor,
    require_model,
    segmenter_of,
)
from seagull_tune.errors import ConfigError


@app.command(
    epilog=example(
        "seagull-tune chat photo.jpg",
        "seagull-tune chat photo.jpg --model runs/bench-roi/model",
        "seagull-tune chat --history talk.json",
    )
)
def chat(
    image: Annotated[
        Path | None,
        typer.Argument(metavar="IMAGE", help="A photograph; with --history only where it is elsewhere now."),
    ] = None,
    history: Annotated[
        Path | None, typer.Option("--history", metavar="FILE", help="Go on with a conversation that /save kept.")
    ] = None,
    model: ModelOption = None,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Talk about a photograph: name regions, compare them, see the answers as they are written. /help inside."""
    from seagull_tune.config.answer import AnswerConfig

    if image is None and history is None:
        raise ConfigError("Name a photograph, or a saved conversation with --history FILE.")
    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type)
    settings = resolve(AnswerConfig, config, overrides(changes, sets))
    if dry_run:
        about = image if history is None else f"what {history} is about"
        show_plan(settings, f"Talk with {require_model(settings)} about {about}.")
        return
    from seagull_tune.cli.repl import Repl
    from seagull_tune.images import read_image
    from seagull_tune.infer.chat import ChatSession
    from seagull_tune.infer.history import photograph_of, read_history

    # Before the model is loaded, which takes seconds: whatever is wrong with the files.
    if history is not None:
        pixels = photograph_of(read_history(history), history, image, settings.max_pixels)
    else:
        assert image is not None
        pixels = read_image(image, settings.max_pixels)
    assessor = load_assessor(settings)
    if history is None:
        session = ChatSession(assessor, pixels, image)
    else:
        session = ChatSession.load(assessor, history, image or pixels, settings.max_pixels)
    Repl(assessor, segmenter_of(settings), settings, show=show_piece).run(session)
