"""How long a whole-image score takes: seconds per 512x512 picture, with nothing kept and with warm caches.

    python -m benchmarks.score_speed --model SCORER [--images DIR] [--count 20]

Photographs (built-in ones without --images) are cut to squares of 512 pixels from their middle, enlarged where they are
smaller. Cold is a picture that the scorer never saw: backbone, segmentation, describer, head. Warm is the same one
again, with its features and its description in the cache. One picture at a time; the first, which warms up the program,
is not counted. Loading the scorer is told beside them. Bars: 1.0 s cold, 0.15 s warm, on two cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from seagull_tune.builtin_scenes import builtin_scenes, scene_path
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.images import read_image
from seagull_tune.infer.folder import find_photographs
from seagull_tune.rsa.checkpoint import read_manifest
from seagull_tune.rsa.scorer import RsaScorer
from seagull_tune.threads import wait_politely

SIDE = 512
BARS = {"cold": 1.0, "warm": 0.15}


def photographs(folder: Path | None) -> list[Path]:
    """Those of a folder, or the built-in ones.

    Raises:
        DataError: there are fewer than two.
    """
    scenes = builtin_scenes() if folder is None else ()
    found = find_photographs([folder]) if folder is not None else [scene_path(scene.name) for scene in scenes]
    if len(found) < 2:
        raise DataError(f"{folder} holds {len(found)} photograph: at least 2 are needed, one of them to warm up.")
    return found


def square(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The middle of a photograph uint8 (H, W, 3) as a square, uint8 (side, side, 3)."""
    height, width = image.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    middle = image[top : top + short, left : left + short]
    how = cv2.INTER_AREA if short > side else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(middle, (side, side), interpolation=how))


def seconds_per_picture(scorer: RsaScorer, images: Sequence[np.ndarray]) -> list[float]:
    """Seconds of scoring each picture by itself; the first is scored once before."""
    scorer.score(images[:1])
    found = []
    for image in images[1:]:
        started = time.perf_counter()
        scorer.score([image])
        found.append(time.perf_counter() - started)
    return found


def measure(model: Path, describer: Path | None, images: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """Seconds of loading (one number), and per picture cold and warm."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        scorer = RsaScorer.from_pretrained(model, describer, cache_dir=folder)
        loading = time.perf_counter() - started
        return {
            "loading": [loading],
            "cold": seconds_per_picture(scorer, images),
            "warm": seconds_per_picture(scorer, images),
        }  # fmt: skip


def report(times: dict[str, list[float]]) -> str:
    """The table: medians, the longest, and whether the bars are held."""
    lines = [f"loading the scorer: {times['loading'][0]:.1f} s", ""]
    lines += ["| | median s | longest s | bar |", "|---|---|---|---|"]
    for name, bar in BARS.items():
        middle = statistics.median(times[name])
        held = "held" if middle <= bar else "missed"
        lines.append(f"| {name} | {middle:.3f} | {max(times[name]):.3f} | {bar:g}: {held} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; ends with status 2 and one sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/rsa/model"), help="the scorer (default: %(default)s)")
    parser.add_argument("--describer", type=Path, default=None, help="its tuned model, where none is found near it")
    parser.add_argument("--images", type=Path, default=None, help="folder of photographs (default: built-in ones)")
    parser.add_argument("--count", type=int, default=20, help="pictures (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, stop")
    options = parser.parse_args(arguments)
    wait_politely()
    try:
        paths = photographs(options.images)
        if options.dry_run:
            read_manifest(options.model)
            print(f"{min(options.count, len(paths) - 1)} pictures of {SIDE}x{SIDE}, each cold and warm")
            return
        images = [square(read_image(path)) for path in paths[: options.count + 1]]
        print(f"{len(images) - 1} pictures of {SIDE}x{SIDE}")
        print(report(measure(options.model, options.describer, images)))
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
