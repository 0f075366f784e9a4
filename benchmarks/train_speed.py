"""How many tokens a second the embedded fine-tuning trains, against the same Trainer without what makes it fast.

    python benchmarks/train_speed.py [--data DIR] [--samples 4] [--blocks 2] [--steps 8]

Photographs: those of `configs/data/quickstart.yaml`, or of --data. Settings: `configs/embedded/finetune.yaml`. A
trained token is one that a loss is computed for. Four things are switched off, all together ("plain") and one by one:

- logits where they are trained: plain, the output head runs at every position (the losses still read the trained ones);
- conversations: plain, a sequence is one question about one region;
- padding to the longest of the batch: plain, to the longest of the data set;
- the cached front: plain, pictures are rendered and the frozen tower runs at every visit, with the same workers.

Every variant is a real Trainer on the same model; they take turns, in blocks, and visit the same rows in the same
order, so that a busy machine is busy for all. The first steps of a block are left out. Rates are told by the clock and
by processor time (that of the loading workers included), which others on the machine move less; both must hold the bar.

The floor is the arithmetic that this training cannot do without, at the rate at which torch multiplies bfloat16
matrices of the model's own sizes here: forward and backward through the frozen weights, the adapters, attention, and
the output head at the trained tokens; nothing padded.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import TrainerCallback

from data_builders.pipeline import build_dataset
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.model.lora import is_lora_parameter
from seagull_tune.model.modeling import SeagullForConditionalGeneration, SeagullOutput
from seagull_tune.threads import wait_politely
from seagull_tune.training.trainer import LossFunction, SeagullTrainer
from seagull_tune.tune.recipe import Prepared, build_trainer, prepare
from seagull_tune.tune.samples import TrainingSamples

SETTING, PHOTOGRAPHS = "configs/embedded/finetune.yaml", "configs/data/quickstart.yaml"
LEAST_TIMES = 2.5
WARM_UP = 2
ITEMS = {
    "logits": "logits at every position",
    "conversations": "one question per sequence",
    "padding": "padded to the longest of the data set",
    "cache": "front not cached",
}
"""What can be switched off, and what is there without it."""
VARIANTS: dict[str, frozenset[str]] = {
    "as shipped": frozenset(),
    "plain": frozenset(ITEMS),
    **{text: frozenset({item}) for item, text in ITEMS.items()},
}


@dataclass
class Meter(TrainerCallback):
    """Seconds and tokens of the steps of one variant, warm-up left out.

    Attributes:
        seconds: (by the clock, of processors) of every step that counts, loading included.
        tokens: per step: trained, read (image, regions and text), and sequences' lengths squared, summed; padded.
    """

    seconds: list[tuple[float, float]] = field(default_factory=list)
    tokens: list[tuple[int, int, int, int]] = field(default_factory=list)
    _last: tuple[float, float] = (0.0, 0.0)
    _read: tuple[int, int, int, int] = (0, 0, 0, 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Takes the time of a step, from the end of the one before."""
        now = time.perf_counter(), processor_seconds()
        if state.global_step > WARM_UP:
            self.seconds.append((now[0] - self._last[0], now[1] - self._last[1]))
            self.tokens.append(self._read)
        self._last = now

    def counting(self, losses: LossFunction) -> LossFunction:
        """The same losses; counts what they are given."""

        def compute(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
            lengths = batch["attention_mask"].sum(dim=1)
            squares = int(lengths.square().sum())
            self._read = len(batch["target_ids"]), int(lengths.sum()), squares, batch["input_ids"].numel()
            return losses(outputs, batch)

        return compute

    def rate(self, kind: int) -> float:
        """Trained tokens a second, by the clock (0) or of processors (1)."""
        return sum(trained for trained, *_ in self.tokens) / sum(step[kind] for step in self.seconds)

    def mean(self, column: int) -> float:
        """Mean of a column of ``tokens``."""
        return sum(row[column] for row in self.tokens) / len(self.tokens)

    def step(self, kind: int) -> float:
        """Mean seconds of a step, by the clock (0) or of processors (1)."""
        return sum(step[kind] for step in self.seconds) / len(self.seconds)


def processor_seconds() -> float:
    """Processor time of this process and of the workers that it has now."""
    me = psutil.Process()
    used = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return float(sum(times.user + times.system for times in used))


class EvenCollator:
    """Pads every batch to one length.

    Args:
        collate: builds the batches.
        length: what to pad to, in tokens; no batch may be longer.
    """

    def __init__(self, collate: Collator, length: int) -> None:
        self.collate, self.length = collate, length

    def __call__(self, items: Sequence[TrainingItem]) -> dict[str, Any]:
        """A batch of :class:`Collator`, padded."""
        batch = self.collate(items)
        ids, mask = batch["input_ids"], batch["attention_mask"]
        rows, short = ids.shape
        longer = ids.new_full((rows, self.length), self.collate.pad_token_id)
        longer[:, :short] = ids
        unseen = torch.zeros_like(longer)
        unseen[:, :short] = mask
        index = batch["logits_index"]
        index = index // short * self.length + index % short
        return {**batch, "input_ids": longer, "attention_mask": unseen, "logits_index": index}


def at_trained_positions(losses: LossFunction) -> LossFunction:
    """Losses for a model that gives logits (B, L, V) at every position."""

    def compute(outputs: SeagullOutput, batch: Mapping[str, Tensor]) -> dict[str, tuple[float, Tensor]]:
        assert outputs.logits is not None
        trained = outputs.logits.flatten(0, 1)[batch["logits_index"]]
        return losses(replace(outputs, logits=trained), batch)

    return compute


def without(item_names: frozenset[str], config: TrainConfig, prepared: Prepared) -> SeagullTrainer:
    """A Trainer that lacks some of the items."""
    if "cache" in item_names:
        config = config.model_copy(update={"cache_front": False})
    if "conversations" in item_names:
        single = config.conversation.model_copy(update={"turns": 1, "max_regions": 1})
        config = config.model_copy(update={"conversation": single})
    train = TrainingSamples(
        prepared.train.rows, prepared.processor, prepared.train.prompts, config.conversation,
        prepared.train.passes, prepared.train.chosen, prepared.train.cache if config.cache_front else None,
    )  # fmt: skip
    with redirect_stdout(io.StringIO()):  # the same table of parts for every block
        trainer = build_trainer(config, replace(prepared, train=train))
    if "padding" in item_names:
        assert isinstance(trainer.data_collator, Collator)
        trainer.data_collator = EvenCollator(trainer.data_collator, longest(train))
    if "logits" in item_names:
        trainer.model_inputs = tuple(name for name in trainer.model_inputs if name != "logits_index")
        trainer.losses = at_trained_positions(trainer.losses)
    return trainer


def longest(samples: TrainingSamples) -> int:
    """The longest sequence of a data set, in tokens."""
    texts = (samples.text(index).encoded for index in range(len(samples)))
    return max(len(encoded.input_ids) for encoded in texts if encoded is not None)


def make_data(folder: Path, data: str | None, samples: int) -> Path:
    """Builds the data set; all its photographs train."""
    changes = [f"samples_per_image={samples}", "workers=2"]
    if data is not None:
        changes += [f"source={data}", "select=null"]
    build_dataset(load_config(BuildConfig, PHOTOGRAPHS, changes), folder)
    return folder


def take_turns(config: TrainConfig, prepared: Prepared, blocks: int, steps: int) -> dict[str, Meter]:
    """Measures every variant in turn, ``blocks`` times; every block is a run of its own over rows of its own order."""
    meters = {name: Meter() for name in VARIANTS}
    for block in range(blocks):
        run = config.optimisation.model_copy(update={"steps": WARM_UP + steps})
        run_config = config.model_copy(update={"optimisation": run, "seed": config.seed + block})
        for name, item_names in VARIANTS.items():
            meter = meters[name]
            trainer = without(item_names, run_config, prepared)
            trainer.losses = meter.counting(trainer.losses)
            trainer.add_callback(meter)
            trainer.train()
            print(f"block {block + 1}: {name}: {meter.rate(0):.1f} trained tokens/s so far", flush=True)
    return meters


def matmul_rate(rows: int, width: int, inner: int) -> float:
    """Operations per processor second of torch's bfloat16 product (rows, width) x (width, inner): the best of many."""
    left = torch.randn(rows, width, dtype=torch.bfloat16)
    right = torch.randn(inner, width, dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(100):
        started = time.process_time()
        torch.nn.functional.linear(left, right)
        best = min(best, time.process_time() - started)
    return 2.0 * rows * width * inner / best


def least_work(model: SeagullForConditionalGeneration, meter: Meter) -> float:
    """Operations of a step that training adapters on frozen weights cannot do without.

    A frozen weight is multiplied forward and for the gradient of its input, a trained one also for its own gradient,
    two operations each time; causal attention is half of all pairs, two products forward and four backward.
    """
    trained, read, squares = (meter.mean(column) for column in range(3))
    text = model.config.text_config
    weights = {name: p for name, p in model.decoder.named_parameters() if p.ndim == 2 and "embed_tokens" not in name}
    adapters = sum(p.numel() for name, p in weights.items() if is_lora_parameter(name))
    frozen = sum(p.numel() for p in weights.values()) - adapters
    attention = 6 * squares * text.hidden_size * text.num_hidden_layers
    head = 4 * trained * text.hidden_size * model.get_output_embeddings().weight.shape[0]  # type: ignore[index,union-attr]
    return float(read * (4 * frozen + 6 * adapters) + attention + head)


def show(meters: Mapping[str, Meter]) -> float:
    """Prints the table; how many times the plain rate ours is, by the clock or by processor time: the lower one."""
    plain, ours = meters["plain"], meters["as shipped"]
    columns = ("tokens/s", "of processors", "times plain", "of processors", "s/step", "trained", "read", "padded")
    table = Table("", *columns, title="Trained tokens per second; trained, read and padded tokens per step")
    for name, meter in meters.items():
        rates = [meter.rate(kind) for kind in range(2)]
        values = [f"{rate:.1f}" for rate in rates]
        values += [f"{rate / plain.rate(kind):.2f}" for kind, rate in enumerate(rates)]
        values += [f"{meter.step(0):.2f}", *(f"{meter.mean(column):.0f}" for column in (0, 1, 3))]
        table.add_row(name if name in ("as shipped", "plain") else f"- {name}", *values)
    Console(width=150).print(table)
    return min(ours.rate(kind) / plain.rate(kind) for kind in range(2))


def show_floor(model: SeagullForConditionalGeneration, meter: Meter) -> None:
    """Prints the arithmetic of a step at the measured rate, beside the step."""
    text = model.config.text_config
    rate = matmul_rate(round(meter.mean(1)), text.hidden_size, text.intermediate_size)
    work = least_work(model, meter)
    print(
        f"Floor: {work / 1e9:.0f} GFLOP a step at {rate / 1e9:.0f} GFLOP/s of a processor (bfloat16) = "
        f"{work / rate:.2f} processor seconds, {meter.mean(0) * rate / work:.1f} trained tokens each; a step takes "
        f"{meter.step(1):.2f}, {meter.step(1) * rate / work:.2f} times as long."
    )


def main() -> None:
    """Build, prepare, measure, print; exit code 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of photographs (default: the quickstart's)")
    parser.add_argument("--samples", type=int, default=4, help="distorted versions per photograph")
    parser.add_argument("--blocks", type=int, default=2, help="turns of every variant")
    parser.add_argument("--steps", type=int, default=8, help=f"steps per block, after {WARM_UP} of warm-up")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="A.B=C", help="override one key")
    options = parser.parse_args()
    wait_politely()
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_data(Path(scratch) / "data", options.data, options.samples)
        # A new extractor: how fast it is does not depend on what it has learnt.
        changes = [f"data={folder}", f"out={scratch}/run", "init=null", "save_every=0", "evaluate_every=0"]
        changes += ["log_every=1000", "optimisation.steps=null", *options.sets]
        config = load_config(TrainConfig, SETTING, changes)
        prepared = prepare(config)
        meters = take_turns(config, prepared, options.blocks, options.steps)
    times = show(meters)
    show_floor(prepared.model, meters["as shipped"])
    print(f"{times:.2f} times the plain rate; the bar is {LEAST_TIMES}.")
    sys.exit(int(times < LEAST_TIMES))


if __name__ == "__main__":
    main()
