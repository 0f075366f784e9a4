"""Every error that Seagull-Tune raises on purpose.

A message says what was wrong, the value that was seen, what is allowed, and what to do about it;
errors about data name the file and, where there is one, the row.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SeagullError(Exception):
    """Base of all errors raised on purpose; the command line prints it as one sentence, without a traceback."""


class ConfigError(SeagullError):
    """A configuration file, an override or a command-line value cannot be used."""


class DataError(SeagullError):
    """An image, a shard, a row or a prompt file cannot be used. Names the file and the row."""


class LimitError(DataError):
    """Something is larger than a limit allows: pixels, a question, a conversation."""


class RegionError(SeagullError):
    """A region of interest cannot be used: empty, outside the image, of another size, or unreadable notation."""


class CheckpointError(SeagullError):
    """A checkpoint is incomplete, damaged, of another version, or does not belong to this program."""


class TrainingError(SeagullError):
    """Training cannot go on: no trained token, a loss that is not finite, an engine that is not the one asked for."""


class MissingDependencyError(SeagullError):
    """An optional package or file is not installed. Names the extra that brings it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A near-name hint for messages: ``" Did you mean 'x'?"``, or the sorted known names where none is near.

    Args:
        name: what the user wrote.
        known: the names that exist.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(names)}."
