"""COCO RLE as JSON, and SEAGULL's list of regions by image: read, matched, and every bad entry named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seagull_tune.errors import RegionError
from seagull_tune.regions.boxes import box_region
from seagull_tune.regions.json_notation import read_seagull_json, regions_from_rle, regions_from_seagull_json
from seagull_tune.regions.masks import decode, encode

H, W = 30, 40


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[5:15, 8:30] = True
    mask[12, 3] = True
    return mask


def written(folder: Path, value: Any, name: str = "rois.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_rle_of_both_kinds_is_the_same_region(mask: np.ndarray, tmp_path: Path) -> None:
    columns = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(columns)) + 1
    runs = np.diff([0, *edges.tolist(), H * W]).tolist()  # the first pixel is background
    compressed = {"size": [H, W], "counts": encode(mask).counts}
    path = written(tmp_path, [compressed, {"segmentation": {"size": [H, W], "counts": runs}, "name": "dog"}])
    first, second = regions_from_rle(path, H, W)
    np.testing.assert_array_equal(decode(first), mask)
    assert second.counts == first.counts and second.name == "dog"


def test_rle_text_file_list_and_annotation(mask: np.ndarray, tmp_path: Path) -> None:
    region = encode(mask, "dog")
    rle = {"size": [H, W], "counts": region.counts}
    text = json.dumps({**rle, "name": "dog"})
    (tmp_path / "dog.json").write_text(text)
    assert regions_from_rle(text, H, W) == [region]
    assert regions_from_rle(tmp_path / "dog.json", H, W) == [region]
    assert regions_from_rle({"segmentation": rle, "name": "dog"}, H, W) == [region]
    assert [r.area for r in regions_from_rle(json.dumps([rle, rle]), H, W)] == [221, 221]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing.json", "neither JSON text nor a file"),
        ("{not json", "not JSON"),
        ("[]", "no region"),
        ("[1, 2]", "needs"),
        ('{"size": [10, 10], "counts": [0, 100]}', r"10x10.*image has 40x30"),
        ('{"size": [30, 40], "counts": [1200]}', "empty"),
        ('{"segmentation": [[1, 2, 3, 4, 5, 6]]}', "needs"),
        ("[" * 100_000, "not JSON|neither"),
    ],
)
def test_bad_rle_text(text: str, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        regions_from_rle(text, H, W)


def test_bad_rle_entries_are_named_together(mask: np.ndarray, tmp_path: Path) -> None:
    good = {"size": [H, W], "counts": encode(mask).counts}
    path = written(tmp_path, [good, {"size": [H, W]}, good, {"size": [W, H], "counts": good["counts"]}])
    with pytest.raises(RegionError) as caught:
        regions_from_rle(path, H, W)
    said = str(caught.value)
    assert f"{path}: 2 entries cannot be used" in said
    assert "entry 1: An RLE needs" in said and "entry 3: RLE of size 30x40" in said and "entry 0" not in said


def test_seagull_entries_become_regions_of_their_image(mask: np.ndarray, tmp_path: Path) -> None:
    counts = encode(mask).counts
    path = written(
        tmp_path,
        [
            {"img": "a.png", "rle": counts, "points": [0, 0, 40, 30]},
            {"img": "b.png", "rle": counts, "points": [1, 2, 3, 4]},
            {"img": "a.png", "rle": None, "points": [1, 2, 3, 4], "score": 0.5},
            {"img": "a.png", "points": [35.4, 25.5, 4.4, 4.5]},
            {"img": "folder/a.png", "rle": "", "points": [0, 0, 40, 30]},
        ],
    )
    assert [entry.image for entry in read_seagull_json(path)] == ["a.png", "b.png", "a.png", "a.png", "folder/a.png"]
    first, second, third = regions_from_seagull_json(path, "a.png", H, W)
    assert first.name == "entry 0"
    np.testing.assert_array_equal(decode(first), mask)
    assert second == box_region((1, 2, 4, 6), H, W, "entry 2")
    assert third.box_xyxy == (35, 26, 40, 30)  # to the nearest pixels
    (other,) = regions_from_seagull_json(path, tmp_path / "b.png", H, W)
    assert other.name == "entry 1"


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    entries = [{"img": f"{folder}/a.png", "points": [i, 0, 2, 2]} for i, folder in enumerate(("left", "right"))]
    path = written(tmp_path, entries)
    assert [r.name for r in regions_from_seagull_json(path, tmp_path / "right" / "a.png", H, W)] == ["entry 1"]
    with pytest.raises(RegionError, match=r"2 files are called 'a\.png' \(left/a\.png, right/a\.png\).*not clearly"):
        regions_from_seagull_json(path, tmp_path / "a.png", H, W)
    alone = written(tmp_path, entries[:1], "alone.json")  # another machine's folder does not matter then
    assert len(regions_from_seagull_json(alone, tmp_path / "a.png", H, W)) == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{not json", "not JSON"),
        ({"img": "a.png"}, "is a list of"),
        ([], "at least one entry"),
        ([7], r"entry 0: an object with \"img\""),
        ([{"rle": "x"}], r"entry 0: \"img\" is None"),
        ([{"img": "a.png"}], 'neither "rle" nor "points"'),
        ([{"img": "a.png", "rle": [1, 2]}], r"\"rle\" is '\[1, 2\]'; allowed: COCO's compressed counts"),
        ([{"img": "a.png", "points": [1, 2, 3]}], r"\"points\" is '\[1, 2, 3\]'; allowed: \[x, y, width, height\]"),
        ('[{"img": "a.png", "points": [1, 2, 3, NaN]}]', "nan"),
        ([{"img": "a.png", "points": [1, 2, 3, True]}], "True"),
    ],
)
def test_bad_seagull_files(tmp_path: Path, value: Any, words: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(RegionError, match=words) as caught:
        read_seagull_json(path)
    assert str(path) in str(caught.value)


def test_every_bad_entry_is_named_at_once(mask: np.ndarray, tmp_path: Path) -> None:
    path = written(tmp_path, [{"img": ""}, {"img": "a.png", "rle": "abc"}, *[5] * 30])
    with pytest.raises(RegionError) as caught:
        read_seagull_json(path)
    said = str(caught.value).splitlines()
    assert said[0].endswith("31 entries cannot be used:") and said[1].startswith('  entry 0: "img"')
    assert said[2].startswith("  entry 2") and said[-1] == "  and 11 more"
    # What depends on the image is said when the image is there, again all at once.
    counts = encode(mask).counts
    entries = [
        {"img": "a.png", "rle": counts},
        {"img": "a.png", "rle": counts[:-2]},
        {"img": "a.png", "points": [30, 20, 20, 5]},
        {"img": "a.png", "points": [3, 3, 0, 5]},
        {"img": "b.png", "points": [300, 300, 9, 9]},
    ]
    path = written(tmp_path, entries, "other.json")
    with pytest.raises(RegionError) as caught:
        regions_from_seagull_json(path, "a.png", H, W)
    text = str(caught.value)
    assert f"{path}: 3 entries cannot be used" in text and "entry 0" not in text and "entry 4" not in text
    assert "entry 1: RLE counts are damaged" in text
    assert "entry 2: Box 30,20,50,25 lies partly outside the image of 40x30" in text
    assert "entry 3: Box 3,3,3,8 is inverted or empty" in text
    with pytest.raises(RegionError, match="another size"):
        regions_from_seagull_json(written(tmp_path, entries[:1], "one.json"), "a.png", H, W + 1)


def test_an_image_without_an_entry_and_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = written(tmp_path, [{"img": "photo_1.png", "points": [0, 0, 5, 5]}])
    with pytest.raises(RegionError, match=r"no entry has 'photo1\.png'.*Did you mean 'photo_1\.png'"):
        regions_from_seagull_json(path, "photo1.png", H, W)
    with pytest.raises(RegionError, match=r"none\.json.*cannot be read"):
        read_seagull_json(tmp_path / "none.json")
    with pytest.raises(RegionError, match="SEAGULL JSON"):
        read_seagull_json(tmp_path)


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = written(tmp_path, [{"img": "a.png", "points": [0, 0, 5, 5]}])
    assert read_seagull_json(path) is read_seagull_json(path)
    written(tmp_path, [{"img": "a.png", "points": [0, 0, 15, 5]}])
    assert read_seagull_json(path)[0].box_xywh == (0, 0, 15, 5)
