"""Our training configuration as transformers' TrainingArguments; engines come from the launcher, never from here."""

from __future__ import annotations

import math
import os

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainingArguments

from seagull_tune.config.train import TrainConfig


def engine_in_use() -> str:
    """The engine that the launcher set up: ``single``, ``ddp``, ``deepspeed`` or ``fsdp``."""
    kind = PartialState().distributed_type
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false") == "true" or kind == DistributedType.DEEPSPEED:
        return "deepspeed"
    if os.environ.get("ACCELERATE_USE_FSDP", "false") == "true" or kind == DistributedType.FSDP:
        return "fsdp"
    return "ddp" if PartialState().num_processes > 1 else "single"


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
    steps = total_steps(config, n_visits)
    cpu = not torch.cuda.is_available()
    # Without a named backend, processes on CPUs each believe that they are alone.
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return TrainingArguments(
        output_dir=config.out,
        max_steps=steps,
        per_device_train_batch_size=optimisation.batch_size,
        per_device_eval_batch_size=optimisation.batch_size,
        gradient_accumulation_steps=optimisation.accumulate,
        learning_rate=optimisation.learning_rates.language_model,
        weight_decay=optimisation.weight_decay,
        max_grad_norm=optimisation.max_grad_norm,
        lr_scheduler_type="cosine",
        warmup_steps=round(optimisation.warmup * steps),
        bf16=optimisation.bf16,
        use_cpu=cpu and engine_in_use() != "deepspeed",
        ddp_backend="gloo" if several and cpu else None,
        logging_steps=config.log_every,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=config.evaluate_every or None,
        save_strategy="steps" if config.save_every else "no",
        save_steps=config.save_every or 500,
        # Our Trainer rotates after its atomic rename; Trainer's own rotation would count the staging folder.
        save_total_limit=None,
        dataloader_num_workers=0 if config.cache_front else config.workers,
        dataloader_pin_memory=not cpu,
        remove_unused_columns=False,
        report_to="none",
        seed=config.seed,
        data_seed=config.seed,
        disable_tqdm=False,
    )
