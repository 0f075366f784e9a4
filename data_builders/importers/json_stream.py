"""Reads a JSON file of any size value by value: only one value, and a buffer, are in memory.

Containers down to a chosen depth are walked; what lies at that depth is decoded whole by ``json``'s own scanner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

from seagull_tune.errors import DataError
from seagull_tune.files import is_unicode

_CHUNK = 1 << 20
LARGEST_VALUE = 256 << 20
"""Most characters that one value may have; above it the values lie deeper than was said."""

_LONGEST_TOKEN = 16
"""Characters before the end of a buffer in which an error may mean that it ends inside a literal or an escape."""

_DECODER = json.JSONDecoder()
_BLANKS = " \t\r\n"

Keys = tuple[str | int, ...]


def stream_json(path: str | Path, depth: int = 1) -> Iterator[tuple[Keys, Any]]:
    """Yield the values at a depth of a JSON file, in the order of the file.

    Args:
        path: the file, UTF-8.
        depth: 0 is the whole document, 1 its entries, 2 the entries of those, ... Entries of arrays have their index
            as key. A value that is no container above that depth is yielded with its shorter keys.

    Yields:
        Keys from the outermost inwards, and the value.

    Raises:
        DataError: unreadable, not JSON (with the place), text that is no Unicode, or a value beyond
            :data:`LARGEST_VALUE`.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            scanner = _Scanner(file, str(path))
            yield from scanner.walk((), depth)
            scanner.require_end()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


class _Scanner:
    """A buffer over a file, and a cursor in it."""

    def __init__(self, file: TextIO, name: str) -> None:
        self.file, self.name = file, name
        self.buffer, self.at, self.passed = "", 0, 0
        self.ended = False

    def walk(self, keys: Keys, depth: int) -> Iterator[tuple[Keys, Any]]:
        """The values below the cursor."""
        opening = self.peek()
        if depth == 0 or opening not in "{[":
            yield keys, self.value()
            return
        self.at += 1
        closing = "}" if opening == "{" else "]"
        if self.peek() == closing:
            self.at += 1
            return
        index = 0
        while True:
            key: str | int = index
            if opening == "{":
                key = self.key()
            yield from self.walk((*keys, key), depth - 1)
            index += 1
            mark = self.peek()
            self.at += 1
            if mark == closing:
                return
            if mark != ",":
                self.fail(f"a comma or {closing!r} is needed, and {mark!r} is there", back=1)

    def peek(self) -> str:
        """The next character that is no blank, left where it is."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _BLANKS:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                self.fail("it ends in the middle; it may have been cut off")

    def key(self) -> str:
        if self.peek() != '"':
            self.fail("a key in quotation marks is needed")
        key = self.value()
        if self.peek() != ":":
            self.fail(f"a colon is needed after the key {key!r}")
        self.at += 1
        return str(key)

    def value(self) -> Any:
        """Decode the value at the cursor, and pass it."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                ahead = error.pos - self.at  # before the buffer moves
                if self.ended or not self._may_be_cut(error) or not self.more():
                    self.fail(error.msg, back=-ahead)
                continue
            except RecursionError:
                self.fail("its values are nested too deeply")
            except ValueError as error:  # a number of more than 4300 digits
                self.fail(str(error))
            if end == len(self.buffer) and not self.ended and self.more():
                continue  # a number may go on
            if self.buffer.find("\\u", self.at, end) >= 0 and not is_unicode(json.dumps(value, ensure_ascii=False)):
                self.fail("it holds text that is no Unicode (half of a surrogate pair)")
            self.at = end
            return value

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        """Whether what failed is only where the buffer ends; else gigabytes would be read to say the same."""
        unterminated = error.msg.startswith("Unterminated string")  # whose place is the string's beginning
        return unterminated or error.pos > len(self.buffer) - _LONGEST_TOKEN

    def more(self) -> bool:
        """Read on; drops what was passed. The step doubles with the buffer, so that long values cost linear time."""
        pending = len(self.buffer) - self.at
        if pending > LARGEST_VALUE:
            self.fail(f"one value has more than {LARGEST_VALUE >> 20} million characters; give a larger depth")
        chunk = self.file.read(max(_CHUNK, pending))
        self.passed += self.at
        self.buffer, self.at = self.buffer[self.at :] + chunk, 0
        self.ended = not chunk
        return bool(chunk)

    def require_end(self) -> None:
        """Nothing but blanks may follow the document."""
        while not self.buffer[self.at :].strip(_BLANKS):
            self.at = len(self.buffer)
            if not self.more():
                return
        self.fail("something follows the end of the document")

    def fail(self, reason: str, back: int = 0) -> NoReturn:
        place = self.passed + self.at - back
        raise DataError(f"{self.name} is not the JSON that it should be: {reason} (character {place}).")
