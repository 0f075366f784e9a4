"""Source photographs: sorted, named, hashed, selected, cut."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_builders.sources import list_sources, load_source, select_sources, views_of
from data_builders.splits import order_ids
from seagull_tune.config.data import BuildConfig, Selection
from seagull_tune.errors import DataError


def _config(folder: Path | str, **more: object) -> BuildConfig:
    return BuildConfig.model_validate({"source": str(folder), **more})


def test_a_folder_is_sorted_and_hashed(photographs: Path) -> None:
    ticks: list[tuple[int, int]] = []
    sources = list_sources(_config(photographs), lambda done, total: ticks.append((done, total)))
    assert [source.image_id for source in sources] == ["astronaut", "chelsea", "coffee"]
    assert [source.source for source in sources] == ["astronaut.png", "chelsea.png", "coffee.png"]
    expected = hashlib.sha256((photographs / "chelsea.png").read_bytes()).hexdigest()
    assert sources[1].sha256 == expected
    assert load_source(sources[0]).shape == (150, 150, 3)
    assert ticks[-1] == (3, 3)


def test_sub_folders_repeated_stems_copies_and_other_files(photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    (folder / "sub").mkdir(parents=True)
    (folder / ".cache").mkdir()
    shutil.copy(photographs / "chelsea.png", folder / "cat.png")
    shutil.copy(photographs / "coffee.png", folder / "sub" / "cat.png")
    shutil.copy(photographs / "chelsea.png", folder / "sub" / "zcopy.PNG")
    shutil.copy(photographs / "chelsea.png", folder / ".cache" / "thumb.png")
    (folder / "notes.txt").write_text("no photograph")
    assert [s.image_id for s in list_sources(_config(folder))] == ["cat"]
    sources = list_sources(_config(folder, recursive=True))
    assert [(s.image_id, s.scene_id) for s in sources] == [
        ("cat.png", "cat.png"),
        ("sub/cat.png", "sub/cat.png"),
        ("zcopy", "cat.png"),  # the same content is the same scene
    ]


def test_folders_without_photographs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list_sources(_config(tmp_path / "nowhere"))
    (tmp_path / "sub").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "sub" / "a.png")
    with pytest.raises(DataError, match="recursive=true"):
        list_sources(_config(tmp_path))


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_names_that_are_not_text_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "gr\u00fcn\nzwei.png").write_bytes(b"x")
    assert len(list_sources(BuildConfig(source=str(tmp_path)))) == 1
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfcn.png")).write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 file names are not UTF-8 \('gr\\udcfcn.png'\)"):
        list_sources(BuildConfig(source=str(tmp_path)))


def test_a_selection_takes_its_part_of_the_hash_order(photographs: Path) -> None:
    sources = list_sources(_config(photographs))
    ordered = order_ids(["astronaut", "chelsea", "coffee"])
    last = select_sources(sources, Selection(start=0.667))
    first = select_sources(sources, Selection(end=0.667))
    assert [s.image_id for s in last] == [ordered[2]]
    assert {s.image_id for s in first} == set(ordered[:2])
    by_name = select_sources(sources, Selection(order="name", end=0.34))
    assert [s.image_id for s in by_name] == ["astronaut"]
    assert [s.image_id for s in select_sources(sources, Selection(ids=("coffee",)))] == ["coffee"]
    with pytest.raises(DataError, match="Did you mean 'coffee'"):
        select_sources(sources, Selection(ids=("cofee",)))
    with pytest.raises(DataError, match="takes none of 3"):
        select_sources(sources, Selection(start=0.0, end=0.1))


def test_builtin_scenes_need_no_network_where_installed() -> None:
    sources = list_sources(_config("builtin:installed"))
    names = [source.image_id for source in sources]
    assert names == sorted(names) and {"astronaut", "china", "grace_hopper"} <= set(names)
    stereo = [source.scene_id for source in sources if source.image_id.startswith("motorcycle")]
    assert stereo == ["motorcycle", "motorcycle"]
    assert load_source(sources[names.index("china")]).shape == (427, 640, 3)


def test_views_cover_the_photograph_without_overlap() -> None:
    views = views_of(500, 741, max_side=None, tile_side=250)
    cover = np.zeros((500, 741), int)
    for view in views:
        assert view.crop_xyxy is not None
        x0, y0, x1, y1 = view.crop_xyxy
        cover[y0:y1, x0:x1] += 1
        assert (view.height, view.width) == (y1 - y0, x1 - x0)
    assert (cover == 1).all() and len(views) == 6
    assert len({view.suffix for view in views}) == 6


def test_whole_views_shrink_but_never_grow() -> None:
    (view,) = views_of(1000, 2000, max_side=640, tile_side=None)
    assert (view.suffix, view.crop_xyxy, view.height, view.width) == ("", None, 320, 640)
    (view,) = views_of(100, 200, max_side=640, tile_side=400)
    assert (view.suffix, view.crop_xyxy, view.height, view.width) == ("", None, 100, 200)
