"""Writing so that a kill at any moment leaves either the old state or the new one, never half of it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from seagull_tune.errors import DataError

STAGING_SUFFIX = ".partial"


def is_unicode(text: str) -> bool:
    """Whether text is Unicode: bytes of another encoding, in file names or typed, come as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, as 64 lower-case hex digits.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields an empty staging folder beside ``target`` that takes its place when the block ends without an error.

    An existing ``target`` is replaced. What a killed run left in the staging folder is removed first; if it was killed
    in the very moment between setting the old folder aside and naming the new one, the old one is put back.
    """
    staging = target.with_name(target.name + STAGING_SUFFIX)
    retired = target.with_name(target.name + ".old")
    if retired.exists() and not target.exists():
        os.replace(retired, target)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if target.exists():
        shutil.rmtree(retired, ignore_errors=True)
        os.replace(target, retired)
        os.replace(staging, target)
        shutil.rmtree(retired)
    else:
        os.replace(staging, target)


def atomic_write_text(target: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) to a file that appears whole or not at all; parent folders are made."""
    atomic_write(target, (text.encode(),))


def atomic_write(target: Path, chunks: Iterable[bytes]) -> None:
    """Writes chunks to a file that appears whole or not at all; parent folders are made.

    An error, of the disk or of ``chunks``, leaves no staging file behind. A symbolic link stays one; a device or a pipe
    (``/dev/null``) is written to, never replaced.
    """
    target = Path(os.path.realpath(target))
    if is_stream(target):
        with target.open("wb") as stream:
            stream.writelines(chunks)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = target.with_name(target.name + STAGING_SUFFIX)
    try:
        with staging.open("wb") as file:
            file.writelines(chunks)
        os.replace(staging, target)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise


def is_stream(path: Path) -> bool:
    """Whether a path is a device, pipe or socket: renaming a file over it would destroy it for the whole machine."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def only_run_in(out: Path) -> Iterator[None]:
    """Holds a run's folder, which is made, as long as the block lasts; a process that is killed holds it no longer.

    Raises:
        DataError: another run, which would overwrite this one's files, holds it; or it cannot be written.
    """
    import filelock  # it brings asyncio, which a command's --help need not wait for

    lock = filelock.FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DataError(
            f"Another run is working in {out}. Wait for it, or choose another folder (--out DIR)."
        ) from None
    except OSError as error:
        raise DataError(f"{out} cannot be written: {why_not_written(error)}. Choose another --out DIR.") from error
    try:
        yield
    finally:
        lock.release()


def why_not_written(error: OSError) -> str:
    """Why writing failed, for a message."""
    return "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
