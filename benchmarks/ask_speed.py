"""The assessor against asking one region and one task at a time: speed, added time, memory, precision.

    python -m benchmarks.ask_speed --model DIR [--image FILE] [--regions 32] [--many 500] [--alone 4] [--rounds 3]
                                   [--chunk 32] [--parts time memory precision]

The other way asks through ``generate``, as one would who has a chat model: tokens of the picture and of the regions are
made beforehand, answers are greedy with a KV cache and end at the end of the turn, after at most 16 tokens. Its scores
are read at the value words that it says itself. It asks about ``--alone`` regions per round, in turn with the assessor,
so that a busy machine slows both; its time for all regions is theirs times the ratio of the counts.

The floor is the operations of the forward passes (counted by torch) at the rate that a matrix product of the same
shape reaches here. Peak memory, above what the loaded model takes, is measured in a fresh process each.

Without ``--image``, the photograph is skimage's astronaut (512x512, public domain). Regions are random boxes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean, median

import numpy as np
import skimage.data
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.memory import Peak
from seagull_tune.images import read_image
from seagull_tune.infer.assessor import EncodedPhotograph, RegionAssessor
from seagull_tune.infer.scoring import DISTORTIONS_TASK, LEVEL_TASKS
from seagull_tune.instructions.chat import EncodedChat
from seagull_tune.instructions.converse import scoring_conversation
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.model.quantize import quantize
from seagull_tune.records import Region, RegionAssessment, Scores
from seagull_tune.regions.boxes import box_region

FASTER, ADDED, LATENCY, LEANER, SAME = 12.0, 0.25, 1.0, 1.3, 1e-4
"""Bars: speed against one at a time (at least); added time of a region over the first's, seconds of one region, peak
memory of many regions over few, difference of scores (at most)."""

NEW_TOKENS = 16
TASKS = (*LEVEL_TASKS, DISTORTIONS_TASK)


def photograph(path: Path | None) -> np.ndarray:
    """The photograph, uint8 (H, W, 3)."""
    return np.ascontiguousarray(skimage.data.astronaut()) if path is None else read_image(path)


def random_boxes(count: int, height: int, width: int) -> list[Region]:
    """Boxes of 15 to 60 % of either side, the same for the same count."""
    generator = np.random.default_rng(0)
    regions = []
    for _ in range(count):
        h, w = (int(side * share) for side, share in zip((height, width), generator.uniform(0.15, 0.6, 2), strict=True))
        y, x = int(generator.integers(0, height - h + 1)), int(generator.integers(0, width - w + 1))
        regions.append(box_region((x, y, x + w, y + h), height, width))
    return regions


@dataclass(frozen=True)
class Said:
    """What one call of ``generate`` said: its ids, and the logits (V,) before each."""

    ids: list[int]
    logits: Sequence[Tensor]


class OneAtATime:
    """Asks about one region and one task through ``generate``.

    Args:
        assessor: whose model is asked.
        encoded: the photograph and its regions, encoded.
    """

    def __init__(self, assessor: RegionAssessor, encoded: EncodedPhotograph) -> None:
        self.assessor = assessor
        self.image_tokens = assessor.model.project_image(encoded.grid)
        self.region_tokens = assessor.loud_tokens(encoded)
        self.prompts = {task: self._encode(task, answered=False).input_ids for task in TASKS}

    def _encode(self, task: str, type_name: str | None = None, answered: bool = True) -> EncodedChat:
        messages = scoring_conversation(task, self.assessor.prompts, type_name)
        return self.assessor.processor.encode(
            messages if answered else messages[:-1], add_generation_prompt=not answered
        )

    def ask(self, region: int, task: str) -> Said:
        """The answer to one task about one region."""
        model, processor = self.assessor.model, self.assessor.processor
        ids = torch.tensor([self.prompts[task]], device=self.assessor.device)
        one = torch.ones(1, dtype=torch.long, device=ids.device)
        embeddings = model.embed(ids, self.image_tokens, self.region_tokens[region : region + 1], one)
        found = model.generate(
            inputs_embeds=embeddings, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False,
            eos_token_id=processor.tokenizer.eos_token_id, pad_token_id=processor.padding_id,
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
        return Said(found.sequences[0].tolist(), [logits[0].float() for logits in found.logits])

    def differences(self, said: dict[str, Said], scores: Scores) -> list[float]:
        """How far scores are from those at the value words that were said; none for words that were not."""
        found: list[float] = []
        for task in LEVEL_TASKS:
            if (levels := self._slot(task, said[task], 0)) is not None:
                found += _apart(levels.softmax(0), getattr(scores, f"{task}_levels"))
        named = self._slot(DISTORTIONS_TASK, said[DISTORTIONS_TASK], 0)
        if named is not None:
            found += _apart((named[:-1] - named[-1]).sigmoid(), [scores.types[name] for name in DISTORTION_TYPES])
        for name in DISTORTION_TYPES:
            if (severity := self._slot(DISTORTIONS_TASK, said[DISTORTIONS_TASK], 1, name)) is not None:
                told = [p / scores.types[name] for p in scores.severities[name][1:]]
                found += _apart(severity.softmax(0), told)
        return found

    def _slot(self, task: str, said: Said, slot: int, type_name: str | None = None) -> Tensor | None:
        """Logits of the candidate words of a slot, if the answer is the canonical one up to it."""
        chat = self._encode(task, type_name)
        place = chat.slots[slot]
        expected = chat.input_ids[len(self.prompts[task]) : place.index]
        if said.ids[: len(expected)] != expected or len(said.logits) <= len(expected):
            return None
        return said.logits[len(expected)][list(place.candidate_ids)]


def _apart(first: Tensor, second: Sequence[float]) -> list[float]:
    return [abs(a - b) for a, b in zip(first.tolist(), second, strict=True)]


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def operations(work: Callable[[], object]) -> float:
    """Floating-point operations of one call."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def product_rate(rows: int, width: int, inner: int) -> float:
    """Operations per second of a matrix product (rows, width) x (width, inner), best of a few."""
    values, weights = torch.randn(rows, width), torch.randn(inner, width)
    best = min(seconds(lambda: torch.nn.functional.linear(values, weights)) for _ in range(9))
    return 2.0 * rows * width * inner / best


@dataclass(frozen=True)
class Measured:
    """A figure beside its bar."""

    name: str
    value: float
    bar: float
    at_least: bool = False

    @property
    def reached(self) -> bool:
        """Whether the bar is reached."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


@dataclass
class Times:
    """Seconds of every call, and what was compared on the way."""

    alone: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    differences: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)


def ask_alone(single: OneAtATime, region: int, scores: Scores, times: Times) -> None:
    """Asks one region's tasks through ``generate``, one after the other."""
    said: dict[str, Said] = {}
    for task in TASKS:
        start = time.perf_counter()
        said[task] = single.ask(region, task)
        times.alone.append(time.perf_counter() - start)
        times.tokens.append(len(said[task].ids))
    times.differences += single.differences(said, scores)


def measure_time(assessor: RegionAssessor, image: np.ndarray, count: int, alone: int, rounds: int) -> list[Measured]:
    """Speed against one at a time, added time, latency, and whether the scores are the same."""
    regions, times = random_boxes(count, *image.shape[:2]), Times()
    with assessor.running():
        single = OneAtATime(assessor, assessor.encode(image, regions))
        scores = [answer.scores for answer in assessor.assess(image, regions)]
        for turn in range(rounds):
            for region in range(turn * alone, (turn + 1) * alone):
                ask_alone(single, region % count, scores[region % count], times)
            times.first += [seconds(lambda: assessor.assess(image, regions[:1])) for _ in range(3)]
            times.together.append(seconds(lambda: assessor.assess(image, regions)))
        show_floor(assessor, image, regions, single)
    together, first, one = median(times.together), median(times.first), fmean(times.alone)
    added = (together - first) / max(1, count - 1)
    print(f"{count} regions {together:.2f} s, one {first:.3f} s, each further one {added:.3f} s (medians)")
    print(f"one task of one region through generate {one:.3f} s, {fmean(times.tokens):.1f} tokens (mean of all calls)")
    apart, ratio = times.differences, len(TASKS) * count * one / fmean(times.together)  # means of both
    return [
        Measured(f"{count} regions x {len(TASKS)} tasks, against one at a time", ratio, FASTER, at_least=True),
        Measured(f"greatest difference of {len(apart)} probabilities", max(apart, default=float("nan")), SAME),
        Measured(f"added time of each region 2..{count} over the first's", added / first, ADDED),
        Measured("one region's numbers, image loaded, s", first, LATENCY),
    ]


def show_floor(assessor: RegionAssessor, image: np.ndarray, regions: list[Region], single: OneAtATime) -> None:
    """Prints the operations of both ways, and the time that they would take at the rate of a matrix product."""
    text = assessor.model.config.text_config
    rate = product_rate(64 * assessor.chunk, text.hidden_size, text.intermediate_size)
    one = operations(lambda: assessor.assess(image, regions[:1]))
    together = operations(lambda: assessor.assess(image, regions))
    alone = sum(operations(partial(single.ask, 0, task)) for task in TASKS)
    print(f"floor at {rate / 1e9:.0f} GFLOP/s (a product of the language model's shape):")
    for name, count in (("first region", one), ("each further region", (together - one) / max(1, len(regions) - 1)),
                        ("all regions", together), ("one region's tasks through generate", alone)):  # fmt: skip
        print(f"  {name:38s} {count / 1e9:8.1f} GFLOP {count / rate:8.3f} s")


def peak_of(options: argparse.Namespace, count: int) -> float:
    """Peak memory in bytes of judging so many regions, in a process of its own."""
    command = [
        sys.executable, "-m", "benchmarks.ask_speed", "--model", str(options.model), "--chunk", str(options.chunk),
        "--peak-of", str(count), *(["--image", str(options.image)] if options.image else []),
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def measure_memory(options: argparse.Namespace) -> list[Measured]:
    """Peak memory of many regions over that of few."""
    few, many = peak_of(options, options.regions), peak_of(options, options.many)
    print(
        f"peak above the loaded model: {options.regions} regions {few / 1e6:.0f} MB, {options.many} {many / 1e6:.0f} MB"
    )
    return [Measured(f"peak memory of {options.many} regions over {options.regions}", many / few, LEANER)]


def deviations(exact: Sequence[RegionAssessment], other: Sequence[RegionAssessment]) -> dict[str, tuple[float, float]]:
    """Mean and greatest difference of quality, importance and types."""

    def of(read: Callable[[Scores], Sequence[float]]) -> tuple[float, float]:
        apart = [abs(a - b) for x, y in zip(exact, other, strict=True)
                 for a, b in zip(read(x.scores), read(y.scores), strict=True)]  # fmt: skip
        return float(np.mean(apart)), max(apart)

    return {
        "quality": of(lambda scores: [scores.quality]),
        "importance": of(lambda scores: [scores.importance]),
        "types": of(lambda scores: list(scores.types.values())),
    }


def measure_precision(options: argparse.Namespace, assessor: RegionAssessor, image: np.ndarray) -> None:
    """Prints how far bfloat16 and 4 bits are from float32."""
    regions = random_boxes(options.regions, *image.shape[:2])
    exact = assessor.assess(image, regions)
    half = RegionAssessor.from_pretrained(options.model, "cpu", bf16=True, chunk=options.chunk)
    small = RegionAssessor.from_pretrained(options.model, "cpu", chunk=options.chunk)
    quantize(small.model.language_model)
    print(f"difference from float32 of {len(regions)} regions, mean (greatest):")
    for name, other in (("bfloat16", half), ("4 bits (nf4)", small)):
        found = deviations(exact, other.assess(image, regions))
        print(f"  {name:14s}" + "  ".join(f"{what} {mean:.4f} ({most:.4f})" for what, (mean, most) in found.items()))


def show(rows: Sequence[Measured]) -> None:
    """Prints the figures beside their bars."""
    table = Table("what", "value", "bar", "reached")
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        table.add_row(row.name, f"{row.value:.3g}", f"{sign} {row.bar:g}", "yes" if row.reached else "NO")
    Console(width=110).print(table)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/quickstart/model"), help="A tuned model.")
    parser.add_argument("--image", type=Path, help="A photograph instead of the built-in one.")
    parser.add_argument("--regions", type=int, default=32)
    parser.add_argument("--many", type=int, default=500)
    parser.add_argument("--alone", type=int, default=4, help="Regions per round that are asked about one at a time.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=32)
    parts = ["time", "memory", "precision"]
    parser.add_argument("--parts", nargs="+", default=parts, choices=parts)
    parser.add_argument("--peak-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    image = photograph(options.image)
    assessor = RegionAssessor.from_pretrained(options.model, "cpu", chunk=options.chunk)
    if options.peak_of is not None:
        regions = random_boxes(options.peak_of, *image.shape[:2])
        with Peak() as peak:
            assessor.assess(image, regions)
        print(peak.bytes)
        return
    rows: list[Measured] = []
    if "time" in options.parts:
        rows += measure_time(assessor, image, options.regions, options.alone, options.rounds)
    if "memory" in options.parts:
        rows += measure_memory(options)
    if "precision" in options.parts:
        measure_precision(options, assessor, image)
    show(rows)


if __name__ == "__main__":
    main()
