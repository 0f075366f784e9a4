"""Does the whole-image score feel one bad region, and does the explanation name it?

    python -m benchmarks.local_sensitivity --images DIR --model SCORER [--count 60] [--severity 4] [--out FILE]

In every photograph, the region that draws the eye the most (the sum of the measure's visual weights, among regions of
4 to 40 % of the photograph) is distorted, by a variant that the photograph's number chooses, with a seed of its own.
The regions are those that the scorer finds on the clean photograph. Reported are the share of photographs whose score
falls, and the share of those whose explanation names that region worst: more than half of the worst region's pixels lie
in it. The distorted photograph is segmented anew, as a user's would be. Beside it stands how often it was named before
it was distorted. A photograph without such a region is left out, and said so. Each photograph is kept in FILE when it
is done; a second call goes on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from seagull_tune.distortions.recipe import render
from seagull_tune.distortions.severity import level_params
from seagull_tune.errors import DataError, SeagullError
from seagull_tune.files import atomic_write_text, sha256_of
from seagull_tune.fullref.measure import Reference
from seagull_tune.images import image_hash, read_image
from seagull_tune.infer.folder import find_photographs
from seagull_tune.records import DistortionStep, Recipe, Region
from seagull_tune.regions.masks import decode, decode_all
from seagull_tune.rsa.checkpoint import MANIFEST
from seagull_tune.rsa.scorer import Explanation, RsaScorer
from seagull_tune.threads import wait_politely

VARIANTS = (("blur", "gaussian"), ("noise", "gaussian"), ("compression", "jpeg"), ("exposure", "over"))
SMALLEST, LARGEST = 0.04, 0.40
FEATHER_PX = 3.0
BARS = {"falls": 0.95, "named": 0.85}


@dataclass(frozen=True)
class Trial:
    """One photograph.

    Attributes:
        image: its name.
        variant: what was done to its region, as ``type/variant``.
        area: share of the photograph that the region covers.
        before, after: score in [0, 1], clean and distorted.
        named, named_before: whether the region is named worst, distorted and clean.
    """

    image: str
    variant: str
    area: float
    before: float
    after: float
    named: bool
    named_before: bool

    @property
    def falls(self) -> bool:
        """Whether the score is lower."""
        return self.after < self.before


def salient_region(image: np.ndarray, regions: Sequence[Region]) -> int | None:
    """The region that draws the eye the most, among those of a fit size; None where none is.

    Args:
        image: uint8 (H, W, 3), sRGB.
        regions: of it.
    """
    weights = Reference(image).compare(image).weights
    draw = {}
    for index, region in enumerate(regions):
        if SMALLEST <= region.area / weights.size <= LARGEST:
            draw[index] = float(weights[decode(region)].sum())
    return max(draw, key=lambda index: (draw[index], -index)) if draw else None


def is_named(explanation: Explanation, mask: np.ndarray) -> bool:
    """Whether more than half of the region that is named worst lies in ``mask``, bool (H, W)."""
    worst = explanation.worst(1)
    return bool(worst) and float(mask[decode(explanation.regions[worst[0]])].mean()) > 0.5


def try_photograph(scorer: RsaScorer, image: np.ndarray, name: str, number: int, severity: int) -> Trial | None:
    """One photograph uint8 (H, W, 3), clean and with a bad region; None where it has no fit region.

    Args:
        scorer: its head is additive.
        name: what it is called.
        number: chooses variant and seed.
        severity: 1 to 5.
    """
    (clean,) = scorer.explain([image])
    chosen = salient_region(image, clean.regions)
    if chosen is None:
        return None
    kind, variant = VARIANTS[number % len(VARIANTS)]
    step = DistortionStep(
        kind, variant, severity, level_params(kind, variant, severity), number, (chosen,), FEATHER_PX
    )  # fmt: skip
    (spoilt,) = scorer.explain([render(image, Recipe((step,)), decode_all(clean.regions))])
    mask = decode(clean.regions[chosen])
    return Trial(
        name, f"{kind}/{variant}", round(clean.regions[chosen].area / mask.size, 4), clean.image_score.score_01,
        spoilt.image_score.score_01, is_named(spoilt, mask), is_named(clean, mask),
    )  # fmt: skip


def run(scorer: RsaScorer, paths: Sequence[Path], count: int, severity: int, out: Path, mark: str) -> list[Trial]:
    """Trials of the first ``count`` photographs that have a fit region, in the order of sha256(stem).

    Args:
        out: JSON file of what is done; those of another ``mark`` are done anew.
        mark: says what the trials depend on.
    """
    kept = _kept(out, mark)
    ordered = sorted(paths, key=lambda path: hashlib.sha256(path.stem.encode()).hexdigest())
    found: list[Trial] = []
    with tqdm(total=min(count, len(ordered)), desc="photographs", unit="photograph") as bar:
        for number, path in enumerate(ordered):
            if len(found) == count:
                break
            image = read_image(path)
            key = f"{number}:{image_hash(image)}"
            if key not in kept:
                trial = try_photograph(scorer, image, path.name, number, severity)
                kept[key] = None if trial is None else asdict(trial)
                out.parent.mkdir(parents=True, exist_ok=True)
                atomic_write_text(out, json.dumps({"mark": mark, "trials": kept}, indent=1) + "\n")
            values = kept[key]
            if values is not None:
                found.append(Trial(**values))
                bar.update()
    return found


def _kept(out: Path, mark: str) -> dict[str, dict[str, Any] | None]:
    """Trials of an earlier call.

    Raises:
        DataError: the file is damaged.
    """
    if not out.is_file():
        return {}
    try:
        whole = json.loads(out.read_text(encoding="utf-8"))
        return dict(whole["trials"]) if whole["mark"] == mark else {}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{out} is damaged ({error}). Remove it, and run again.") from error


def report(trials: Sequence[Trial], asked: int) -> str:
    """The table: a line per variant and one for all, and whether the bars are held.

    Raises:
        DataError: there is no trial.
    """
    if not trials:
        raise DataError("No photograph has two regions or more with one of 4 to 40 % of it: nothing can be said.")
    lines = ["| variant | photographs | score falls | named worst | before | median change |", "|" + "---|" * 6]
    for name in [*sorted({trial.variant for trial in trials}), "all"]:
        part = [trial for trial in trials if name in ("all", trial.variant)]
        falls, named, before = (
            sum(values) / len(part) for values in zip(*((t.falls, t.named, t.named_before) for t in part), strict=True)
        )
        change = float(np.median([t.after - t.before for t in part]))
        lines.append(f"| {name} | {len(part)} | {falls:.0%} | {named:.0%} | {before:.0%} | {change:+.3f} |")
    held = falls >= BARS["falls"] and named >= BARS["named"]
    lines += ["", f"bars: falls {BARS['falls']:.0%}, named {BARS['named']:.0%}: {'held' if held else 'missed'}"]
    if len(trials) < asked:
        lines.append(f"{len(trials)} of {asked} photographs: the folder holds no more with a fit region.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark; ends with status 2 and one sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of clean photographs")
    parser.add_argument("--model", type=Path, default=Path("runs/rsa/model"), help="the scorer (default: %(default)s)")
    parser.add_argument("--describer", type=Path, default=None, help="its tuned model, where none is found near it")
    parser.add_argument("--count", type=int, default=60, help="photographs (default: %(default)s)")
    parser.add_argument("--severity", type=int, choices=range(1, 6), default=4, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("runs/local-sensitivity.json"), help="default: %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the plan, stop")
    options = parser.parse_args(arguments)
    wait_politely()
    try:
        paths = find_photographs([options.images])
        scorer = RsaScorer.from_pretrained(options.model, options.describer)
        if scorer.model.spec.head != "additive":
            raise DataError(f"{options.model} has a {scorer.model.spec.head} head: it names no region worst.")
        if options.dry_run:
            print(f"{min(options.count, len(paths))} of {len(paths)} photographs, twice each, into {options.out}")
            return
        mark = f"{sha256_of(options.model / MANIFEST)[:16]}:{options.severity}"
        trials = run(scorer, paths, options.count, options.severity, options.out, mark)
        print(report(trials, options.count))
    except SeagullError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
