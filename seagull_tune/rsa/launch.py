"""Command line of ``scripts/train_rsa.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.config.script import run_script, script_parser

DEFAULT = "configs/rsa/agiqa3k.yaml"


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains a scorer from command-line arguments, see :func:`~seagull_tune.config.script.run_script`."""
    parser = script_parser("train_rsa.py", "Train a scorer of whole images on opinion scores.", DEFAULT)
    run_script(parser.parse_args(arguments), RsaTrainConfig, DEFAULT, plan, _train, "scorer")


def _train(config: RsaTrainConfig, resume: bool) -> Path:
    # Only now, so that --help answers at once.
    from seagull_tune.rsa.train import train

    return train(config, resume=resume)


def plan(config: RsaTrainConfig) -> str:
    """What a training will do, in words; the opinion scores are read and divided where their file is there.

    Raises:
        DataError: the file is there and cannot be used.
    """
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
