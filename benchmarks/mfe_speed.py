"""Our feature extractor against the released model's: time and peak memory of forward and backward, and its share of a
training step.

    python -m benchmarks.mfe_speed [--runs 7] [--hidden 384] [--device cuda] [--no-step]

Both read the same maps (ConvNeXt-L's widths at 512 px) and masks and make tokens of width 4096; theirs has the released
widths, ours its defaults. What counts is everything after the frozen tower: observing maps, masks and pixels, the
tokens, and the gradients of the weights. Times are measured alternately in one process, so that a busy machine slows
both; peak memory, above what weights and inputs take, each in a process of its own. The floor is the matrix products'
FLOPs at the rate that a large product reaches here, plus the bytes of maps, masks, weights and gradients, once, at the
rate of a large copy.

Then a training step as in configs/embedded/finetune.yaml, with the embedded models, and the extractor's part of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig

from benchmarks.memory import Peak
from seagull_tune.data.visual import GEOMETRY
from seagull_tune.model.configuration import SeagullConfig
from seagull_tune.model.mfe import MaskFeatureExtractor, RegionEncoder
from seagull_tune.model.mfe_seagull import CHANNELS, MAP_SIDES
from seagull_tune.model.released_encoder import ReleasedEncoder

SIDE, TEXT_WIDTH, GRID = 512, 4096, 3
PATCH, PATCHES = 32, 8  # what ours reads of a region by default
CASES = {"4 images x 8 regions": (4, 8), "1 image x 32 regions": (1, 32)}
FASTER, LEANER, STEP_SHARE = 3.0, 0.5, 0.15
"""Bars: our speed over theirs (at least), our peak over theirs and the share of a training step (at most)."""


@dataclass(frozen=True)
class Case:
    """One measurement: sizes and where."""

    images: int
    regions: int
    device: str
    hidden: int


def extractor(name: str, case: Case) -> RegionEncoder:
    """The extractor ``ours`` or ``released``, in training mode."""
    text = LlamaConfig(hidden_size=TEXT_WIDTH, num_hidden_layers=1, vocab_size=8)
    torch.manual_seed(0)
    made: RegionEncoder
    if name == "ours":
        made = MaskFeatureExtractor(SeagullConfig(text_config=text, vision_channels=CHANNELS, mfe_hidden=case.hidden))
    else:
        made = ReleasedEncoder(
            SeagullConfig(
                text_config=text, vision_channels=CHANNELS, mfe="seagull", mfe_hidden=1024, mfe_map_sides=MAP_SIDES,
                mfe_crop_side=SIDE,
            )
        )  # fmt: skip
    return made.to(case.device).train()


def discs(count: int, generator: torch.Generator) -> Tensor:
    """Random discs as masks, float32 (count, SIDE, SIDE)."""
    centre = torch.rand(2, count, 1, 1, generator=generator) * SIDE
    radius = (0.05 + 0.2 * torch.rand(count, 1, 1, generator=generator)) * SIDE
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).float()


def inputs(name: str, case: Case) -> dict[str, Any]:
    """Arguments of ``observe``: the same maps and masks for both, native patches for ours, crops for the other."""
    generator = torch.Generator().manual_seed(1)
    batches = [
        torch.randn(case.images, channels, side, side, generator=generator).to(case.device)
        for channels, side in zip(CHANNELS, MAP_SIDES, strict=True)
    ]
    masks = [discs(case.regions, generator).to(case.device) for _ in range(case.images)]
    total = case.images * case.regions
    if name == "ours":
        patches = torch.randint(0, 256, (total, PATCHES, 3, PATCH, PATCH), dtype=torch.uint8, generator=generator)
        patch_masks = torch.ones(total, PATCHES, PATCH, PATCH, dtype=torch.uint8)
    else:
        patches = torch.randn(total, 1, 3, SIDE, SIDE, generator=generator)
        patch_masks = torch.ones(total, 1, 1, 1, dtype=torch.uint8)
    return {
        "maps": [[batch[image] for batch in batches] for image in range(case.images)],
        "grid": torch.zeros(case.images, GRID * GRID, CHANNELS[-1], device=case.device),
        "region_masks": masks,
        "region_geometry": torch.zeros(total, GEOMETRY, device=case.device),
        "patches": patches.to(case.device),
        "patch_masks": patch_masks.to(case.device),
    }


def step(encoder: RegionEncoder, arguments: dict[str, Any]) -> None:
    """Everything after the tower, forward and backward; gradients are made anew."""
    encoder.zero_grad(set_to_none=True)
    encoder(encoder.observe(**arguments)).square().mean().backward()


def seconds_of(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Wall time of one call, to the end of what it started on the device, and processor time of all its threads."""
    if device != "cpu":
        torch.cuda.synchronize()
    started, used = time.perf_counter(), time.process_time()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - started, time.process_time() - used


def alternately(
    works: Sequence[Callable[[], object]], runs: int, device: str = "cpu"
) -> list[list[tuple[float, float]]]:
    """Wall and processor times of every piece of work, in ``runs`` rounds in turn. Each should have run once before."""
    rounds = [[seconds_of(work, device) for work in works] for _ in range(runs)]
    return [list(column) for column in zip(*rounds, strict=True)]


def machine(device: str) -> tuple[float, float]:
    """FLOP/s of a large float32 product and bytes/s (read and written) of a large copy."""
    a = torch.randn(1536, 1536, device=device)
    big = torch.randn(1 << 25, device=device)
    other = torch.empty_like(big)
    product, copy = alternately([lambda: a @ a, lambda: other.copy_(big)], 5, device)
    return 2 * 1536**3 / min(product)[0], 2 * big.numel() * 4 / min(copy)[0]


def floor_of(
    encoder: RegionEncoder, arguments: dict[str, Any], rates: tuple[float, float]
) -> tuple[float, float, float]:
    """GFLOP of the matrix products, MB that must move, and the seconds that both take at least."""
    with FlopCounterMode(display=False) as counter:
        step(encoder, arguments)
    flops = counter.get_total_flops()
    tensors = [level for levels in arguments["maps"] for level in levels] + arguments["region_masks"]
    tensors += [arguments["patches"], *encoder.parameters(), *encoder.parameters()]
    moved = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return flops / 1e9, moved / 1e6, flops / rates[0] + moved / rates[1]


def peak_of(name: str, case: Case) -> float:
    """Peak bytes of one step above weights and inputs, in this process."""
    encoder, arguments = extractor(name, case), inputs(name, case)
    with Peak(case.device) as peak:
        step(encoder, arguments)
    return peak.bytes


def peak_elsewhere(name: str, case: Case) -> float:
    """The same in a fresh process."""
    line = [sys.executable, "-m", "benchmarks.mfe_speed", "--peak", json.dumps([name, asdict(case)])]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def compare(case: Case, runs: int, rates: tuple[float, float], table: Table, title: str) -> bool:
    """Adds the rows of one case, prints the ratios (medians over rounds); whether both bars are met."""
    names = ("released", "ours")
    made = [(extractor(name, case), inputs(name, case)) for name in names]
    floors = [floor_of(*pair, rates) for pair in made]
    times = alternately([lambda pair=pair: step(*pair) for pair in made], runs, case.device)  # type: ignore[misc]
    by_clock, by_processor = (
        median(theirs[kind] / mine[kind] for theirs, mine in zip(*times, strict=True)) for kind in (0, 1)
    )
    weights = [sum(p.numel() for p in encoder.parameters()) / 1e6 for encoder, _ in made]
    del made
    peaks = [peak_elsewhere(name, case) for name in names]
    for index, name in enumerate(names):
        gflop, moved, least = floors[index]
        table.add_row(
            title, name, f"{weights[index]:.1f}", f"{gflop:.1f}", f"{moved:.0f}", f"{1e3 * least:.0f}",
            *(f"{1e3 * median(time[kind] for time in times[index]):.0f}" for kind in (0, 1)),
            f"{peaks[index] / 1e6:.0f}",
        )  # fmt: skip
    leaner = peaks[1] / peaks[0]
    print(
        f"{title}: {by_clock:.1f} x faster by the clock (bar {FASTER:g}), {by_processor:.1f} x by processor time; "
        f"peak {leaner:.2f} x (bar {LEANER:g})", flush=True,
    )  # fmt: skip
    return by_clock >= FASTER and leaner <= LEANER


def main() -> None:
    """Measure, print the tables; exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7, help="rounds per measurement")
    parser.add_argument("--hidden", type=int, default=384, help="width inside our extractor")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--no-step", action="store_true", help="leave out the training step (it needs embedded models)")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak is not None:
        name, case = json.loads(options.peak)
        print(peak_of(name, Case(**case)))
        return
    rates = machine(options.device)
    print(f"{options.device}: {rates[0] / 1e9:.0f} GFLOP/s, {rates[1] / 1e9:.1f} GB/s", flush=True)
    columns = ("case", "extractor", "weights, M", "GFLOP", "MB", "floor, ms", "ms", "processor ms", "peak, MB")
    table = Table(*columns, title="Feature extractors, forward and backward")
    met = True
    for title, (images, regions) in CASES.items():
        case = Case(images, regions, options.device, options.hidden)
        met &= compare(case, options.runs, rates, table, title)
    Console(width=120).print(table)
    if not options.no_step:
        from benchmarks.mfe_step import step_share

        met &= step_share(options.runs, options.device) <= STEP_SHARE
    sys.exit(int(not met))


if __name__ == "__main__":
    main()
