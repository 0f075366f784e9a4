"""The command line: ``seagull-tune COMMAND``. Thin: every command resolves its configuration and calls one function.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

from seagull_tune.cli import answers, data, exchange, merging, running, schema
from seagull_tune.cli.app import app, main

__all__ = ["answers", "app", "data", "exchange", "main", "merging", "running", "schema"]
