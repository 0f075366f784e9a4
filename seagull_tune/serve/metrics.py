"""What the server counts, in Prometheus' text format 0.0.4."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

PREFIX = "seagull_tune"
_STATUS = Path("/proc/self/status")


class Histogram:
    """Values by upper bounds, cumulative when they are written.

    Args:
        bounds: ascending; what is above the last one only counts under ``+Inf``.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str = "") -> list[str]:
        """The histogram's lines; ``labels``: ``key="value"`` pairs that all of them carry."""
        total, found = 0, []
        comma = "," if labels else ""
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{{labels}{comma}le="{bound}"}} {total}')
        braces = f"{{{labels}}}" if labels else ""
        return [*found, f"{name}_sum{braces} {self._sum:.6f}", f"{name}_count{braces} {total}"]


class Metrics:
    """Counts of one server; any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, int], int] = defaultdict(int)
        self._seconds: dict[str, Histogram] = {}
        self._batches: dict[str, Histogram] = {}
        self._tokens = 0
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """A value that is read when the metrics are."""
        self._gauges[name] = (meaning, read)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request that ended."""
        with self._lock:
            self._requests[route, status] += 1
            bounds = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
            self._seconds.setdefault(route, Histogram(bounds)).add(seconds)

    def batch(self, kind: str, size: int) -> None:
        """Requests that were answered together."""
        with self._lock:
            self._batches.setdefault(kind, Histogram((1, 2, 4, 8, 16, 32))).add(size)

    def tokens(self, count: int) -> None:
        """Tokens that were generated."""
        with self._lock:
            self._tokens += count

    def text(self) -> str:
        """All of it."""
        with self._lock:
            lines = _heading("requests_total", "counter", "Requests by route and status; 499: the client went away.")
            for (route, status), count in sorted(self._requests.items()):
                lines.append(f'{PREFIX}_requests_total{{route="{route}",status="{status}"}} {count}')
            lines += _heading("request_seconds", "histogram", "Time from a request's head to the end of its answer.")
            for route, seconds in sorted(self._seconds.items()):
                lines += seconds.lines(f"{PREFIX}_request_seconds", f'route="{route}"')
            lines += _heading("batch_size", "histogram", "Requests that were answered together.")
            for kind, sizes in sorted(self._batches.items()):
                lines += sizes.lines(f"{PREFIX}_batch_size", f'kind="{kind}"')
            lines += _heading("generated_tokens_total", "counter", "Tokens that the language model wrote.")
            lines.append(f"{PREFIX}_generated_tokens_total {self._tokens}")
        for name, (meaning, read) in sorted(self._gauges.items()):
            lines += [*_heading(name, "gauge", meaning), f"{PREFIX}_{name} {read():g}"]
        lines += ["# TYPE process_cpu_seconds_total counter", f"process_cpu_seconds_total {time.process_time():.3f}"]
        resident = resident_bytes()
        if resident is not None:
            lines += ["# TYPE process_resident_memory_bytes gauge", f"process_resident_memory_bytes {resident}"]
        return "\n".join(lines) + "\n"


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not say."""
    if not _STATUS.exists():
        return None
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _heading(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {PREFIX}_{name} {meaning}", f"# TYPE {PREFIX}_{name} {kind}"]
