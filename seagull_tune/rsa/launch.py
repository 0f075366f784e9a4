"""Command line of ``scripts/train_rsa.py``: parse, resolve, show the plan or run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from textwrap import indent

from seagull_tune.config.base import dump_config, load_config, resolve_asset
from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.errors import SeagullError
from seagull_tune.threads import wait_politely

DEFAULT = "configs/rsa/agiqa3k.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a scorer from command-line arguments; errors on purpose end the process with a sentence and status 2."""
    wait_politely()
    parser = argparse.ArgumentParser(prog="train_rsa.py", description=__doc__)
    parser.add_argument("--config", default=None, help=f"YAML file (default: {DEFAULT})")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="A.B=C", help="override one key; repeatable"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the newest complete checkpoint of the run folder"
    )
    parser.add_argument(
        "--dry-run", action="store_true",
        help="resolve and check configuration and opinion scores, print the plan, and stop: no picture is read",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        config = load_config(RsaTrainConfig, options.config or resolve_asset(DEFAULT), options.overrides)
        if options.dry_run:
            if os.environ.get("RANK", "0") == "0":
                print(plan(config))
                print("Configuration:")
                print(indent(dump_config(config), "  "), end="")
            return
        # Only now, so that --help answers at once.
        from accelerate import PartialState

        from seagull_tune.rsa.train import train

        folder = train(config, resume=options.resume)
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if PartialState().is_main_process:
        print(f"Finished scorer: {folder}")


def plan(config: RsaTrainConfig) -> str:
    """What a training will do, in words; the opinion scores are read and divided where their file is there.

    Raises:
        DataError: the file is there and cannot be used.
    """
    from pathlib import Path

    lines = [f"Train a scorer on {config.data.file} into {config.out}/model:"]
    if Path(config.data.file).is_file():
        from seagull_tune.rsa.opinion_data import divide, read_rated

        parts = divide(read_rated(config.data), config.split)
        counts = [f"{len(part):,} of {len({p.row.scene for p in part}):,} groups" for part in parts]
        lines.append(f"  pictures: {counts[0]} to train on, {counts[1]} to test on")
    else:
        lines.append("  the opinion scores are not there yet: they are read when it runs")
    spec = config.scorer
    knows = "" if spec.semantics == "none" else f", described by {config.describer.model} ({spec.semantics})"
    lines.append(f"  backbone {spec.backbone.name}, frozen; attention {spec.attention}, head {spec.head}{knows}")
    lines.append(f"  {config.optimisation.epochs} epochs in batches of {config.optimisation.batch_size}")
    return "\n".join(lines)
