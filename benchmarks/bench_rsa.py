"""The whole-image benchmark: a scorer of all pictures of a folder with opinion scores, described by a tuned model.

    python -m benchmarks.bench_rsa --data DIR [--model DIR] [--out runs/rsa] [--set a.b=c] [--dry-run]

DIR holds ``mos.csv`` and ``images/`` (AGIQA-3K's columns: configs/rsa/agiqa3k.yaml; others with --set), or a folder
``agiqa3k/`` that does. Leaves ``<out>/model`` with its describer inside. All pictures train, none tests: how accurate
such a scorer is says benchmarks/rsa_quality.py. A second call skips what is finished, and goes on with what is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from seagull_tune.config.base import load_config, resolve_asset
from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.errors import CheckpointError, ConfigError, DataError, SeagullError
from seagull_tune.threads import wait_politely

CONFIG = "configs/rsa/agiqa3k.yaml"
OPINIONS = "mos.csv"
MODELS = (Path("runs/bench-roi/model"), Path("runs/quickstart/model"))
"""Tuned models that are looked for, in this order, where none is named."""


def find_opinions(folder: Path) -> Path:
    """The folder that holds ``mos.csv`` and ``images/``: ``folder/agiqa3k`` or ``folder`` itself.

    Raises:
        DataError: neither does.
    """
    for place in (folder / "agiqa3k", folder):
        if (place / OPINIONS).is_file() and (place / "images").is_dir():
            return place.resolve()
    raise DataError(
        f"{folder} holds no {OPINIONS} and images/, and no agiqa3k/ that does. Name a folder with both: --data DIR."
    )


def find_model(given: Path | None) -> Path:
    """The tuned model that describes the regions: the given one, or the first of :data:`MODELS` that is there.

    Raises:
        CheckpointError: none is there.
    """
    if given is not None:
        return given
    for place in MODELS:
        if place.is_dir():
            return place
    raise CheckpointError(
        f"No tuned model is in {' or '.join(map(str, MODELS))}. Make one (make bench-roi DATA=DIR, or make "
        "quickstart), or name one: --model DIR."
    )


def bench_config(data: Path, model: Path | None, out: str, sets: Sequence[str]) -> RsaTrainConfig:
    """The benchmark's configuration for one folder of rated pictures: all of them train.

    Raises:
        ConfigError, DataError, CheckpointError: see their messages.
    """
    place = find_opinions(data)
    given: dict[str, object] = {
        "data.file": str(place / OPINIONS), "data.images": str(place / "images"), "out": out, "split.test": 0.0,
        "describer.model": str(find_model(model)), "keep_describer": "inside",
    }  # fmt: skip
    overrides = [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *sets]
    return load_config(RsaTrainConfig, resolve_asset(CONFIG), overrides)


def finished(config: RsaTrainConfig) -> bool:
    """Whether the run is finished with this configuration and this describer.

    Raises:
        CheckpointError: the describer is no checkpoint.
        ConfigError: the folder holds a run with another one.
    """
    from seagull_tune.rsa.checkpoint import read_manifest
    from seagull_tune.rsa.train import SECTION, digest_of
    from seagull_tune.training.run_record import read_record

    section = read_record(Path(config.out)).get(SECTION)
    if section is None:
        return False
    earlier, now = section["config"], config.model_dump(mode="json")
    differing = sorted(key for key in now if earlier.get(key) != now[key])
    if differing:
        raise ConfigError(
            f"{config.out} holds a run with other settings ({', '.join(differing)} differ). Choose another folder "
            "(--out), or remove that one."
        )
    model = Path(config.out) / "model"
    if "finished" not in section or not model.is_dir():
        return False
    was, given = read_manifest(model).describer.digest, digest_of(config)
    if was != given:
        raise ConfigError(
            f"The scorer {model} was trained with the describer {was}, and {config.describer.model} is {given} now. "
            "Choose another folder (--out), or remove that run."
        )
    return True


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; ends with status 2 and one sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with mos.csv and images/")
    parser.add_argument("--model", type=Path, default=None, help=f"tuned model (default: {MODELS[0]}, {MODELS[1]})")
    parser.add_argument("--out", default="runs/rsa", help="run folder (default: %(default)s)")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="A.B=C", help="override one key")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, stop")
    options = parser.parse_args(arguments)
    wait_politely()
    try:
        config = bench_config(options.data, options.model, options.out, options.sets)
        if options.dry_run:
            from seagull_tune.rsa.launch import plan

            print(plan(config))
            return
        if finished(config):
            print(f"{config.out}/model: finished earlier.")
            return
        from seagull_tune.rsa.train import train

        print(f"The scorer is in {train(config, resume=True)}.")
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
