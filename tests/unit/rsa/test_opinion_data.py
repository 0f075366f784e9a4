"""Opinion scores for a training: every bad row is named, and nothing that is tested was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from seagull_tune.config.base import load_config
from seagull_tune.config.rsa import OpinionData, OpinionSplit
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.rsa.opinion_data import divide, read_rated
from tests.rsa_parts import COUNT, write_csv

SCALE = "mos.scale={low: 0, high: 5, higher_is_better: true}"


def _data(file: Path, *changes: str) -> OpinionData:
    return load_config(OpinionData, None, [f"file={file}", SCALE, *changes])


def _rows(count: int, **columns: Any) -> list[dict[str, Any]]:
    return [{"image": f"{i:02d}.png", "mos": i % 5, **columns} for i in range(count)]


def test_rows_become_pictures(rated: Path) -> None:
    pictures = read_rated(_data(rated, "mos.scene=group", "std=std"))
    assert len(pictures) == COUNT and pictures[3].row.scene == "g1"
    assert pictures[1].quality == pytest.approx((5 - 1 - 0.01) / 5)
    assert pictures[0].trust > 1 > pictures[-1].trust > 0, "people agreed about the first"
    worse = read_rated(_data(rated, "mos.scale={low: 0, high: 5, higher_is_better: false}"))
    assert worse[1].quality == pytest.approx(1 - pictures[1].quality) and worse[0].trust == 1.0


def test_a_mos_without_range_or_direction_is_refused(rated: Path) -> None:
    with pytest.raises(ConfigError, match=r"mos: is missing|scale"):
        load_config(OpinionData, None, [f"file={rated}"])
    with pytest.raises(ConfigError, match="higher_is_better"):
        load_config(OpinionData, None, [f"file={rated}", "mos.scale={low: 0, high: 5}"])
    with pytest.raises(DataError, match=r"16 of 16 rows are wrong|declared range"):
        read_rated(
            load_config(OpinionData, None, [f"file={rated}", "mos.scale={low: 0, high: 1, higher_is_better: true}"])
        )


def test_missing_pictures_are_listed_with_their_rows(rated: Path, tmp_path: Path) -> None:
    for name in ("00.png", "02.png"):
        shutil.copy(rated.parent / name, tmp_path)
    file = write_csv(tmp_path / "mos.csv", _rows(30))
    with pytest.raises(DataError) as caught:
        read_rated(_data(file))
    said = str(caught.value)
    assert "28 of 30 pictures are not in" in said and "line 3: 01.png" in said and "... and 8 more" in said
    assert "line 2: 00.png" not in said


def test_constant_scores_and_too_few_are_refused(rated: Path, tmp_path: Path) -> None:
    rows = [{"image": f"{i:02d}.png", "mos": 3} for i in range(COUNT)]
    file = write_csv(tmp_path / "constant.csv", rows)
    with pytest.raises(DataError, match="all 16 scores are 3: there is nothing to learn"):
        read_rated(_data(file, f"images={rated.parent}"))
    with pytest.raises(DataError, match="has 7 pictures; at least 8"):
        read_rated(_data(write_csv(tmp_path / "few.csv", _rows(7)), f"images={rated.parent}"))
    with pytest.raises(DataError, match=r"line 2: 00\.png: the deviation is -1"):
        read_rated(_data(write_csv(tmp_path / "std.csv", _rows(1, std=-1)), f"images={rated.parent}", "std=std"))
    with pytest.raises(DataError, match=r"no column 'stdd'\. Did you mean 'std'"):
        read_rated(_data(rated, "std=stdd"))


def test_groups_are_not_divided(rated: Path) -> None:
    pictures = read_rated(_data(rated, "mos.scene=group"))
    train, test = divide(pictures, OpinionSplit(test=0.25, seed=1))
    assert len(test) == 4 and len(train) == COUNT - 4
    assert not {p.row.scene for p in train} & {p.row.scene for p in test}
    drawn = [[p.row.name for p in divide(pictures, OpinionSplit(test=0.25, seed=seed))[1]] for seed in (1, 2, 3, 4)]
    assert drawn[0] == [p.row.name for p in test] and any(names != drawn[0] for names in drawn)
    assert divide(pictures, OpinionSplit(test=0.0)) == (pictures, [])


def test_one_group_cannot_be_divided(rated: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "mos.csv", _rows(COUNT, group="all"))
    pictures = read_rated(_data(file, "mos.scene=group", f"images={rated.parent}"))
    with pytest.raises(DataError, match="All 16 pictures are of one group"):
        divide(pictures, OpinionSplit(test=0.2))
    assert len(divide(pictures, OpinionSplit(test=0.0))[0]) == COUNT


def test_leaks_are_refused(rated: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(rated.parent, folder)
    shutil.copy(folder / "00.png", folder / "05.png")
    rows = [{**row, "part": "test" if i == 5 else "train"} for i, row in enumerate(_rows(COUNT))]
    with pytest.raises(DataError, match=r"(?s)was trained on:.*SHA-256"):
        divide(read_rated(_data(write_csv(folder / "a.csv", rows), "mos.split=part")), OpinionSplit())
    shared = [{**row, "scene": i // 4} for i, row in enumerate(rows)]
    with pytest.raises(DataError, match=r"(?s)was trained on:.*scene '1'"):
        divide(
            read_rated(_data(write_csv(folder / "b.csv", shared), "mos.split=part", "mos.scene=scene")), OpinionSplit()
        )
    alone = [{**row, "part": "train"} for row in _rows(COUNT)]
    with pytest.raises(DataError, match="The test part has no picture; at least 1"):
        divide(read_rated(_data(write_csv(folder / "c.csv", alone), "mos.split=part")), OpinionSplit())
