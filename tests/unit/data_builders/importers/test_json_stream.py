"""The streaming JSON reader: equal to ``json.loads``, small in memory, strict."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from data_builders.importers import json_stream
from data_builders.importers.json_stream import stream_json
from data_builders.importers.paths import get, outline, put_together
from seagull_tune.errors import DataError

VALUE: dict[str, Any] = {
    "a": {"x": [1, 2.5, -3e-7], "y": None, 'ü "quoted" \\': "tab\t, brace }"},
    "b": {},
    "c": {"z": {"deep": [[], [{}], True]}},
    "d": [],
    "e": 123456,
}


def _put(values: list[tuple[tuple[Any, ...], Any]]) -> dict[tuple[Any, ...], Any]:
    return dict(values)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_it_reads_what_json_reads(
    tmp_path: Path, chunk: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(VALUE, indent=indent, ensure_ascii=False), encoding="utf-8")
    assert list(stream_json(path, 0)) == [((), VALUE)]
    assert _put(list(stream_json(path, 1))) == {(key,): value for key, value in VALUE.items()}
    deeper = _put(list(stream_json(path, 2)))
    assert deeper["a", "x"] == [1, 2.5, -3e-7] and deeper["e",] == 123456 and ("b",) not in deeper
    path.write_text(json.dumps([1, [2, 3]], indent=indent))
    assert list(stream_json(path, 2)) == [((0,), 1), ((1, 0), 2), ((1, 1), 3)]


def test_it_holds_little(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    entry = json.dumps({"quality": [0.5] * 200})
    with path.open("w") as file:
        file.write("{" + ",".join(f'"{i}": {entry}' for i in range(20_000)) + "}")
    assert path.stat().st_size > 19e6
    tracemalloc.start()
    count = sum(1 for _ in stream_json(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000 and peak < 12e6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "ends in the middle"),
        ('{"a": 1', "ends in the middle"),
        ('{"a": 1} x', "follows the end"),
        ('{"a": [1, 2}', "character 11"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a" 1}', "colon"),
        ("{a: 1}", "quotation marks"),
        ("[1 2]", "comma"),
        ("\xff", "cannot be read"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"x\.json.*{reason}"):
        list(stream_json(path))


def test_damage_is_told_where_it_is_without_reading_on(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        list(stream_json(path))
    path.write_text("[" + "9" * 5000 + "]")
    with pytest.raises(DataError, match=r"4300 digits.*character 1\)"):
        list(stream_json(path))
    path.write_text('{"a": tru, "b": [' + "1," * 2_000_000 + "1]}")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"Expecting value \(character 6\)"):
        list(stream_json(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6


def test_values_that_are_too_large_ask_for_more_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "LARGEST_VALUE", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK", 100)
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"a": list(range(5000))}))
    with pytest.raises(DataError, match="larger depth"):
        list(stream_json(path))
    assert len(list(stream_json(path, 2))) == 5000


def test_paths() -> None:
    value = {"rois": [{"q": 1}, {"q": 2}], "name": {"id": "x"}}
    assert get(value, "rois.*.q", "here") == [1, 2] and get(value, "", "here") is value
    assert get(value, "rois.1.q", "here") == 2
    assert put_together("@1/name.id", ("a", "b"), value, "here") == "b/x"
    with pytest.raises(DataError, match=r"here: there is no 'rois\.\*\.z'|here: there is no 'z'; found \{q: number\}"):
        get(value, "rois.*.z", "here")
    with pytest.raises(DataError, match="@2 names no key; there are 2"):
        put_together("@2", ("a", "b"), value, "here")
    assert outline([{"a": [True, 1], "b": None}]) == "[{a: [true, ...], b: null}, ...]"
