"""Command line of ``scripts/pretrain.py`` and ``scripts/finetune.py``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seagull_tune.config.script import run_script, script_parser
from seagull_tune.config.train import TrainConfig

DEFAULTS = {"pretrain": "configs/embedded/pretrain.yaml", "finetune": "configs/embedded/finetune.yaml"}
PURPOSES = {"pretrain": "Stage 1: shape the region tokens.", "finetune": "Stage 2: teach the language model to answer."}


def main(stage: str, arguments: Sequence[str] | None = None) -> None:
    """Runs one stage from command-line arguments, see :func:`~seagull_tune.config.script.run_script`."""
    parser = script_parser(f"{stage}.py", PURPOSES[stage], DEFAULTS[stage])
    parser.add_argument(
        "--engine-config", type=Path, default=None, metavar="FILE",
        help="with --dry-run: accelerate configuration of the engine (default: the launcher's; without one, all)",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, default=None, metavar="N", help="with --dry-run: so many GPUs")
    options = parser.parse_args(arguments)
    if options.processes is not None and options.processes < 1:
        parser.error(f"argument --processes: {options.processes} GPUs; allowed: a whole number from 1")

    # Both load what they need only when they are called, so that --help answers at once.
    def plan(config: TrainConfig) -> str:
        from seagull_tune.tune.plan import describe

        return describe(stage, config, options.engine_config, options.processes)

    def train(config: TrainConfig, resume: bool) -> Path:
        from seagull_tune.tune import recipe

        return recipe.train(config, resume=resume)

    run_script(options, TrainConfig, DEFAULTS[stage], plan, train, "checkpoint")
