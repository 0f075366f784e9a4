"""Time and peak memory of SAM on a large photograph, stage by stage.

    python -m benchmarks.sam_memory [--width 4000 --height 3000] [--points-per-side 16] [--points-per-batch 32]
                                    [--model-side 1024] [--dtype float32]

Needs no checkpoint: the model is a tiny random one (two encoder blocks of width 32, see ``tests/tiny_sam.py``), so the
encoder's own time and memory are not a real SAM's, and neither are the regions. All that depends on the photograph and
on the masks is real: they are decoded, upscaled, cleaned and brought to the photograph's size as with any checkpoint.
Every threshold is open, which is the worst case: no mask is dropped before it has cost what it can cost, and the
outlines of random masks are far more ragged than those of objects.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import cv2
import numpy as np
import skimage.data

from seagull_tune.config.regions import SamSettings
from seagull_tune.segment.sam import SamSegmenter
from tests.tiny_sam import tiny_sam


def peak_mb() -> float:
    """Largest resident memory of this process so far, in megabytes (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--points-per-side", type=int, default=16)
    parser.add_argument("--points-per-batch", type=int, default=32)
    parser.add_argument("--model-side", type=int, default=1024, help="Input size of the model, a multiple of 16.")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    options = parser.parse_args()
    image = cv2.resize(skimage.data.astronaut(), (options.width, options.height), interpolation=cv2.INTER_CUBIC)
    settings = SamSettings(
        dtype=options.dtype, points_per_side=options.points_per_side, points_per_batch=options.points_per_batch,
        pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0, max_hole_share=1.0, min_island_share=0.0,
    )  # fmt: skip
    segmenter = SamSegmenter(settings, model=tiny_sam(side=options.model_side))
    print(f"A tiny random SAM on {options.width}x{options.height} pixels: {settings.points_per_side**2} points")
    print(f"{'stage':28s} {'s':>7s} {'peak MB':>8s} {'above start':>12s}")
    start = peak_mb()
    report("start (model, photograph)", 0.0, start)
    began = time.perf_counter()
    segmenter.at_point(image, options.width // 2, options.height // 2)
    report("one point (encodes)", time.perf_counter() - began, start)
    began = time.perf_counter()
    regions = segmenter.segment(image)
    report(f"automatic, {len(regions)} regions", time.perf_counter() - began, start)
    covered = np.mean([region.area for region in regions]) / image[..., 0].size
    print(f"mean region: {covered:.1%} of the photograph")


def report(stage: str, seconds: float, start: float) -> None:
    """One line of the table."""
    print(f"{stage:28s} {seconds:7.2f} {peak_mb():8.0f} {peak_mb() - start:12.0f}", flush=True)


if __name__ == "__main__":
    main()
