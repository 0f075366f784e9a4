"""Command line of the training scripts: parse, resolve, show the plan or run. One parser for both stages."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

from seagull_tune.config.base import dump_config, load_config, resolve_asset
from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import SeagullError
from seagull_tune.threads import wait_politely

DEFAULTS = {"pretrain": "configs/embedded/pretrain.yaml", "finetune": "configs/embedded/finetune.yaml"}


def main(stage: str, arguments: Sequence[str] | None = None) -> None:
    """Runs one stage from command-line arguments; errors on purpose end the process with one sentence and status 2."""
    wait_politely()
    parser = argparse.ArgumentParser(prog=f"{stage}.py", description=__doc__)
    parser.add_argument("--config", default=None, help=f"YAML file (default: {DEFAULTS[stage]})")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="A.B=C", help="override one key; repeatable"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest complete checkpoint of the run folder"
    )
    parser.add_argument(
        "--dry-run", action="store_true",
        help="resolve and check the configuration, print what it will train and need, and stop: nothing is loaded",
    )  # fmt: skip
    parser.add_argument(
        "--engine-config", type=Path, default=None, metavar="FILE",
        help="with --dry-run: accelerate configuration of the engine (default: the launcher's; without one, all)",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, default=None, metavar="N", help="with --dry-run: so many GPUs")
    options = parser.parse_args(arguments)
    if options.processes is not None and options.processes < 1:
        parser.error(f"argument --processes: {options.processes} GPUs; allowed: a whole number from 1")
    try:
        config = load_config(TrainConfig, options.config or resolve_asset(DEFAULTS[stage]), options.overrides)
        if options.dry_run:
            show(stage, config, options.engine_config, options.processes)
            return
        # Only now, so that --help answers at once.
        from accelerate import PartialState

        from seagull_tune.tune.recipe import train

        folder = train(config, resume=options.resume)
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if PartialState().is_main_process:
        print(f"Finished checkpoint: {folder}")


def show(stage: str, config: TrainConfig, engine_file: Path | None, processes: int | None) -> None:
    """Prints the plan and the resolved configuration; of several processes, the first one does."""
    if os.environ.get("RANK", "0") != "0":
        return
    from seagull_tune.tune.plan import describe

    print(describe(stage, config, engine_file, processes))
    print("Configuration:")
    print(indent(dump_config(config), "  "), end="")
