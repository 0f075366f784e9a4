"""Our training configuration as transformers' TrainingArguments; engines come from the launcher, never from here."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, gather_object
from torch import nn
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainingArguments

from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import TrainingError
from seagull_tune.training.callbacks import trainer_trackers

_PATIENCE = timedelta(hours=1)
"""How long processes wait for each other in a step or a save; what may take longer is done by ``together.main_first``.

On GPUs it is also how long they wait for one that is gone, where no launcher ends them all."""


def start_engine() -> str:
    """Joins the processes that the launcher started, and says which engine it set up.

    It comes before anything asks how many processes there are: without a named backend, processes on CPUs each believe
    that they are alone.

    Returns:
        ``single``, ``ddp``, ``deepspeed`` or ``fsdp``.

    Raises:
        TrainingError: the launcher asked for FSDP on a machine without a GPU, or it started several processes that do
            not find each other.
    """
    if _asked("FSDP") and not torch.cuda.is_available():
        raise TrainingError(
            "The launcher asked for the engine 'fsdp', which accelerate silently leaves out on a machine without a "
            "GPU; use configs/accelerate/ddp.yaml, zero2-cpu.yaml or zero3-cpu.yaml here."
        )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    options: dict[str, Any] = {"timeout": _PATIENCE}
    if started > 1 and not torch.cuda.is_available():
        options |= {"cpu": not _asked("DEEPSPEED"), "backend": "gloo"}
    PartialState(**options)
    if PartialState().num_processes != started:
        raise TrainingError(
            f"The launcher started {started} processes, but they run as {PartialState().num_processes}. "
            "Start them with `accelerate launch --config_file configs/accelerate/...`."
        )
    return engine_in_use()


def _asked(engine: str) -> bool:
    """Whether the launcher asked for an engine of accelerate, through the environment."""
    return os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true"


def engine_in_use() -> str:
    """The engine that the launcher set up: ``single``, ``ddp``, ``deepspeed`` or ``fsdp``."""
    kind = PartialState().distributed_type
    if _asked("DEEPSPEED") or kind == DistributedType.DEEPSPEED:
        return "deepspeed"
    if _asked("FSDP") or kind == DistributedType.FSDP:
        return "fsdp"
    return "ddp" if PartialState().num_processes > 1 else "single"


def engine_of(model: nn.Module) -> str:
    """The engine that really drives a prepared model, read from how the model is wrapped."""
    if isinstance(model, DistributedDataParallel):
        return "ddp"
    if isinstance(model, FullyShardedDataParallel | FSDPModule):
        return "fsdp"
    # DeepSpeed is imported nowhere: accelerate drives it.
    return "deepspeed" if type(model).__module__.startswith("deepspeed.") else "single"


def device_names() -> list[str]:
    """What each process runs on, in the order of ranks; every process must ask."""
    if torch.cuda.is_available():
        mine = torch.cuda.get_device_name(PartialState().device)
    else:
        mine = f"cpu ({_processor()}, {os.cpu_count()} cores)"
    return list(gather_object([mine]))


def _processor() -> str:
    """The processor's name; Linux tells it only there."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8", errors="replace").splitlines() if table.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def total_steps(config: TrainConfig, n_visits: int) -> int:
    """Optimiser steps of a run over ``n_visits`` visits of samples, for the processes that are running."""
    optimisation = config.optimisation
    if optimisation.steps is not None:
        return optimisation.steps
    per_step = optimisation.batch_size * optimisation.accumulate * PartialState().num_processes
    return max(1, math.ceil(n_visits / per_step))


def training_arguments(config: TrainConfig, n_visits: int, evaluates: bool) -> TrainingArguments:
    """Arguments of the Trainer for a run.

    Args:
        config: the run.
        n_visits: length of the training list.
        evaluates: whether there is a held-out split to evaluate on.
    """
    optimisation = config.optimisation
    return run_arguments(
        config.out, total_steps(config, n_visits), optimisation.warmup, config.log_every, config.save_every,
        config.report_to, config.seed,
        per_device_train_batch_size=optimisation.batch_size,
        per_device_eval_batch_size=optimisation.batch_size,
        gradient_accumulation_steps=optimisation.accumulate,
        learning_rate=optimisation.learning_rates.language_model,
        weight_decay=optimisation.weight_decay,
        max_grad_norm=optimisation.max_grad_norm,
        bf16=optimisation.bf16,
        gradient_checkpointing=optimisation.gradient_checkpointing and config.losses.reads_text,
        # The other kind loses the gradients of a part whose inputs need none, such as adapters on frozen embeddings.
        gradient_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy="steps" if evaluates else "no",
        eval_steps=config.evaluate_every or None,
        dataloader_num_workers=0 if config.cache_front else config.workers,
    )  # fmt: skip


def run_arguments(
    out: str,
    steps: int,
    warmup: float,
    log_every: int,
    save_every: int,
    report_to: Sequence[str],
    seed: int,
    **others: Any,
) -> TrainingArguments:
    """What the arguments of all our trainings have in common.

    Args:
        out: run folder.
        steps: optimiser steps.
        warmup: share of them over which the learning rate rises; then it falls as a cosine.
        log_every, save_every: in steps; ``save_every`` 0 saves nothing on the way.
        report_to: trackers.
        seed: of weights and order.
        others: what differs, by the names of ``TrainingArguments``.
    """
    cpu = not torch.cuda.is_available()
    several = PartialState().num_processes > 1
    arguments = TrainingArguments(
        output_dir=out,
        max_steps=steps,
        lr_scheduler_type="cosine",
        warmup_steps=round(warmup * steps),
        use_cpu=cpu and engine_in_use() != "deepspeed",
        ddp_backend="gloo" if several and cpu else None,
        logging_steps=log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or 500,
        # Our Trainer rotates after its atomic rename; Trainer's own rotation would count the staging folder.
        save_total_limit=None,
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        report_to=trainer_trackers(report_to) or "none",
        run_name=Path(out).name,
        project="seagull-tune",
        seed=seed,
        data_seed=seed,
        disable_tqdm=False,
        **others,
    )
    # One process drives one GPU; Trainer would split batches over all it sees, and ours hold lists and flat indices.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
