"""A thin transformers Trainer: our losses by name, a learning rate per part, the checkpoint contract, atomic saves."""

from __future__ import annotations

import json
import math
import pickle
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from seagull_tune.config.train import LearningRates
from seagull_tune.errors import CheckpointError, DataError, TrainingError
from seagull_tune.model.checkpoint import reload, write_model, writing
from seagull_tune.model.modeling import SeagullOutput
from seagull_tune.training.arguments import engine_in_use, engine_of
from seagull_tune.training.curves import RATE_PREFIX, THROUGHPUT
from seagull_tune.training.order import LengthGroupedOrder
from seagull_tune.training.stages import parameter_groups

LossFunction = Callable[[SeagullOutput, Mapping[str, Tensor]], dict[str, tuple[float, Tensor]]]
"""Output and batch -> name: (weight, loss)."""

STAGING = ".saving"
_EARLIER = "Remove it, and --resume goes on from the checkpoint before it, or from the beginning."


class SeagullTrainer(Trainer):
    """transformers' Trainer with the ROI model's losses and saves.

    Args:
        losses: computes the named losses of a batch.
        rates: peak learning rate per part.
        model_inputs: the batch entries that the model's forward pass takes; the others are targets.
        resolved: resolved configuration, written into every checkpoint.
        lengths: of the training samples, in any unit, where those of a step are to be about as long.
        augment: changes a training batch before it is used; evaluation never sees it.
        others: as in transformers' Trainer.
    """

    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        *,
        losses: LossFunction,
        rates: LearningRates,
        model_inputs: tuple[str, ...],
        resolved: Mapping[str, Any],
        augment: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        lengths: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        self.losses, self.model_inputs = losses, model_inputs
        self._rates, self._resolved, self._augment = rates, dict(resolved), augment
        self._lengths = lengths
        self._seen: dict[str, list[Tensor]] = defaultdict(list)
        self._names: list[str] = []
        self._saving = self._engine_checked = False
        self._clock: tuple[float, int] | None = None
        self._aside = 0.0
        super().__init__(**kwargs)
        # The loss is a mean over the batch; Trainer must divide it by the accumulation steps.
        self.model_accepts_loss_kwargs = False

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with one learning rate per part."""
        if self.optimizer is None:
            trained = self.model if model is None else model
            groups = list(parameter_groups(trained, self._rates, self.args.weight_decay))
            self.optimizer = torch.optim.AdamW(groups, betas=(self.args.adam_beta1, self.args.adam_beta2))
        return self.optimizer

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Weighted sum of the named losses; each is kept for the log by itself.

        Raises:
            TrainingError: the loss is not finite, a sample does not fit together, or another engine runs than the
                launcher asked for.
        """
        if model.training and not self._engine_checked:
            self._check_engine(model)
        if model.training and self._clock is None:
            self._clock = time.monotonic(), self.state.global_step
        if model.training and self._augment is not None:
            inputs = self._augment(inputs)
        try:
            outputs = model(**{name: inputs[name] for name in self.model_inputs if name in inputs})
        except DataError as error:  # the model knows places in the batch; people know samples
            raise TrainingError(f"{error} The batch: {', '.join(inputs.get('names', ()))}.") from error
        named = self.losses(outputs, inputs)
        total = torch.stack([weight * loss for weight, loss in named.values()]).sum()
        if not bool(torch.isfinite(total)):
            values = {name: float(loss) for name, (_, loss) in named.items()}
            raise TrainingError(
                f"The loss is not finite at step {self.state.global_step}: {values}. Lower the learning rates, or look "
                f"at these samples: {', '.join(inputs.get('names', ()))}."
            )
        if model.training:
            self._names += inputs.get("names", ())
        prefix = "" if model.training else "eval_"
        for name, (_, loss) in named.items():
            self._seen[f"{prefix}loss_{name}"].append(loss.detach().float())
        return (total, outputs) if return_outputs else total

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """As the Trainer's, before each step of the optimiser; a norm that is not finite would spoil every weight.

        Raises:
            TrainingError: naming the samples whose gradients went into the step.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        names, self._names = self._names, []
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm  # FSDP2 keeps it spread
        if whole is not None and not math.isfinite(whole):
            raise TrainingError(
                f"The gradients are not finite at step {self.state.global_step}, though the loss is: their norm is "
                f"{float(whole)}. Lower the learning rates, or look at these samples: {', '.join(names)}."
            )
        return norm

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Neighbours of about one length where lengths are given; else the Trainer's random order."""
        if self._lengths is None:
            return super()._get_train_sampler(train_dataset)
        step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LengthGroupedOrder(self._lengths, step, self.args.seed)

    def _check_engine(self, model: nn.Module) -> None:
        """Some launchers fall back silently; a run must not call itself by an engine that it did not have."""
        asked, found = engine_in_use(), engine_of(model)
        if asked != found:
            raise TrainingError(
                f"The launcher asked for the engine {asked!r}, but {found!r} runs here; on machines without a GPU use "
                "ddp or deepspeed (configs/accelerate/)."
            )
        self._engine_checked = True

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, None, None]:
        """Evaluation during training is the loss on the held-out split."""
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        return loss.detach(), None, None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """As the Trainer's; its time does not count as training."""
        with self._beside_training():
            return super().evaluate(*args, **kwargs)

    @contextmanager
    def _beside_training(self) -> Iterator[None]:
        """Time spent inside is left out of the throughput."""
        started = time.monotonic()
        yield
        self._aside += time.monotonic() - started

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds the mean of every named loss since the last log, over all processes, part rates, throughput."""
        side = "eval_" if any(key.startswith("eval_") for key in logs) else "loss_"
        for name in [key for key in self._seen if key.startswith(side)]:
            mean: Any = self.accelerator.reduce(torch.stack(self._seen.pop(name)).mean(), "mean")
            logs[name] = round(float(mean), 6)
        if "loss" in logs:
            logs.update(self._part_rates())
            if (rate := self._throughput()) is not None:
                logs[THROUGHPUT] = round(rate, 3)
        super().log(logs, *args, **kwargs)

    def _part_rates(self) -> dict[str, float]:
        """The learning rate of each part; a part's groups differ in weight decay alone."""
        groups = self.optimizer.param_groups if self.optimizer is not None else []
        return {f"{RATE_PREFIX}{group['name'].split('/')[0]}": float(group["lr"]) for group in groups}

    def _throughput(self) -> float | None:
        """Samples per second of all processes together since the last call, without evaluations and saves."""
        if self._clock is None:
            return None
        (since, first), now = self._clock, time.monotonic()
        seconds, steps = now - since - self._aside, self.state.global_step - first
        self._clock, self._aside = (now, self.state.global_step), 0.0
        per_step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return steps * per_step / seconds if seconds > 0 and steps > 0 else None

    # -- saves ------------------------------------------------------------------------------------------------

    def _get_output_dir(self, trial: Any = None) -> str:
        run = Path(super()._get_output_dir(trial))
        return str(run / STAGING if self._saving else run)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Everything goes into a staging folder that is renamed when complete, so a cut-off save is never resumed."""
        staging = Path(self.args.output_dir) / STAGING
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._saving = True
        try:
            with writing(staging), self._beside_training():
                super()._save_checkpoint(model, trial)
        finally:
            self._saving = False
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            final = Path(self.args.output_dir) / name
            shutil.rmtree(final, ignore_errors=True)
            (staging / name).rename(final)
            shutil.rmtree(staging)
            rotate_checkpoints(output_dir=self.args.output_dir, save_total_limit=self._keep)
        self.accelerator.wait_for_everyone()

    @property
    def _keep(self) -> int:
        return int(self._resolved.get("keep", 2))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if not self.args.should_save:  # under ZeRO-3 the Trainer comes here in every process, but only one has weights
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        write_model(self.accelerator.unwrap_model(self.model), folder, self._resolved, state_dict)
        if self.processing_class is not None:
            self.processing_class.save_pretrained(folder)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        reload(self.accelerator.unwrap_model(model if model is not None else self.model), Path(resume_from_checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """As the Trainer's, which goes on without what is missing: the run would not be the one that was cut off.

        Raises:
            CheckpointError: a file is missing, damaged, or of a run with other parts.
        """
        if checkpoint is None:
            return
        names = ["optimizer.pt", "scheduler.pt"] if engine_in_use() in ("single", "ddp") else []
        names += ["rng_state.pth"] if self.args.world_size == 1 else []
        missing = [name for name in names if not (Path(checkpoint) / name).is_file()]
        if missing:
            raise CheckpointError(f"{checkpoint} lacks {', '.join(missing)}. {_EARLIER}")
        with _resuming(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _resuming(checkpoint):
            super()._load_rng_state(checkpoint)


@contextmanager
def _resuming(checkpoint: str | None) -> Iterator[None]:
    """Turns what torch says of damaged files, and of states that do not fit, into one sentence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise CheckpointError(f"{checkpoint} is damaged, or of a run with other parts ({said}). {_EARLIER}") from error


def last_checkpoint(run: Path) -> Path | None:
    """The newest complete checkpoint of a run folder; staging folders, and those with half a state, do not count."""
    named = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")
    steps = {int(match[1]): path for path in run.glob("*") if (match := named.fullmatch(path.name))}
    complete = {step: path for step, path in steps.items() if _has_state(path)}
    return complete[max(complete)] if complete else None


def _has_state(checkpoint: Path) -> bool:
    """Whether the Trainer's own state is there and whole."""
    try:
        return isinstance(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        return False
