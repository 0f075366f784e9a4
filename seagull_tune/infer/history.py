"""A conversation as a file: JSON that a person can read, checked whole when it is read (docs/server.md has the fields).

Image and region parts are written by meaning, never as tokens, so that a file can put nothing but text into a prompt.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from seagull_tune.config.base import StrictModel
from seagull_tune.errors import DataError, RegionError
from seagull_tune.files import atomic_write_text, is_unicode, why_not_written
from seagull_tune.images import image_hash, read_image
from seagull_tune.records import Message, Part, Region
from seagull_tune.regions.masks import from_rle

FORMAT = "seagull-tune-chat"
VERSION = 1
MAX_BYTES = 64 << 20
"""Largest file that is read as a conversation."""


class ImageEntry(StrictModel):
    """The photograph: its path as seen from the file (None: it was never a file), the hash of its pixels, its size."""

    path: str | None
    sha256: Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
    width: Annotated[int, pydantic.Field(ge=1)]
    height: Annotated[int, pydantic.Field(ge=1)]


class RegionEntry(StrictModel):
    """A named region: COCO's compressed counts, of the photograph's size."""

    name: str
    counts: str


class PartEntry(StrictModel):
    """A piece of a turn: text, or the number of a region (from 1). The photograph opens the first turn, unwritten."""

    text: str | None = None
    region: Annotated[int, pydantic.Field(ge=1)] | None = None

    @pydantic.model_validator(mode="after")
    def _one_meaning(self) -> PartEntry:
        if (self.text is None) == (self.region is None):
            raise ValueError("a part has either text or region")
        return self


class TurnEntry(StrictModel):
    """One turn."""

    role: Literal["user", "assistant"]
    parts: tuple[PartEntry, ...]


class ChatHistory(StrictModel):
    """A saved conversation.

    Attributes:
        format, version: of the file.
        model_id: the model that gave the answers.
        image: the photograph.
        regions: in order.
        current: number (from 1) of the region that questions are about; None is the whole image.
        turns: questions and answers in turn.
    """

    format: Literal["seagull-tune-chat"] = "seagull-tune-chat"
    version: Literal[1] = 1
    model_id: str
    image: ImageEntry
    regions: tuple[RegionEntry, ...]
    current: int | None
    turns: tuple[TurnEntry, ...]

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> ChatHistory:
        known = range(1, len(self.regions) + 1)
        roles = [turn.role for turn in self.turns]
        if roles != ["user", "assistant"] * (len(roles) // 2):
            raise ValueError(
                f"turns: the roles are {roles[:8]}; allowed: user and assistant in turn, ending with an answer"
            )
        numbers = {part.region for turn in self.turns for part in turn.parts if part.region is not None}
        if self.current is not None:
            numbers.add(self.current)
        if beyond := sorted(number for number in numbers if number not in known):
            raise ValueError(f"the regions {beyond} are named; the file has {len(self.regions)}")
        return self

    def messages(self) -> list[Message]:
        """The turns as they are asked with."""
        return [
            Message(turn.role, ((Part(image=True),) if index == 0 else ()) + tuple(map(_part, turn.parts)))
            for index, turn in enumerate(self.turns)
        ]

    def records(self) -> list[Region]:
        """The regions.

        Raises:
            RegionError: damaged counts, or of another size than the photograph: naming the region.
        """
        height, width = self.image.height, self.image.width
        found = []
        for entry in self.regions:
            try:
                found.append(from_rle({"size": (height, width), "counts": entry.counts}, height, width, entry.name))
            except RegionError as error:
                raise RegionError(f"region {entry.name!r}: {error}") from error
        return found


def write_history(
    target: Path,
    image: np.ndarray,
    source: str | Path | None,
    model_id: str,
    regions: Sequence[Region],
    names: Sequence[str],
    current: int | None,
    turns: Sequence[Message],
) -> None:
    """Writes a conversation; the file appears whole or not at all.

    Args:
        target: the file.
        image: the photograph, uint8 (H, W, 3).
        source: its file; None where it has none.
        model_id: the model that answered.
        regions, names: the regions, in order.
        current: index of the current one, or None.
        turns: questions and answers.

    Raises:
        DataError: it cannot be written.
    """
    path = None if source is None else Path(os.path.relpath(source, os.path.realpath(target.parent))).as_posix()
    history = ChatHistory(
        model_id=model_id,
        image=ImageEntry(path=path, sha256=image_hash(image), width=image.shape[1], height=image.shape[0]),
        regions=tuple(RegionEntry(name=n, counts=r.counts) for n, r in zip(names, regions, strict=True)),
        current=None if current is None else current + 1,
        turns=tuple(
            TurnEntry(role=turn.role, parts=tuple(_entry(part) for part in turn.parts if not part.image))
            for turn in turns
        ),
    )
    values = history.model_dump(mode="json")
    for turn in values["turns"]:  # a part says the one thing that it is
        turn["parts"] = [{key: value for key, value in part.items() if value is not None} for part in turn["parts"]]
    text = json.dumps(values, ensure_ascii=path is not None and not is_unicode(path), indent=1)
    try:
        if target.is_dir():
            raise DataError(f"{target} is a folder; name a file for the conversation.")
        atomic_write_text(target, text + "\n")
    except OSError as error:
        raise DataError(f"{target}: the conversation cannot be written: {why_not_written(error)}.") from error


def read_history(path: Path) -> ChatHistory:
    """Reads a saved conversation.

    Raises:
        DataError: no such file, no saved conversation, another version, or damaged; all problems at once.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(
            f"{path}: the conversation cannot be read: {error.strerror or error}. Check the path."
        ) from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path} is larger than {MAX_BYTES >> 20} MiB; a saved conversation is not.")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no saved conversation: not JSON ({error}).") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f'{path} is no saved conversation: "format" is not {FORMAT!r}. Save one with /save FILE.')
    if values.get("version") != VERSION:
        raise DataError(
            f"{path}: a conversation of version {values.get('version')!r}; this program reads version {VERSION}."
        )
    try:
        return ChatHistory.model_validate(values)
    except pydantic.ValidationError as error:
        lines = [f"  {_where(detail['loc'])}: {detail['msg']}" for detail in error.errors(include_url=False)]
        raise DataError("\n".join([f"{path}: {len(lines)} problems in the saved conversation:", *lines])) from error


def photograph_of(
    history: ChatHistory, path: Path, image: np.ndarray | str | Path | None, max_pixels: int
) -> np.ndarray:
    """The photograph of a saved conversation, if it is still the one that was talked about.

    Args:
        history: from :func:`read_history`.
        path: its file; the photograph's path is relative to its folder.
        image: the photograph, where it is elsewhere now; None reads the path that the file has.
        max_pixels: photographs with more pixels are refused.

    Returns:
        uint8 (H, W, 3).

    Raises:
        DataError: it cannot be read, or its pixels have changed.
    """
    if image is None:
        if history.image.path is None:
            raise DataError(
                f"{path}: the photograph of this conversation was no file; give it beside the conversation."
            )
        image = path.parent / history.image.path
    pixels = image if isinstance(image, np.ndarray) else read_image(image, max_pixels)
    found, want = image_hash(pixels), history.image.sha256
    if found != want:
        called = "The photograph that was given" if isinstance(image, np.ndarray) else str(image)
        raise DataError(
            f"{called} is not the photograph of {path}, or has changed: its pixels have the hash {found[:12]}..., the "
            f"conversation is about {want[:12]}... ({history.image.width}x{history.image.height}). Give the original."
        )
    return pixels


def _part(entry: PartEntry) -> Part:
    return Part(text=entry.text or "") if entry.region is None else Part(region=entry.region - 1)


def _entry(part: Part) -> PartEntry:
    return PartEntry(text=part.text) if part.region is None else PartEntry(region=part.region + 1)


def _where(location: Sequence[Any]) -> str:
    return ".".join(map(str, location)) or "conversation"
