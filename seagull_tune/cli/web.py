"""`web`: the page."""

from __future__ import annotations

from typing import Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, say, show_plan
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


@app.command(
    epilog=example(
        "seagull-tune web",
        "seagull-tune web --model runs/bench-roi/model --port 8080",
        "seagull-tune web --sam-checkpoint sam_vit_b.pth",
    )
)
def web(
    model: ModelOption = None,
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on [default: 127.0.0.1, this machine alone].")
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on [default: 7860].")] = None,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Open a page in the browser: click, draw or paint regions of a photograph, read their cards, ask about them."""
    from seagull_tune.config.web import WebConfig

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type) | {"host": host, "port": port}
    settings = resolve(WebConfig, config, overrides(changes, sets))
    from seagull_tune.web.server import require_free, require_gradio, serving

    require_gradio()
    name = require_model(settings)
    if dry_run:
        show_plan(settings, f"Serve a page about regions with {name} on http://{settings.host}:{settings.port}.")
        return
    require_free(settings.host, settings.port)  # before the model is loaded, which takes a while
    from seagull_tune.web.desk import Desk

    say(f"Loading {name} ...")
    desk = Desk(load_assessor(settings), segmenter_of(settings), settings)
    with serving(desk, settings) as page:
        if settings.host not in ("127.0.0.1", "localhost", "::1"):
            say("Everybody who reaches this address can use the page: it asks for no password (docs/web.md).")
        say(f"Open {page.url} in a browser; Ctrl-C ends.")
        page.wait()
