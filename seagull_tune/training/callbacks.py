"""What watches a run: TensorBoard logs beside the checkpoints."""

from __future__ import annotations

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback
from transformers.integrations import TensorBoardCallback

TENSORBOARD_FOLDER = "tensorboard"


def callbacks(out: Path, main_process: bool) -> list[TrainerCallback]:
    """Callbacks of a run whose folder is ``out``; only the main process writes logs."""
    if not main_process:
        return []
    return [TensorBoardCallback(SummaryWriter(str(out / TENSORBOARD_FOLDER)))]
