"""The application, the options that commands share, and how errors end them.

Exit codes: 0 done; 1 done, but something was skipped or found wrong; 2 nothing was done, one sentence says why.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from seagull_tune import __version__
from seagull_tune.errors import SeagullError
from seagull_tune.threads import wait_politely

if TYPE_CHECKING:
    from seagull_tune.config.base import StrictModel

    T = TypeVar("T", bound=StrictModel)

DONE_IN_PART = 1
REFUSED = 2


class Commands(TyperGroup):
    """The group of all commands: an error raised on purpose ends a command with one sentence and no traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command that the arguments name."""
        wait_politely()
        for stream, odd in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
            if isinstance(stream, io.TextIOWrapper):
                # File names may hold bytes that no text has, and a terminal may lack letters: neither ends a command.
                stream.reconfigure(errors=odd)
        try:
            return super().invoke(ctx)
        except SeagullError as error:
            if ctx.params.get("debug"):
                raise
            say(f"{type(error).__name__}: {error}")
            raise typer.Exit(REFUSED) from None
        except OSError as error:
            # A closed pipe (`| head`) ends a command quietly; click sees to that.
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            say(f"{type(error).__name__}: {reason[0]}. Check space and permissions there; --debug shows the traceback.")
            raise typer.Exit(REFUSED) from None

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of a first use."""
        return [name for name in ORDER if name in self.commands]


ORDER = (
    "quickstart", "build", "import", "ratings", "export", "validate", "stats", "lint-prompts", "messages", "pretrain",
    "finetune", "calibrate", "merge", "convert", "evaluate", "compare", "assess", "score", "ask", "chat", "serve",
    "web", "schema", "doctor",
)  # fmt: skip

app = typer.Typer(
    name="seagull-tune",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    # rich would triple the time that --help takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="YAML file; a shipped one by its name, configs/...")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=C", help="Override one key of the configuration; repeatable.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Resolve and check everything, print the plan, and stop.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seagull-tune {__version__}")
        raise typer.Exit


@app.callback(epilog="Start with: seagull-tune quickstart")
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Teach a vision-language model to judge the image quality of regions, and ask it."""


def example(*lines: str) -> str:
    """The end of a command's help: commands to copy."""
    return "\n".join(["\b", "Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)])


def say(text: str) -> None:
    """A note for the person at the terminal, on standard error: standard output is for results."""
    typer.echo(text, err=True)


def overrides(values: Mapping[str, object], sets: Sequence[str] | None) -> list[str]:
    """Command-line flags and ``--set`` texts as overrides of a configuration; ``--set`` comes last.

    Args:
        values: dotted key -> value; None was not given. Paths are written as text.
        sets: ``a.b=c`` texts.
    """
    given = {
        key: str(value) if isinstance(value, Path) else value for key, value in values.items() if value is not None
    }
    # JSON is YAML: whatever is in a path or a name stays what it is.
    return [f"{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in given.items()] + list(
        sets or ()
    )


def resolve(model: type[T], config: Path | None, changes: Sequence[str], default: str | None = None) -> T:
    """The configuration of a command.

    Args:
        model: its pydantic model.
        config: ``--config``.
        changes: from :func:`overrides`.
        default: shipped file that is used where ``config`` is None.
    """
    from seagull_tune.config.base import load_config

    return load_config(model, config if config is not None else default, changes)


def show_plan(config: StrictModel, *lines: str) -> None:
    """What ``--dry-run`` prints: the plan in words, then the resolved configuration."""
    from seagull_tune.config.base import dump_config

    for line in lines:
        typer.echo(line)
    typer.echo("Configuration:")
    typer.echo("\n".join(f"  {line}" for line in dump_config(config).splitlines()))


def main() -> None:
    """The console command."""
    app()
