"""Small paths into decoded JSON, and words for what was found where something else was expected."""

from __future__ import annotations

from typing import Any

from data_builders.importers.json_stream import Keys
from seagull_tune.errors import DataError

_DEEP = 3
_WIDE = 6


def get(value: Any, path: str, where: str) -> Any:
    """What lies at a path: ``a.b`` goes into objects, a number into arrays, ``*`` into every entry; ``""`` is itself.

    Raises:
        DataError: there is no such key; says what was found, and that the configuration names the paths.
    """
    parts = path.split(".") if path else []
    for number, part in enumerate(parts):
        if part == "*":
            entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
            if entries is None:
                raise _missing(value, path, where)
            rest = ".".join(parts[number + 1 :])
            return [get(entry, rest, where) for entry in entries]
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise _missing(value, path, where)
    return value


def put_together(template: str, keys: Keys, value: Any, where: str) -> str:
    """A name from keys and fields: ``@1/@2`` joins the second and third key, ``folder/id`` two fields.

    Raises:
        DataError: there is no such key or field.
    """
    pieces = []
    for part in template.split("/"):
        if part.startswith("@"):
            if not part[1:].isdigit() or int(part[1:]) >= len(keys):
                raise DataError(f"{where}: {part} names no key; there are {len(keys)}, numbered from 0: {list(keys)}.")
            pieces.append(str(keys[int(part[1:])]))
        else:
            pieces.append(str(get(value, part, where)))
    return "/".join(pieces)


def outline(value: Any, depth: int = _DEEP) -> str:
    """The shape of a JSON value: ``{id: text, scores: [number, ...]}``."""
    if isinstance(value, dict):
        if not depth:
            return "{...}"
        shown = [f"{key}: {outline(entry, depth - 1)}" for key, entry in list(value.items())[:_WIDE]]
        return "{" + ", ".join(shown + ["..."] * (len(value) > _WIDE)) + "}"
    if isinstance(value, list):
        if not value or not depth:
            return "[...]" if value else "[]"
        return f"[{outline(value[0], depth - 1)}, ...]"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return "text" if isinstance(value, str) else "number"


def _missing(value: Any, path: str, where: str) -> DataError:
    return DataError(
        f"{where}: there is no {path!r}; found {outline(value)}. If the keys of this file are other ones, name them "
        "with --config or --set (docs/data-format.md, Importing)."
    )
