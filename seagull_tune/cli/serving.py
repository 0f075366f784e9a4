"""The command that serves a tuned model: `serve`."""

from __future__ import annotations

import importlib.util
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
    require_model,
)
from seagull_tune.errors import MissingDependencyError


@app.command(
    epilog=example(
        "seagull-tune serve --model runs/quickstart/model",
        "SEAGULL_KEY=secret seagull-tune serve --host 0.0.0.0 --port 9000 --api-key-env SEAGULL_KEY",
    )
)
def serve(
    model: ModelOption = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen [default: 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option("--port", help="[default: 8000]; 0 takes a free one.")] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option("--api-key-env", metavar="NAME", help="Environment variable with the key that clients must send."),
    ] = None,
    sam_checkpoint: SamCheckpointOption = None,
    sam_type: SamTypeOption = None,
    device: DeviceOption = None,
    max_pixels: MaxPixelsOption = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Serve a tuned model over HTTP: OpenAI-compatible chat, and numbers for regions (docs/server.md)."""
    from seagull_tune.config.serve import ServeConfig

    changes = answer_changes(model, device, max_pixels, sam_checkpoint, sam_type)
    changes["limits.pixels"] = changes.pop("max_pixels")
    changes |= {"host": host, "port": port, "api_key_env": api_key_env}
    settings = resolve(ServeConfig, config, overrides(changes, sets))
    name = require_model(settings)
    missing = [package for package in ("fastapi", "uvicorn") if importlib.util.find_spec(package) is None]
    if missing:
        raise MissingDependencyError(f"The server needs {' and '.join(missing)}: pip install 'seagull-tune[serve]'.")
    if dry_run:
        key = f"the key in {settings.api_key_env}" if settings.api_key_env else "no key"
        show_plan(settings, f"Serve {name} at {settings.host}, port {settings.port}, asking for {key}.")
        return
    from seagull_tune.serve.run import serve as run

    run(settings, say)
