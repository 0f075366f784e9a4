"""Tables of answers hold what the lines hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from seagull_tune.errors import DataError
from seagull_tune.infer import answer_table
from seagull_tune.infer.answer_table import flatten, is_table, write_table
from seagull_tune.infer.serialise import to_json_line
from seagull_tune.regions.boxes import box_region
from tests.canned_answers import canned_answer


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five answers, read two at a time."""
    monkeypatch.setattr(answer_table, "_ROWS_AT_ONCE", 2)
    region = box_region((1, 2, 9, 9), 16, 20, 'a, "quoted"\nname')
    answers = [canned_answer(region, quality / 4, "Good; ä.", quality == 2) for quality in range(5)]
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(to_json_line(answer, "ä.jpg") + "\n" for answer in answers), encoding="utf-8")
    return path


def test_tables_are_known_by_their_suffix() -> None:
    assert is_table(Path("a.CSV")) and is_table(Path("a.parquet")) and not is_table(Path("a.jsonl"))


def test_columns_are_ways_to_values() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None, "f": False}) == {
        "a.b.c": 1,
        "a.d": [1, 2],
        "f": False,
    }


def test_parquet_equals_the_lines(lines: Path, tmp_path: Path) -> None:
    write_table(lines, tmp_path / "t.parquet")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    assert rows == [flatten(json.loads(line)) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert rows[2]["abstain"] is True and rows[0]["region.box_xyxy"] == [1, 2, 9, 9]
    assert rows[0]["severities.blur.name"] == "obvious" and rows[0]["direct.quality_levels.bad"] == 0.5


def test_csv_equals_the_lines(lines: Path, tmp_path: Path) -> None:
    write_table(lines, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, line in zip(rows, lines.read_text(encoding="utf-8").splitlines(), strict=True):
        flat = flatten(json.loads(line))
        assert list(row) == list(flat)
        read = {name: text if isinstance(flat[name], str) else json.loads(text) for name, text in row.items()}
        assert read == flat


def test_a_table_of_nothing_and_of_rows_that_differ(lines: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for name in ("t.csv", "t.parquet"):
        write_table(empty, tmp_path / name)
        with lines.open("a", encoding="utf-8") as file:
            file.write('{"image": "x", "new": 1}\n')
        with pytest.raises(DataError, match=r"row 6: new is new"):
            write_table(lines, tmp_path / name)
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 0 and (tmp_path / "t.csv").read_bytes() == b""
    assert not list(tmp_path.glob("*.partial"))
