"""The ROI benchmark: train on the first four fifths of a folder's photographs, test on the last fifth.

    python benchmarks/bench_roi.py --data DIR [--out runs/bench-roi] [--steps N] [--set a.b=c]

DIR holds ``images/`` and ``regions/`` (label maps, one PNG per image stem), or a folder ``bsds500/`` that does. The
order is that of sha256(id). Leaves ``<out>/model`` and ``<out>/metrics.json``; a second call skips what is finished.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from seagull_tune.config.base import load_config
from seagull_tune.config.runs import QuickstartConfig
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.threads import wait_politely

CONFIG = "configs/embedded/bench_roi.yaml"


def find_data(folder: Path) -> Path:
    """The folder that holds ``images/`` and ``regions/``: ``folder/bsds500`` or ``folder`` itself.

    Raises:
        DataError: neither does.
    """
    for place in (folder / "bsds500", folder):
        if (place / "images").is_dir() and (place / "regions").is_dir():
            return place.resolve()
    raise DataError(
        f"{folder} holds no images/ and regions/, and no bsds500/ that does. Name a folder with both: --data DIR."
    )


def bench_config(
    data: Path, out: str | None, steps: int | None, sets: list[str], file: str = CONFIG
) -> QuickstartConfig:
    """The benchmark's configuration for one folder of photographs."""
    place = find_data(data)
    given: dict[str, object] = {}
    for name in ("data", "test"):
        given |= {f"{name}.source": str(place / "images"), f"{name}.regions.dir": str(place / "regions")}
    if out is not None:
        given["out"] = out
    if steps is not None:
        given |= {"pretrain.optimisation.steps": steps, "finetune.optimisation.steps": steps}
    return load_config(QuickstartConfig, file, [*(f"{key}={json.dumps(value)}" for key, value in given.items()), *sets])


def main() -> None:
    """Run the benchmark; ends with status 2 and one sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and regions/")
    parser.add_argument("--out", default=None, help="run folder (default: runs/bench-roi)")
    parser.add_argument("--steps", type=int, default=None, help="steps of each training (default: as configured)")
    parser.add_argument("--config", default=CONFIG, help=f"YAML file (default: {CONFIG})")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="A.B=C", help="override one key")
    options = parser.parse_args()
    wait_politely()
    try:
        config = bench_config(options.data, options.out, options.steps, options.sets, options.config)
        from seagull_tune.quickstart import run

        run(config)
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    from seagull_tune.quickstart.measure import figures_in_words

    print(figures_in_words(json.loads((Path(config.out) / "metrics.json").read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
