"""Label validity: does our region quality order regions as independent full-reference measures do?

    python benchmarks/label_validity.py --data DIR [--count 60] [--samples 11] [--seed 0]

DIR holds ``images/`` and ``regions/`` (label maps), or a folder ``bsds500/`` that does. The photographs are the last
``--count`` in the order of sha256(id), as in the other benchmarks. Every photograph is rendered with one recipe of each
distortion type, two recipes of two types and one pristine; half of the steps are local. For two regions of each, piq's
measures judge the crop of the region's bounding box. Ours is pooled from the whole image's map, once under the box, so
that both sides judge the same pixels, and once under the region's own mask, which is what a label is.

The table gives SRCC over all regions and within each type (regions that carry this type alone). Bars, for VSI and MDSI
under the box: 0.90 over all, 0.80 within each type; the last line says whether they are met. Needs piq (extra ``dev``).
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import piq
import torch

from data_builders.sampler import draw_recipe
from seagull_tune.config.distortions import RecipeMix
from seagull_tune.distortions.recipe import render, severities_of
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.fullref.measure import MEASURE_VERSION, Reference, SimilarityMap, measure_regions
from seagull_tune.images import read_image, read_values
from seagull_tune.levels import DISTORTION_TYPES, QUALITY_LEVELS
from seagull_tune.metrics.correlation import srcc
from seagull_tune.regions.masks import decode_all, from_label_map

JUDGES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "VSI": piq.vsi,
    "MDSI": lambda x, y: -piq.mdsi(x, y),
    "HaarPSI": piq.haarpsi,
    "FSIM": piq.fsim,
    "SSIM": piq.ssim,
    "GMSD": lambda x, y: -piq.gmsd(x, y),
}
"""Higher is better for all; MDSI and GMSD are distances and change sign."""

BARS = ("VSI", "MDSI")
BAR_OVERALL, BAR_WITHIN = 0.90, 0.80
MIN_AREA_SHARE = 0.02
MIN_SIDE = 32
"""Smaller boxes are left out: piq's measures need room for their filters."""
REGIONS_PER_SAMPLE = 2


@dataclass(frozen=True)
class Judged:
    """One region of one rendered sample: its types, our quality under box and mask, and the judges' values."""

    types: tuple[str, ...]
    box_quality: float
    mask_quality: float
    judged: tuple[float, ...]


def mixes(n_samples: int) -> Iterator[RecipeMix]:
    """One mix per sample: each type alone, then two types, last a pristine one; repeated as needed."""
    one = [RecipeMix(pristine=0.0, one=1.0, two=0.0, types=(name,)) for name in DISTORTION_TYPES]
    two = [RecipeMix(pristine=0.0, one=0.0, two=1.0)] * 2
    cycle = [*one, *two, RecipeMix(pristine=1.0, one=0.0, two=0.0)]
    for index in range(n_samples):
        yield cycle[index % len(cycle)]


def photographs(folder: Path, count: int) -> list[tuple[Path, Path]]:
    """(image, label map) of the last ``count`` photographs in the order of sha256(id).

    Raises:
        DataError: no photograph with a label map.
    """
    place = folder / "bsds500" if (folder / "bsds500").is_dir() else folder
    pairs = [
        (path, label_map)
        for path in sorted((place / "images").glob("*.jpg"))
        if (label_map := place / "regions" / f"{path.stem}.png").is_file()
    ]
    if not pairs:
        raise DataError(f"{place} holds no images/*.jpg with regions/<same name>.png. Name a folder that does: --data.")
    pairs.sort(key=lambda pair: hashlib.sha256(pair[0].stem.encode()).hexdigest())
    return pairs[-count:]


def judge_crops(reference: np.ndarray, distorted: np.ndarray) -> tuple[float, ...]:
    """Every judge's value on a pair of crops, (h, w, 3) uint8 each."""
    x, y = (
        torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / 255.0
        for crop in (reference, distorted)
    )
    with torch.inference_mode():
        return tuple(float(judge(x, y)) for judge in JUDGES.values())


def judge_region(
    image: np.ndarray, distorted: np.ndarray, found: SimilarityMap, mask: np.ndarray, box: tuple[int, int, int, int]
) -> tuple[float, float, tuple[float, ...]]:
    """(our quality under the box, under the mask, the judges' values on the box's crop)."""
    x0, y0, x1, y1 = box
    box_mask = np.zeros_like(mask)
    box_mask[y0:y1, x0:x1] = True
    ours = measure_regions(found, np.stack([box_mask, mask])).quality
    return float(ours[0]), float(ours[1]), judge_crops(image[y0:y1, x0:x1], distorted[y0:y1, x0:x1])


def judge_photograph(image_file: Path, label_file: Path, n_samples: int, rng: np.random.Generator) -> list[Judged]:
    """All judged regions of one photograph."""
    image = read_image(image_file)
    regions = from_label_map(read_values(label_file), min_area_share=MIN_AREA_SHARE)
    masks = decode_all(regions)
    areas = [region.area for region in regions]
    boxes = [region.box_xyxy for region in regions]
    large = [i for i, (x0, y0, x1, y1) in enumerate(boxes) if min(x1 - x0, y1 - y0) >= MIN_SIDE]
    reference = Reference(image)
    rows = []
    for mix in mixes(n_samples):
        recipe = draw_recipe(mix, len(regions), areas, rng, float(image.shape[0] * image.shape[1]))
        distorted = render(image, recipe, masks)
        found = reference.compare(distorted)
        severities = severities_of(recipe, masks)
        for index in rng.permutation(large)[:REGIONS_PER_SAMPLE]:
            held = tuple(name for name, s in zip(DISTORTION_TYPES, severities[index], strict=True) if s)
            rows.append(Judged(held, *judge_region(image, distorted, found, masks[index], boxes[index])))
    return rows


def print_table(rows: list[Judged]) -> bool:
    """Print the SRCC table; returns whether the bars are met."""
    groups = {"all": rows, "distorted": [row for row in rows if row.types]}
    groups |= {name: [row for row in rows if row.types == (name,)] for name in DISTORTION_TYPES}
    print(f"{'regions':14s}{'n':>5s}" + "".join(f"{name + ' box/mask':>20s}" for name in JUDGES))
    met = True
    for group, members in groups.items():
        cells = []
        for index, name in enumerate(JUDGES):
            judged = [row.judged[index] for row in members]
            box = srcc([row.box_quality for row in members], judged)
            mask = srcc([row.mask_quality for row in members], judged)
            cells.append("-" if box is None or mask is None else f"{box:.3f} / {mask:.3f}")
            if name in BARS and group != "distorted":
                met &= box is not None and box >= (BAR_OVERALL if group == "all" else BAR_WITHIN)
        print(f"{group:14s}{len(members):5d}" + "".join(f"{cell:>20s}" for cell in cells))
    return met


def print_levels(rows: list[Judged]) -> None:
    """Print how our qualities spread over the five levels."""
    spread = np.bincount([round(row.mask_quality * 4.0) for row in rows], minlength=5) / len(rows)
    shares = "  ".join(f"{name} {share:.0%}" for name, share in zip(QUALITY_LEVELS, spread, strict=True))
    print(f"our levels here: {shares}")


def main() -> None:
    """Run the benchmark; status 1 where a bar is missed, 2 with one sentence where it cannot run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and regions/")
    parser.add_argument("--count", type=int, default=60, help="photographs (default 60)")
    parser.add_argument("--samples", type=int, default=11, help="rendered samples per photograph (default 11)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the recipes (default 0)")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    rows: list[Judged] = []
    try:
        chosen = photographs(options.data, options.count)
        for number, (image_file, label_file) in enumerate(chosen, start=1):
            rows += judge_photograph(image_file, label_file, options.samples, rng)
            print(f"\r{number}/{len(chosen)} photographs", end="", file=sys.stderr, flush=True)
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    print(f"\nSRCC of region quality ({MEASURE_VERSION}), under the box / under the mask, with piq on box crops")
    met = print_table(rows)
    print_levels(rows)
    print(f"VSI and MDSI >= {BAR_OVERALL} over all, >= {BAR_WITHIN} in each type: {'met' if met else 'MISSED'}")
    raise SystemExit(0 if met else 1)


if __name__ == "__main__":
    main()
