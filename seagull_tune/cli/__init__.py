"""The command line: ``seagull-tune COMMAND``. Thin: every command resolves its configuration and calls one function.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from seagull_tune.cli import (
    answers,
    assess,
    calibrating,
    data,
    exchange,
    measuring,
    merging,
    running,
    schema,
    scoring,
    serving,
    talking,
    web,
)
from seagull_tune.cli.app import app, main

__all__ = [
    "answers", "app", "assess", "calibrating", "data", "exchange", "main", "measuring", "merging", "running", "schema",
    "scoring", "serving", "talking", "web",
]  # fmt: skip
