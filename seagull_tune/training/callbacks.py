"""What watches a run: TensorBoard logs and drawn curves beside the checkpoints, and others' trackers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations import TensorBoardCallback

from seagull_tune.errors import MissingDependencyError
from seagull_tune.model.checkpoint import writing
from seagull_tune.training.curves import CURVES, write_curves

TENSORBOARD = "tensorboard"
TENSORBOARD_FOLDER = "tensorboard"


class CurvesCallback(TrainerCallback):
    """Draws ``curves.png`` at every save and at the end, from the whole log history.

    Args:
        out: the run's folder.
    """

    def __init__(self, out: Path) -> None:
        self._out = out

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """After a checkpoint is complete."""
        self._draw(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """After the last step."""
        self._draw(state)

    def _draw(self, state: TrainerState) -> None:
        if state.is_world_process_zero:
            with writing(self._out / CURVES):
                write_curves(self._out, state.log_history)


def check_trackers(names: Sequence[str]) -> None:
    """Refuses trackers whose packages are not installed; the Trainer would find out after everything is loaded.

    Raises:
        MissingDependencyError: naming all that are missing.
    """
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        raise MissingDependencyError(
            f"report_to names {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            f"pip install {' '.join(missing)}, or leave {'it' if len(missing) == 1 else 'them'} out of report_to."
        )


def _is_installed(name: str) -> bool:
    """Whether a package is there; a mere folder of that name, such as the logs that wandb leaves, is none."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def trainer_trackers(names: Sequence[str]) -> list[str]:
    """What the Trainer's own ``report_to`` is told: all but TensorBoard, whose folder is ours to choose."""
    return [name for name in names if name != TENSORBOARD]


def callbacks(out: Path, main_process: bool, report_to: Sequence[str]) -> list[TrainerCallback]:
    """Callbacks of a run whose folder is ``out``; only the main process writes.

    Args:
        out: the run's folder.
        main_process: whether this process is it.
        report_to: the trackers that the run asks for.
    """
    if not main_process:
        return []
    watching: list[TrainerCallback] = [CurvesCallback(out)]
    if TENSORBOARD in report_to:
        from torch.utils.tensorboard import SummaryWriter  # needs the package, which may be left out with the tracker

        watching.append(TensorBoardCallback(SummaryWriter(str(out / TENSORBOARD_FOLDER))))
    return watching
