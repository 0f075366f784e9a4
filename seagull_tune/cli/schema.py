"""The command that prints what answers look like to programs: `schema`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from seagull_tune.cli.app import ConfigOption, DryRunOption, SetOption, app, example, overrides, resolve, say, show_plan


@app.command(epilog=example("seagull-tune schema", "seagull-tune schema model --out schema.json"))
def schema(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help="line: of a line of `assess`; model: of what the model itself says to `ask --json` [default: line].",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there, not to standard output.")
    ] = None,
    config: ConfigOption = None,
    sets: SetOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Print the JSON Schema of answers (docs/answers.md describes every field)."""
    from seagull_tune.config.tools import SchemaConfig

    settings = resolve(SchemaConfig, config, overrides({"kind": kind}, sets))
    if dry_run:
        show_plan(settings, f"Write the JSON Schema of a {settings.kind} to {out or 'standard output'}.")
        return
    from seagull_tune.infer.serialise import line_schema
    from seagull_tune.instructions.structured import answer_schema

    text = json.dumps({"line": line_schema, "model": answer_schema}[settings.kind](), indent=2)
    if out is None:
        typer.echo(text)
        return
    from seagull_tune.errors import DataError
    from seagull_tune.files import atomic_write_text, why_not_written

    try:
        atomic_write_text(out, text + "\n")
    except OSError as error:
        raise DataError(f"{out} cannot be written: {why_not_written(error)}.") from error
    say(f"Schema: {out}")
