"""How much memory a piece of work takes at its peak, above what was there before."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from types import TracebackType

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _resident(key: str) -> float:
    """A field of Linux's account of this process, in bytes."""
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith(f"{key}:"))
    return float(line.split()[1]) * 1024


class Peak:
    """Measures the peak memory of a block: allocated tensors on a GPU, resident memory of the process on a CPU.

    Attributes:
        bytes: the peak above the start, once the block has ended.
    """

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.bytes = 0.0

    def __enter__(self) -> Peak:
        if self.device != "cpu":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._start = float(torch.cuda.memory_allocated())
        elif _RESET.exists():
            _RESET.write_text("5", encoding="ascii")  # the peak starts again from what is resident now
            self._start = _resident("VmRSS")
        else:
            self._start = self._largest()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()
            peak = float(torch.cuda.max_memory_allocated())
        else:
            peak = _resident("VmHWM") if _RESET.exists() else self._largest()
        self.bytes = peak - self._start

    @staticmethod
    def _largest() -> float:
        """Largest resident memory of this process so far; where the peak cannot be reset, blocks must grow."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)
