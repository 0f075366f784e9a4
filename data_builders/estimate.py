"""What a large build will cost: the first photographs are built for a few seconds, and the rates are multiplied.

Processor time is counted, not time on the clock: what else the machine does changes little. The files' fixed part
(headers, footers: some 10 kB a shard) is left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from datasets import Features

from data_builders.executors import single_threaded
from data_builders.shards import ShardTask, build_samples, open_photograph, write_table
from data_builders.sources import SourceImage, few_sources
from seagull_tune.config.data import BuildConfig, SplitName
from seagull_tune.config.regions import SamSettings
from seagull_tune.data.schema import IMAGES_FEATURES, SAMPLES_FEATURES, image_to_row, to_table
from seagull_tune.errors import DataError, RegionError, SeagullError

MACHINES = (1, 4, 16, 64)
"""Numbers of machines that a time is given for."""

_PHOTOGRAPHS, _SAMPLES = 16, 24
"""Most photographs, and samples of each, that are measured: all types are met, and photographs of several kinds."""


@dataclass(frozen=True)
class Rate:
    """What building costs here, measured on a few photographs of a configuration.

    Attributes:
        photographs, images, samples: what was measured on; an image is a photograph or a tile of it.
        photograph_seconds: processor seconds to read a photograph and find its regions, in all its images; without
            ``gpu_seconds``.
        gpu_seconds: seconds on the clock in which SAM held a GPU, per photograph; 0.0 where none is used, None where it
            could not be measured here.
        sample_seconds: processor seconds to render and label a sample of one image.
        photograph_bytes, sample_bytes: on disk.
        regions: per image.
    """

    photographs: int
    images: int
    samples: int
    photograph_seconds: float
    gpu_seconds: float | None
    sample_seconds: float
    photograph_bytes: float
    sample_bytes: float
    regions: float


@dataclass(frozen=True)
class Estimate:
    """The cost of a build of ``n_samples`` distorted images."""

    config: BuildConfig
    n_samples: int
    rate: Rate

    @property
    def n_photographs(self) -> int:
        """Source photographs that so many samples take."""
        per_photograph = self.config.samples_per_image * self.rate.images / self.rate.photographs
        return max(1, round(self.n_samples / per_photograph))

    @property
    def n_regions(self) -> int:
        """Labelled regions."""
        return round(self.n_samples * self.rate.regions)

    @property
    def cpu_hours(self) -> float:
        """Hours of one processor."""
        seconds = self.n_photographs * self.rate.photograph_seconds + self.n_samples * self.rate.sample_seconds
        return seconds / 3600.0

    @property
    def gpu_hours(self) -> float | None:
        """Hours of one GPU; None where the rate was not measured."""
        return None if self.rate.gpu_seconds is None else self.n_photographs * self.rate.gpu_seconds / 3600.0

    @property
    def bytes(self) -> float:
        """On disk, both tables; no pixels, unless the photographs are embedded."""
        return self.n_photographs * self.rate.photograph_bytes + self.n_samples * self.rate.sample_bytes

    def hours_on(self, machines: int) -> float:
        """Hours on the clock with ``config.workers`` processes on every machine, and a GPU where one is used."""
        return max(self.cpu_hours / self.config.workers, self.gpu_hours or 0.0) / machines

    def describe(self) -> str:
        """The estimate as a person reads it."""
        rate, gpu = self.rate, self.gpu_hours
        if gpu is None:
            gpu_line = f"not measured: SAM is to run on {self.config.regions.sam.device!r}, which this machine lacks"
        elif self.config.regions.method != "sam":
            gpu_line = "0 (no part of it needs one)"
        elif not gpu:
            gpu_line = "0 (SAM is to run on processors, and is counted there)"
        else:
            gpu_line = f"{gpu:,.1f}"
        times = ", ".join(f"{n}: {_duration(self.hours_on(n))}" for n in MACHINES)
        processes = f"{self.config.workers} process{'es' if self.config.workers > 1 else ''}"
        counts = (
            f"{self.n_samples:,} distorted images of {self.n_photographs:,} photographs, "
            f"{self.n_regions:,} labelled regions ({rate.regions:.1f} per image)"
        )
        measured = (
            f"  measured here: {rate.samples} samples of {rate.photographs} photographs, "
            f"{1.0 / rate.sample_seconds:.1f} samples per second of a processor, "
            f"{rate.photograph_seconds:.2f} s per photograph to read it and find its regions"
        )
        lines = (
            counts,
            measured,
            f"  CPU hours:     {self.cpu_hours:,.1f}",
            f"  GPU hours:     {gpu_line}",
            f"  bytes on disk: {_size(self.bytes)} ({self.bytes / max(1, self.n_regions):.1f} per labelled region)",
            f"  time on n machines of {processes}: {times}" + (" (without the GPU's part)" if gpu is None else ""),
        )
        return "\n".join(lines)


def estimate_build(config: BuildConfig, n_samples: int, seconds: float = 5.0) -> Estimate:
    """Measure for about ``seconds``, and multiply; writes only into a temporary folder.

    Args:
        config: the build; its photographs are what is measured on.
        n_samples: distorted images that are planned.
        seconds: of processor time for measuring; at least one photograph is measured, however long it takes.

    Raises:
        DataError: no photograph can be built.
        MissingDependencyError, CheckpointError: something that the build needs is not there.
    """
    with tempfile.TemporaryDirectory() as scratch, single_threaded():
        return Estimate(config, n_samples, measure_rate(config, Path(scratch), seconds))


def measure_rate(config: BuildConfig, scratch: Path, seconds: float) -> Rate:
    """Build photographs for about ``seconds`` in this process.

    Args:
        config: the build.
        scratch: an empty folder.
        seconds: of processor time; no further photograph is begun after them.

    Raises:
        DataError: no photograph can be built.
    """
    on_gpu = config.regions.method == "sam" and config.regions.sam.device.startswith("cuda")
    gpu_is_there = on_gpu and _gpu_is_there()
    work = _Measured()
    problems: list[SeagullError] = []
    sources = few_sources(config, _PHOTOGRAPHS)
    task = _task(config, sources, scratch, segmented=gpu_is_there or not on_gpu)
    warm = False
    started = time.process_time()
    for source in sources:
        if (work.photographs or problems) and time.process_time() - started > seconds:
            break
        try:
            if not warm:  # the first one that can be built is built twice: what is loaded once does not count
                _build(source, task)
                warm = True
            work = work.plus(_build(source, task))
        except (DataError, RegionError) as error:
            problems.append(error)
    if not work.photographs:
        raise DataError(f"Nothing could be measured, no photograph could be built: {problems[0]}")
    finding = work.opening_clock if gpu_is_there else 0.0
    return Rate(
        photographs=work.photographs,
        images=len(work.images),
        samples=len(work.samples),
        photograph_seconds=work.opening_cpu / work.photographs,
        gpu_seconds=None if on_gpu and not gpu_is_there else finding / work.photographs,
        sample_seconds=work.labelling_cpu / len(work.samples),
        photograph_bytes=_stored(work.images, IMAGES_FEATURES, scratch) * len(work.images) / work.photographs,
        sample_bytes=_stored(work.samples, SAMPLES_FEATURES, scratch),
        regions=sum(len(row["labels"]) for row in work.samples) / len(work.samples),
    )


@dataclass(frozen=True)
class _Measured:
    """Rows, and the seconds that they took."""

    photographs: int = 0
    images: tuple[dict[str, Any], ...] = ()
    samples: tuple[dict[str, Any], ...] = ()
    opening_cpu: float = 0.0
    opening_clock: float = 0.0
    labelling_cpu: float = 0.0

    def plus(self, other: _Measured) -> _Measured:
        """Both together."""
        return _Measured(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def _build(source: SourceImage, task: ShardTask) -> _Measured:
    clock, cpu = time.monotonic(), time.process_time()
    opened = list(open_photograph(source, task))
    clock, opening = time.monotonic() - clock, time.process_time() - cpu
    samples = [row for record, image in opened for row in build_samples(record, image, task.config)]
    images = tuple(image_to_row(record) for record, _ in opened)
    return _Measured(1, images, tuple(samples), opening, clock, time.process_time() - cpu - opening)


def _task(config: BuildConfig, sources: Sequence[SourceImage], scratch: Path, segmented: bool) -> ShardTask:
    """A shard of those photographs, with fewer samples of each, and no regions from a cache: they would cost nothing.

    Args:
        segmented: False takes the graph's regions where SAM cannot run here.
    """
    sam = config.regions.sam.model_copy(update={"cache": False})
    method = config.regions.method if segmented else "graph"
    regions = config.regions.model_copy(update={"sam": sam if method == "sam" else SamSettings(), "method": method})
    few = min(config.samples_per_image, _SAMPLES)
    measured = config.model_copy(update={"regions": regions, "samples_per_image": few})
    splits: dict[str, SplitName] = {source.scene_id: "train" for source in sources}
    return ShardTask(scratch, "measured.parquet", "", measured, tuple(sources), splits)


def _stored(rows: Sequence[Mapping[str, Any]], features: Features, scratch: Path) -> float:
    """Bytes that one more row takes in a Parquet file: those of the second half of ``rows``, where there is a first."""
    sizes = []
    for part in (rows, rows[: len(rows) // 2]):
        file = scratch / "rows.parquet"
        write_table(to_table(part, features, {}), file)
        sizes.append(file.stat().st_size)
    return (sizes[0] - sizes[1]) / (len(rows) - len(rows) // 2)


def _gpu_is_there() -> bool:
    import torch

    return torch.cuda.is_available()


def _duration(hours: float) -> str:
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"


def _size(count: float) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
