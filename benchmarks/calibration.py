"""How far a model's confidence is from the truth, before and after calibrating, on photographs that it never saw.

    python -m benchmarks.calibration --data DIR [--model runs/bench-roi/model] [--out runs/bench-calibration]

DIR as for ``benchmarks/bench_roi.py``, whose 60 test photographs are distorted here six times each by the same frozen
recipes. Every region is reported with a calibration that was fitted on other photographs (five parts). The model's
folder is not changed. A call that was cut off goes on; the readings are kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench_roi import find_data
from data_builders.pipeline import build_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.calibrate import CalibrationSettings
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.runs import BENCHMARK
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import SeagullError
from seagull_tune.evaluate.calibrate import FIGURE, PREDICTIONS, read_regions
from seagull_tune.evaluate.calibration_check import Calibrated, calibrate
from seagull_tune.evaluate.calibration_report import abstaining_in_words, reliability_diagram, table_of
from seagull_tune.files import atomic_write, atomic_write_text
from seagull_tune.infer.assessor import RegionAssessor
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.threads import wait_politely

BAR, REGIONS, PHOTOGRAPHS = 0.05, 2000, 60
SAMPLES = 6


def test_set(data: Path, out: Path, samples: int) -> RoiDataset:
    """The test photographs of ``bench_roi``, each distorted ``samples`` times."""
    place = find_data(data)
    given: dict[str, object] = {
        "source": str(place / "images"), "regions.method": "label_maps", "regions.dir": str(place / "regions"),
        "select.order": "sha256", "select.start": 0.8, "samples_per_image": samples,
    }  # fmt: skip
    config = load_config(BuildConfig, BENCHMARK, [f"{key}={json.dumps(value)}" for key, value in given.items()])
    print(build_dataset(config, out).describe(), flush=True)
    return RoiDataset(out, "test")


def measure(model: Path, dataset: RoiDataset, out: Path, settings: CalibrationSettings, bf16: bool) -> Calibrated:
    """Reads the data set raw, and measures a calibration of it by cross-validation."""
    assessor = RegionAssessor.from_pretrained(model, bf16=bf16, calibrated=False)
    raw = read_regions(assessor, dataset, out / PREDICTIONS)
    return calibrate(raw, settings, model_digest(model), {"model_id": assessor.name})


def report(found: Calibrated) -> str:
    """The table, and whether the bar is held."""
    facts = found.calibration.facts
    counts = facts["n_regions"], facts["n_photographs"]
    error = facts["after"]["quality"]["calibration_error"]
    enough = counts[0] >= REGIONS and counts[1] >= PHOTOGRAPHS
    held = "held" if error <= BAR and enough else "missed" if enough else f"not to be told ({REGIONS} of {PHOTOGRAPHS})"
    return "\n".join(
        [
            f"{counts[0]} regions of {counts[1]} photographs",
            table_of(facts["before"], facts["after"]),
            abstaining_in_words(facts["abstaining"]),
            f"calibration error of the quality after calibrating: {error:.3f}, bar {BAR}: {held}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; ends with status 2 and one sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and regions/")
    parser.add_argument(
        "--model", type=Path, default=Path("runs/bench-roi/model"), help="tuned on the other photographs"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench-calibration"), help="folder of the readings")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="distorted versions of every photograph")
    parser.add_argument("--fp32", action="store_true", help="read in 32 bits (slower)")
    options = parser.parse_args(arguments)
    wait_politely()
    try:
        dataset = test_set(options.data, options.out / "test", options.samples)
        found = measure(options.model, dataset, options.out, CalibrationSettings(), not options.fp32)
        atomic_write(options.out / FIGURE, [reliability_diagram(found.before, found.after)])
        atomic_write_text(options.out / "metrics.json", json.dumps(found.calibration.facts, indent=1) + "\n")
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(report(found))


if __name__ == "__main__":
    main()
