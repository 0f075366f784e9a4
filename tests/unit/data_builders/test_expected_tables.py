"""The rows of a small data set are those written down; `tests/expected_tables.py` says how to write new ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seagull_tune.levels import DISTORTION_TYPES
from tests.expected_tables import DECIMALS, EXPECTED, Rows, build_rows, write_rows

WRITE_AGAIN = "if the change is meant: python -m tests.expected_tables"
_LABELS = ("labels", "image_quality")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return build_rows(tmp_path_factory.mktemp("expected"))


@pytest.fixture(scope="module")
def expected() -> Rows:
    rows: Rows = json.loads(EXPECTED.read_text(encoding="utf-8"))
    return rows


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of a row, with its path."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(part, f"{path}.{key}")
    else:
        yield path, value


def test_images_are_those_written_down(found: Rows, expected: Rows) -> None:
    assert found["images"] == expected["images"], WRITE_AGAIN


def test_recipes_are_those_written_down(found: Rows, expected: Rows) -> None:
    for new, old in zip(found["samples"], expected["samples"], strict=True):
        assert {**new, **dict.fromkeys(_LABELS)} == {**old, **dict.fromkeys(_LABELS)}, WRITE_AGAIN


def test_labels_are_those_written_down(found: Rows, expected: Rows) -> None:
    for new, old in zip(found["samples"], expected["samples"], strict=True):
        assert _labels(new) == pytest.approx(_labels(old), abs=1.5 * 10**-DECIMALS), WRITE_AGAIN


def _labels(row: dict[str, Any]) -> dict[str, Any]:
    return {f"{row['sample_id']}{path}": value for path, value in _leaves({name: row[name] for name in _LABELS})}


def test_every_type_is_among_them(expected: Rows) -> None:
    assert {step["type"] for row in expected["samples"] for step in row["recipe"]} == set(DISTORTION_TYPES)
    assert any(not row["recipe"] for row in expected["samples"])  # and an undistorted one


def test_writing_and_reading_changes_nothing(expected: Rows, tmp_path: Path) -> None:
    write_rows(expected, tmp_path / "rows.json")
    assert (tmp_path / "rows.json").read_bytes() == EXPECTED.read_bytes()
