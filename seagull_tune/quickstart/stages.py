"""Which stages of a run are finished: a second call skips them, a changed configuration redoes what it changes.

Every stage has a key: the SHA-256 of its settings and of the key of the stage before it. ``<out>/stages/NAME.json``
holds the key from the moment the stage begins, so a kill is told from a change: the same key goes on, another one
starts anew.
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seagull_tune import __version__
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.files import atomic_write_text
from seagull_tune.training.run_record import now, peak_memory_gb, write_record

FOLDER = "stages"
_SHOWN = 5

Work = Callable[[], Mapping[str, Any]]
"""Does a stage, goes on where it was cut off, and returns what is worth recording."""


class Stages:
    """The stages of one run, in order.

    Args:
        out: the run's folder.
        say: receives what a person wants to know.
    """

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        self.out, self._say = out, say
        self._key = __version__
        self.seconds: dict[str, float] = {}

    def run(
        self, name: str, settings: Mapping[str, Any], outputs: Sequence[str], work: Work, stale: Sequence[str] = ()
    ) -> bool:
        """Does a stage unless it is finished.

        Args:
            name: of the stage.
            settings: plain values that its result depends on, besides the stages before it.
            outputs: files and folders inside ``out`` that belong to this stage alone: they exist when it is finished,
                and are removed before it is done anew.
            work: does it.
            stale: what else inside ``out`` is of no use once the stage is done anew.

        Returns:
            Whether it was done now.

        Raises:
            ConfigError: an output is there that no run of this kind made.
            DataError: the run's folder cannot be written.
        """
        plain = json.loads(json.dumps(settings, sort_keys=True, default=str))
        self._key = hashlib.sha256(json.dumps([self._key, name, plain], sort_keys=True).encode()).hexdigest()
        record = self._read(name)
        paths = [self.out / output for output in outputs]
        if record.get("key") == self._key and record.get("finished") and all(path.exists() for path in paths):
            self.seconds[name] = float(record["seconds"])
            self._say(f"[{name}] finished earlier ({record['seconds']:.0f} s), skipped")
            return False
        self._prepare(name, record, plain, paths, [self.out / path for path in stale])
        started, begun = time.monotonic(), now()
        earlier = float(record.get("seconds", 0.0)) if record.get("key") == self._key else 0.0
        self._write(name, {"key": self._key, "finished": False, "seconds": earlier, "settings": plain})
        facts = dict(work())
        gc.collect()  # a trainer and its model refer to each other; the next stage needs the room
        seconds = earlier + time.monotonic() - started
        self._write(name, {"key": self._key, "finished": True, "seconds": seconds, "settings": plain})
        self.seconds[name] = seconds
        write_record(self.out, name, plain, {"started": begun, "seconds": round(seconds, 1), **facts})
        self._say(f"[{name}] done in {seconds:.0f} s (peak memory so far {peak_memory_gb():.1f} GB)")
        return True

    def _prepare(
        self, name: str, record: Mapping[str, Any], settings: Mapping[str, Any], paths: list[Path], stale: list[Path]
    ) -> None:
        """Says what will be done, and removes what another configuration left."""
        there = [path for path in paths if path.exists()]
        if record.get("key") == self._key:
            missing = [str(path) for path in paths if not path.exists()]
            cut = "its result is gone" if record.get("finished") and missing else "goes on where it was cut off"
            self._say(f"[{name}] {cut}")
        elif record:
            changes = differences(record["settings"], settings) or ["a stage before it was done anew"]
            shown = "; ".join(changes[:_SHOWN]) + ("; ..." if len(changes) > _SHOWN else "")
            self._say(f"[{name}] is done anew: {shown}")
            for path in [*there, *(path for path in stale if path.exists())]:
                _remove(path)
        elif there:
            raise ConfigError(
                f"{there[0]} is there already, and no such run made it. Remove it, or choose another --out DIR."
            )
        else:
            self._say(f"[{name}] begins")

    def _file(self, name: str) -> Path:
        return self.out / FOLDER / f"{name}.json"

    def _read(self, name: str) -> dict[str, Any]:
        path = self._file(name)
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}). Remove it: the stage is done anew then.") from error
        return record

    def _write(self, name: str, record: Mapping[str, Any]) -> None:
        try:
            atomic_write_text(self._file(name), json.dumps(record, indent=1) + "\n")
        except OSError as error:
            raise DataError(
                f"{self.out} cannot be written: {error}. Run the same command again once it can."
            ) from error


def differences(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> list[str]:
    """One text per value that differs: dotted key, old value, new value."""
    found = []
    for key in sorted({*old, *new}):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{at}{key}.")
        elif a != b:
            found.append(f"{at}{key} was {a!r}, is now {b!r}")
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
