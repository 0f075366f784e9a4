"""Leaks between splits are found by scene and by content."""

from __future__ import annotations

from seagull_tune.data.schema import find_leaks


def test_leaks_are_found_by_scene_and_by_content() -> None:
    assert find_leaks([("a", "1", "train"), ("a", "2", "train"), ("b", "3", "test")]) == []
    leaks = find_leaks([("a", "1", "train"), ("a", "2", "test"), ("b", "3", "test"), ("c", "3", "train")])
    assert len(leaks) == 2
    assert "SHA-256 '3' is in the splits test, train" in leaks[0]
    assert "scene 'a' is in the splits test, train" in leaks[1]
