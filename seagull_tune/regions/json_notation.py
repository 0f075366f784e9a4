"""Regions written as JSON: COCO run-length encoding, and the list that the released SEAGULL inference reads.

Legend: h, w image height and width in pixels.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from seagull_tune.errors import RegionError, did_you_mean
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.masks import from_rle

_LISTED = 20
"""Most problems of one file that a message lists."""


def regions_from_rle(source: str | Path | Mapping[str, Any], h: int, w: int) -> list[Region]:
    """The regions of COCO RLE JSON: one object, a list of objects, or a COCO annotation with ``segmentation``.

    Args:
        source: JSON text (it starts with ``{`` or ``[``), the path of a JSON file, or the decoded object.
        h, w: size of the image in pixels.

    Raises:
        RegionError: unreadable, not JSON, or entries that cannot be used (fields missing, damaged, empty, of another
            size than the image): all of them, by their index from 0.
    """
    where, value = ("RLE", source) if isinstance(source, Mapping) else _text_or_file(source)
    if not isinstance(value, list):
        return [_in_place(where, lambda: _region_of_rle(value, h, w))]
    if not value:
        raise RegionError(f"{where} holds no region.")
    return _all_or_every_problem(where, [(i, functools.partial(_region_of_rle, v, h, w)) for i, v in enumerate(value)])


def _region_of_rle(item: Any, h: int, w: int) -> Region:
    rle = item.get("segmentation", item) if isinstance(item, Mapping) else item
    if not isinstance(rle, Mapping):
        raise RegionError(f'An RLE needs {{"size": [height, width], "counts": text or list}}; got {str(rle)[:80]!r}.')
    return from_rle(rle, h, w, str(item.get("name", "")))


@dataclass(frozen=True)
class SeagullEntry:
    """One region of the released SEAGULL inference's list.

    Attributes:
        index: its place in the list, from 0.
        image: the image file, as it is written.
        counts: COCO's compressed counts; None where only a box is given. The size is that of the image.
        box_xywh: left, top, width, height in pixels; None where only counts are given.
    """

    index: int
    image: str
    counts: str | None
    box_xywh: tuple[float, float, float, float] | None

    def region(self, h: int, w: int) -> Region:
        """The region on an image of (h, w) pixels: the mask where there is one, else the box to the nearest pixels.

        Raises:
            RegionError: damaged counts, counts of another size, or a box outside the image.
        """
        name = f"entry {self.index}"
        if self.counts is not None:
            return from_rle({"size": (h, w), "counts": self.counts}, h, w, name)
        assert self.box_xywh is not None  # read_seagull_json refuses entries with neither
        x, y, width, height = self.box_xywh
        return box_region([math.floor(v + 0.5) for v in (x, y, x + width, y + height)], h, w, name)


def read_seagull_json(path: str | Path) -> tuple[SeagullEntry, ...]:
    """The entries of a list ``[{"img": file, "rle": counts, "points": [x, y, w, h]}, ...]``.

    Args:
        path: JSON file. An entry needs ``rle`` or ``points``; other keys are passed over.

    Raises:
        RegionError: unreadable, not JSON, no list, empty, or entries of another form: all of them, by their index.
    """
    path = Path(path)
    try:
        stamp = path.stat()
    except (OSError, ValueError) as error:
        raise RegionError(f"{path}: the SEAGULL JSON cannot be read ({error}). Check the path.") from error
    return _read_entries(path, stamp.st_mtime_ns, stamp.st_size)


def regions_from_seagull_json(path: str | Path, image: str | Path, h: int, w: int) -> list[Region]:
    """The regions of one image of a SEAGULL JSON, in the order of the list, named ``entry <index>``.

    An entry belongs to an image by its file name. Where entries name files of one name in several folders, the folders
    have to be those of the image.

    Args:
        path: JSON file, as :func:`read_seagull_json` reads it.
        image: the image's path.
        h, w: size of the image in pixels.

    Raises:
        RegionError: as :func:`read_seagull_json`; no entry for the image, or entries that cannot be used on it (damaged
            counts, another size, a box outside): all of them, by their index.
    """
    entries = read_seagull_json(path)
    name = Path(image).name
    found = [entry for entry in entries if PurePosixPath(entry.image).name == name]
    if not found:
        names = {PurePosixPath(entry.image).name for entry in entries}
        hint = did_you_mean(name, names) if len(names) <= 1000 else ""
        hint = hint if "Did you mean" in hint or len(names) <= 20 else f" It has entries for {len(names)} images."
        raise RegionError(f'{path}: no entry has {name!r} as "img".{hint}')
    written = {entry.image for entry in found}
    if len(written) > 1:
        here = Path(image).absolute().as_posix()
        found = [entry for entry in found if f"/{here}".endswith(f"/{PurePosixPath(entry.image)}")]
        if len({entry.image for entry in found}) != 1:
            raise RegionError(
                f"{path}: {len(written)} files are called {name!r} ({', '.join(sorted(written)[:3])}), and {image} is "
                "not clearly one of them; give the image by the path that the JSON has."
            )
    return _all_or_every_problem(str(path), [(e.index, functools.partial(e.region, h, w)) for e in found])


@functools.lru_cache(maxsize=4)
def _read_entries(path: Path, mtime_ns: int, size: int) -> tuple[SeagullEntry, ...]:
    """Read once, although every image of a call asks; a file that has changed is read again."""
    value = _json_of_file(path, "SEAGULL JSON")
    if not isinstance(value, list) or not value:
        raise RegionError(
            f'{path}: a SEAGULL JSON is a list of {{"img": file, "rle": counts, "points": [x, y, w, h]}} with at least '
            f"one entry; got {str(value)[:60]!r}."
        )
    return tuple(_all_or_every_problem(str(path), [(i, functools.partial(_entry, i, v)) for i, v in enumerate(value)]))


def _entry(index: int, value: Any) -> SeagullEntry:
    if not isinstance(value, Mapping):
        raise RegionError(f'an object with "img" and "rle" or "points" is needed, got {str(value)[:60]!r}.')
    image, counts, box = value.get("img"), value.get("rle"), value.get("points")
    if not isinstance(image, str) or not PurePosixPath(image).name:
        raise RegionError(f'"img" is {image!r}; allowed: the name of an image file.')
    if counts in (None, "") and box in (None, []):
        raise RegionError('neither "rle" nor "points" is given; one of them is needed.')
    if counts not in (None, "") and not isinstance(counts, str):
        raise RegionError(f'"rle" is {str(counts)[:60]!r}; allowed: COCO\'s compressed counts, as text.')
    if box not in (None, []) and not _is_box(box):
        raise RegionError(f'"points" is {str(box)[:60]!r}; allowed: [x, y, width, height] in pixels.')
    return SeagullEntry(index, image, counts or None, tuple(box) if box else None)


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e9 for v in value)
    )


def _all_or_every_problem(where: str, makers: Sequence[tuple[int, Callable[[], Any]]]) -> list[Any]:
    """What the makers make; if any fails, one error with every entry that failed."""
    made, problems = [], []
    for index, make in makers:
        try:
            made.append(make())
        except RegionError as error:
            problems.append(f"entry {index}: {error}")
    if len(problems) == 1:
        raise RegionError(f"{where}: {problems[0]}")
    if problems:
        raise RegionError(f"{where}: {len(problems)} entries cannot be used:\n" + "\n".join(_listed(problems)))
    return made


def _listed(problems: Sequence[str]) -> Iterable[str]:
    yield from (f"  {problem}" for problem in problems[:_LISTED])
    if len(problems) > _LISTED:
        yield f"  and {len(problems) - _LISTED} more"


def _in_place(where: str, make: Callable[[], Region]) -> Region:
    try:
        return make()
    except RegionError as error:
        raise RegionError(f"{where}: {error}") from error


def _text_or_file(source: str | Path) -> tuple[str, Any]:
    """What the source is called in messages, and its decoded JSON."""
    text = str(source).strip()
    if text.startswith(("{", "[")):
        return "RLE text", _decoded(text, "RLE text")
    return text, _json_of_file(Path(text), "RLE")


def _json_of_file(path: Path, what: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        remedy = ' Allowed: {"size": [height, width], "counts": text or list}.' if what == "RLE" else ""
        raise RegionError(
            f"{what} {str(path)[:80]!r} is neither JSON text nor a file that can be read ({error}).{remedy}"
        ) from error
    return _decoded(text, str(path))


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegionError(f"{where}: not JSON ({error}).") from error
