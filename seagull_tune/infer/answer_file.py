"""Answers on their way into a file, photograph by photograph: what a killed run has written, the next one goes on from.

While photographs are judged, their lines are added to ``FILE.unfinished``: first a line that says what they are made
with, then the lines of a photograph and an empty one, which says that no line of it is missing. At the end ``FILE`` is
written from it, in the order of the photographs, with ``FILE.summary.json`` beside it. A table (``.csv``, ``.parquet``)
is made of the lines, which stay beside it as ``FILE.jsonl``.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self, TextIO

from seagull_tune.errors import DataError
from seagull_tune.files import atomic_write, is_stream, why_not_written
from seagull_tune.infer.answer_table import is_table, write_table
from seagull_tune.infer.serialise import assessment_from_dict, to_json_line
from seagull_tune.records import RegionAssessment

UNFINISHED_SUFFIX, SUMMARY_SUFFIX = ".unfinished", ".summary.json"
_HEADER = "made_with"


class AnswerSink(Protocol):
    """Where answers go."""

    def has(self, image: str) -> bool:
        """Whether the answers about a photograph are there already, from an earlier run."""
        ...

    def read(self, image: str) -> list[RegionAssessment]:
        """The answers about a photograph that are there."""
        ...

    def add(self, image: str, answers: Sequence[RegionAssessment]) -> None:
        """Takes the answers about one photograph."""
        ...

    def finish(self, images: Iterable[str], summary: Mapping[str, Any]) -> bool:
        """Ends the work; False where there was nothing to write, so that an earlier file stays as it was."""
        ...


class AnswerStream:
    """Answers that are written as they come, to a terminal or a pipe; nothing is kept.

    Args:
        file: where the lines go.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def has(self, image: str) -> bool:
        """Never."""
        return False

    def read(self, image: str) -> list[RegionAssessment]:
        """Nothing is kept."""
        raise DataError(f"{image}: its answers went into a stream, which keeps nothing.")

    def add(self, image: str, answers: Sequence[RegionAssessment]) -> None:
        """Writes the lines."""
        self._file.writelines(to_json_line(answer, image) + "\n" for answer in answers)
        self._file.flush()

    def finish(self, images: Iterable[str], summary: Mapping[str, Any]) -> bool:
        """Everything is written already."""
        return True


@dataclass(frozen=True)
class _Span:
    """Where the lines of one photograph are: bytes [start, end) of a file, which was last written to at ``time_ns``."""

    file: BinaryIO
    start: int
    end: int
    time_ns: int


@contextmanager
def answers_to(out: Path | None, made_with: Mapping[str, Any], resume: bool) -> Iterator[AnswerSink]:
    """Where answers go: standard output (None), a pipe or device as they come, or a file.

    Raises:
        DataError: as :class:`AnswerFile`; or a table was to go into a pipe.
    """
    if out is None:
        yield AnswerStream(sys.stdout)
    elif is_stream(Path(os.path.realpath(out))):
        if is_table(out):
            raise DataError(f"{out} is a pipe or device; a table needs a file. Name one that ends in .jsonl for lines.")
        with out.open("w", encoding="utf-8") as stream:
            yield AnswerStream(stream)
    else:
        with AnswerFile(out, made_with, resume) as file:
            yield file


class AnswerFile:
    """A file of answers; a context manager. One process at a time writes it.

    Args:
        out: the file; by its suffix lines of JSON, or a table.
        made_with: all that the answers depend on beside the photographs, as plain values.
        resume: go on from what is there; False begins anew and replaces it at the end.

    Raises:
        DataError: on entering: it cannot be written, another process writes it, or (``resume``) what is there was made
            with something else.
    """

    def __init__(self, out: Path, made_with: Mapping[str, Any], resume: bool) -> None:
        self.out, self._made_with, self._resume = Path(os.path.realpath(out)), dict(made_with), resume
        self.lines = self.out.with_name(self.out.name + ".jsonl") if is_table(self.out) else self.out
        self.unfinished = self.lines.with_name(self.lines.name + UNFINISHED_SUFFIX)
        self.summary = self.out.with_name(self.out.name + SUMMARY_SUFFIX)
        self._spans: dict[str, _Span] = {}
        self._open: list[BinaryIO] = []

    def __enter__(self) -> Self:
        try:
            with self._writing():
                if self.out.is_dir():
                    raise DataError(f"{self.out} is a folder; name a file for the answers: --out FILE.")
                self.out.parent.mkdir(parents=True, exist_ok=True)
                if self._resume and self.lines.is_file():
                    self._take_over_finished()
                self._new = self._locked(self.unfinished)
                if self._resume:
                    self._take_over_unfinished()
                else:
                    self._new.truncate(0)
                if self._new.seek(0, os.SEEK_END) == 0:
                    self._new.write(_dump({_HEADER: self._made_with}))
                    self._new.flush()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def has(self, image: str) -> bool:
        """Whether the answers about a photograph are there, and the photograph is not newer than the file of them."""
        span = self._spans.get(image)
        if span is None:
            return False
        try:
            stat = os.stat(image)
            # A copy or an unpacked archive may bring an old date along; the time of the change itself it cannot.
            return max(stat.st_mtime_ns, stat.st_ctime_ns) <= span.time_ns
        except OSError:
            return False  # reading it will say what is wrong

    def read(self, image: str) -> list[RegionAssessment]:
        """The answers about a photograph that :meth:`has`."""
        return [assessment_from_dict(json.loads(line)) for line in self._bytes_of(image).splitlines()]

    def add(self, image: str, answers: Sequence[RegionAssessment]) -> None:
        """Writes the answers about one photograph.

        Raises:
            DataError: the disk is full, or the like.
        """
        lines = "".join(to_json_line(answer, image) + "\n" for answer in answers).encode()
        with self._writing():
            start = self._new.seek(0, os.SEEK_END)
            self._new.write(lines + b"\n")
            self._new.flush()
        self._spans[image] = _Span(self._new, start, start + len(lines), _time_of(self._new))

    def finish(self, images: Iterable[str], summary: Mapping[str, Any]) -> bool:
        """Writes the file and its summary.

        Args:
            images: the photographs whose answers belong into it, in order; those without answers are skipped.
            summary: what happened, as plain values.

        Returns:
            False where there was no answer, so that an earlier file stays as it was.

        Raises:
            DataError: it cannot be written.
        """
        found = [image for image in dict.fromkeys(images) if image in self._spans]
        written = bool(found) or not self.lines.is_file()
        with self._writing():
            if written or self._resume:
                atomic_write(self.summary, (_dump({**summary, _HEADER: self._made_with}, indent=1),))
            if written:
                atomic_write(self.lines, (self._bytes_of(image) for image in found))
                if self.lines != self.out:
                    write_table(self.lines, self.out)
            self.unfinished.unlink()
        return written

    def _bytes_of(self, image: str) -> bytes:
        span = self._spans[image]
        span.file.seek(span.start)
        return span.file.read(span.end - span.start)

    def _take_over_finished(self) -> None:
        try:
            before = json.loads(self.summary.read_bytes())[_HEADER]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.lines} is there already, and no {self.summary.name} beside it says what it was made with. Name "
                "another --out, or remove it."
            ) from error
        self._check(before, self.lines)
        file = self.lines.open("rb")
        self._open.append(file)
        for row, (image, begin, end) in enumerate(_rows(file, 0), start=1):
            if not image:
                raise DataError(f"{self.lines}, row {row}: this is no answer. Remove the file, or name another --out.")
            known = self._spans.get(image)
            start = known.start if known is not None and known.end == begin else begin
            self._spans[image] = _Span(file, start, end, _time_of(file))

    def _take_over_unfinished(self) -> None:
        """The photographs whose lines are complete; what is behind them is cut off."""
        self._new.seek(0)
        first = self._new.readline()
        if not first.endswith(b"\n"):
            self._new.truncate(0)  # killed in its first moment
            return
        try:
            before = json.loads(first)[_HEADER]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.unfinished} is not what an interrupted run leaves. Remove it.") from error
        self._check(before, self.unfinished)
        time_ns = _time_of(self._new)  # cutting off what is half done makes the file newer
        whole = begun = len(first)
        image = ""
        for name, begin, end in _rows(self._new, len(first)):
            if name == "" and begin > begun:
                self._spans[image] = _Span(self._new, begun, begin, time_ns)
                whole = begun = end
            elif not name or (begin > begun and name != image):
                break
            else:
                image = name
        self._new.truncate(whole)

    def _check(self, before: Mapping[str, Any], file: Path) -> None:
        now = json.loads(json.dumps(self._made_with))
        if before != now:
            keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
            told = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in keys)
            raise DataError(
                f"{file} was made with something else ({told}). Name another --out, or remove it to begin anew."
            )

    def _locked(self, path: Path) -> BinaryIO:
        file = path.open("a+b")
        self._open.append(file)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self.out} is being written by another process. Wait for it, or name another.") from None
        return file

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = f" What was answered so far is in {self.unfinished}." if self.unfinished.is_file() else ""
            raise DataError(f"{self.out} cannot be written: {why_not_written(error)}.{kept}") from error

    def _close(self) -> None:
        for file in self._open:
            # All that counts was flushed where it was written; what a full disk refused then, it refuses here again.
            with suppress(OSError):
                file.close()


def _rows(file: BinaryIO, offset: int) -> Iterator[tuple[str | None, int, int]]:
    """The lines from ``offset`` on: the photograph of each ("" of an empty line, None where it is no answer, or half of
    one), where it begins, where it ends."""
    file.seek(offset)
    for line in file:
        begin, offset = offset, offset + len(line)
        if line == b"\n":
            yield "", begin, offset
            continue
        try:
            image = json.loads(line)["image"] if line.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError):
            image = None
        yield (image if isinstance(image, str) and image else None), begin, offset


def _time_of(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_mtime_ns


def _dump(values: Mapping[str, Any], indent: int | None = None) -> bytes:
    return (json.dumps(values, indent=indent) + "\n").encode("ascii")
