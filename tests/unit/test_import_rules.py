"""Who may import whom, read from the syntax tree of every file of both packages.

errors, levels, records, files, threads, wheels, embedded <- config
  <- images, builtin_scenes, plots, metrics, regions, distortions, fullref, instructions <- segment <- data <- model
  <- training | infer <- tune, rsa, video, evaluate, gallery <- web, serve, doctor, quickstart, cli
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors", "levels", "files", "threads"),
    ("records", "wheels", "hub_card", "values"),
    ("embedded",),
    ("config",),
    (
        "images",
        "raw",
        "builtin_scenes",
        "plots",
        "metrics",
        "opinions",
        "regions",
        "distortions",
        "fullref",
        "instructions",
    ),
    ("segment",),
    ("data",),
    ("model",),
    ("training", "infer"),
    ("tune", "rsa", "video", "evaluate", "gallery"),
    ("web", "serve", "doctor", "quickstart", "cli"),
)
LEVEL = {room: i for i, rooms in enumerate(LEVELS) for room in rooms}
LEFT = [room for rooms in LEVELS[: LEVEL["segment"] + 1] for room in rooms]
BUILDERS = "data_builders"
WIRING = ("cli", "quickstart")
"""The only rooms that may import the data builders."""
MAY_TRAIN = ("tune", "rsa/train.py", "video/train.py")
"""Where training may be imported, besides the wiring and training itself."""
ONE_PLACE = {
    "peft": ("seagull_tune/model/lora.py",),
    "bitsandbytes": ("seagull_tune/model/quantize.py",),
    "segment_anything": ("seagull_tune/segment/sam.py",),
    "deepspeed": (),
    "pyiqa": ("data_builders/labelers/crops.py",),
    "rawpy": ("seagull_tune/raw.py",),
    "gradio": ("seagull_tune/web/",),
    "fastapi": ("seagull_tune/serve/",),
    "uvicorn": ("seagull_tune/serve/",),
    "xgrammar": ("seagull_tune/infer/grammar.py",),
    "ray": ("data_builders/executors.py",),
}
HEAVY = ("torch", "torchvision", "transformers", "peft", "accelerate", "timm", "datasets", "pandas")
"""What the left part does not load when it is imported."""


@dataclass(frozen=True)
class Import:
    """One import statement: the file (relative to the checkout), its room, the module, whether at module level."""

    file: str
    room: str
    module: str
    line: int
    top_level: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}"


def room_of(file: Path) -> str:
    """``seagull_tune/data/schema.py`` -> ``data``; ``seagull_tune/cli.py`` -> ``cli``; builders are one room."""
    parts = file.with_suffix("").parts
    return BUILDERS if parts[0] == BUILDERS else parts[1]


def imports_of(file: Path, source: str) -> Iterator[Import]:
    """All imports of one file, also those inside functions; relative ones made absolute."""
    tree = ast.parse(source)
    guarded: set[int] = set()
    for node in ast.walk(tree):
        types_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or types_only:
            guarded.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(file.parts[: len(file.parts) - node.level]) if node.level else ""
            base = ".".join(part for part in (package, node.module or "") if part)
            # `from seagull_tune import data` names a room by the alias.
            bare = base in ("seagull_tune", BUILDERS)
            modules = [f"{base}.{alias.name}" for alias in node.names] if bare else [base]
        else:
            continue
        for module in modules:
            yield Import(file.as_posix(), room_of(file), module, node.lineno, id(node) not in guarded)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for package in ("seagull_tune", BUILDERS):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "_assets" not in path.parts:
                found += imports_of(path.relative_to(ROOT), path.read_text(encoding="utf-8"))
    return found


IMPORTS = all_imports()


def target_room(module: str) -> str | None:
    """The room of ``seagull_tune`` that a module belongs to, None for other packages and for the version."""
    parts = module.split(".")
    if parts[0] != "seagull_tune" or len(parts) == 1 or parts[1].startswith("__"):
        return None
    return parts[1]


def in_place(file: str, places: tuple[str, ...]) -> bool:
    return any(file == place or (place.endswith("/") and file.startswith(place)) for place in places)


def violation(found: Import) -> str | None:
    """Why an import inside the project is not allowed, or None."""
    target = target_room(found.module)
    if found.module.split(".")[0] == BUILDERS:
        wired = found.room in (BUILDERS, *WIRING)
        return None if wired else "only cli.py and quickstart.py wire the data builders"
    if target is None or target == found.room:
        return None
    if found.room == BUILDERS:
        schema = found.module == "seagull_tune.data.schema"
        return None if schema or target in LEFT else "data builders use the left part, up to segment, and data.schema"
    if target == "training":
        inside = found.file.removeprefix("seagull_tune/")
        allowed = found.room in WIRING or found.room in MAY_TRAIN or inside in MAY_TRAIN
        return None if allowed else "only tune, rsa/train.py and video/train.py import training"
    if found.room in ("infer", "evaluate") and target == "tune":
        return "infer and evaluate never import tune"
    if target not in LEVEL or found.room not in LEVEL:
        return "a room that is not on the map (LEVELS)"
    return None if LEVEL[target] <= LEVEL[found.room] else f"{target} lies to the right of {found.room}"


def test_every_room_is_on_the_map() -> None:
    rooms = {
        path.stem
        for path in (ROOT / "seagull_tune").iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem not in ("__init__", "__main__")
    }
    assert rooms - set(LEVEL) == set()


def test_imports_go_one_way() -> None:
    wrong = [f"{found}: {why}" for found in IMPORTS if found.room != "__init__" and (why := violation(found))]
    assert wrong == []


def test_no_two_rooms_import_each_other() -> None:
    edges = {(f.room, t) for f in IMPORTS if (t := target_room(f.module)) and t != f.room and f.room in LEVEL}
    assert [pair for pair in sorted(edges) if pair[::-1] in edges] == []


def test_the_package_itself_imports_nothing() -> None:
    assert [
        str(found) for found in IMPORTS if found.file == "seagull_tune/__init__.py" and "future" not in found.module
    ] == []


@pytest.mark.parametrize("package", sorted(ONE_PLACE))
def test_optional_and_heavy_packages_are_imported_at_one_place(package: str) -> None:
    users = {found.file for found in IMPORTS if found.module.split(".")[0] == package}
    assert {file for file in users if not in_place(file, ONE_PLACE[package])} == set()
    if package != "gradio":
        assert len(users) <= 1


def test_the_left_part_loads_nothing_heavy() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.room in LEFT
        and found.top_level
        and found.module.split(".")[0] in HEAVY
        and found.file != "seagull_tune/segment/sam.py"
    ]
    assert wrong == []


def test_importing_the_package_loads_neither_torch_nor_transformers() -> None:
    code = f"import sys, seagull_tune; print([name for name in {(*HEAVY, 'numpy')} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("file", "source", "why"),
    [
        ("seagull_tune/regions/a.py", "from seagull_tune.data.schema import X", "right of regions"),
        ("seagull_tune/regions/a.py", "from ..model import lora", "right of regions"),
        ("seagull_tune/errors.py", "from seagull_tune import config", "right of errors"),
        ("seagull_tune/infer/a.py", "def f():\n    import seagull_tune.training.trainer", "import training"),
        ("seagull_tune/evaluate/a.py", "from seagull_tune.tune.recipe import x", "never import tune"),
        ("seagull_tune/rsa/scorer.py", "import seagull_tune.training", "import training"),
        ("seagull_tune/evaluate/a.py", "import data_builders.pipeline", "wire the data builders"),
        ("data_builders/a.py", "from seagull_tune.data import reader", "left part"),
        ("data_builders/a.py", "from seagull_tune.model import lora", "left part"),
    ],
)
def test_the_rule_catches(file: str, source: str, why: str) -> None:
    reasons = [violation(found) or "" for found in imports_of(Path(file), source)]
    assert any(why in reason for reason in reasons)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("seagull_tune/cli.py", "from data_builders.pipeline import build_dataset"),
        ("seagull_tune/rsa/train.py", "from seagull_tune.training.trainer import x"),
        ("seagull_tune/fullref/a.py", "from .similarity import x\nfrom seagull_tune.regions.masks import decode"),
        ("data_builders/a.py", "from seagull_tune.data.schema import x\nfrom seagull_tune import __version__"),
    ],
)
def test_the_rule_lets_pass(file: str, source: str) -> None:
    assert [violation(found) for found in imports_of(Path(file), source)] in ([None], [None, None])
