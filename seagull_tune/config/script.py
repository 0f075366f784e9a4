"""Command line of the training scripts: parse, resolve, show the plan or run; one way for all of them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import indent
from typing import TypeVar

from seagull_tune.config.base import StrictModel, dump_config, load_config, resolve_asset
from seagull_tune.errors import SeagullError
from seagull_tune.threads import wait_politely

Config = TypeVar("Config", bound=StrictModel)


def script_parser(script: str, purpose: str, default: str) -> argparse.ArgumentParser:
    """The options that every training script has.

    Args:
        script: its file name.
        purpose: what it is for, a sentence.
        default: the configuration that is taken where none is named.
    """
    parser = argparse.ArgumentParser(prog=script, description=purpose)
    parser.add_argument("--config", default=None, help=f"YAML file (default: {default})")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="A.B=C", help="override one key; repeatable"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest complete checkpoint of the run folder"
    )
    parser.add_argument(
        "--dry-run", action="store_true",
        help="resolve and check the configuration, print what it will train and need, and stop: no picture is read",
    )  # fmt: skip
    return parser


def run_script(
    options: argparse.Namespace,
    config_class: type[Config],
    default: str,
    plan: Callable[[Config], str],
    train: Callable[[Config, bool], Path],
    product: str,
) -> None:
    """Trains, or shows what would be trained; errors on purpose end the process with a sentence and status 2.

    Args:
        options: what :func:`script_parser` read.
        config_class: of the configuration.
        default: as for :func:`script_parser`.
        plan: a configuration in words.
        train: (configuration, whether to resume) -> where the product lies.
        product: what it is called when it is finished.
    """
    wait_politely()
    try:
        config = load_config(config_class, options.config or resolve_asset(default), options.overrides)
        if not options.dry_run:
            folder = train(config, options.resume)
            if _speaks():
                print(f"Finished {product}: {folder}")
        elif _speaks():
            print(plan(config))
            print("Configuration:")
            print(indent(dump_config(config), "  "), end="")
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _speaks() -> bool:
    """Whether this is the first of several processes; a launcher, or accelerate when it starts, has set its rank."""
    return os.environ.get("RANK", "0") == "0"
