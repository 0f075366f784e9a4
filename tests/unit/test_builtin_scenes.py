"""The built-in photographs: the table holds, installed ones are there, damaged and missing ones are told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from seagull_tune import builtin_scenes as rooms
from seagull_tune.builtin_scenes import builtin_scenes, get_scene, scene_path, scene_table
from seagull_tune.errors import DataError, MissingDependencyError
from seagull_tune.images import read_image


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    scene_path.cache_clear()
    yield
    scene_path.cache_clear()


def test_the_table_is_sorted_and_has_enough_scenes() -> None:
    scenes = builtin_scenes()
    assert [scene.name for scene in scenes] == sorted(scene.name for scene in scenes)
    assert len({scene.scene for scene in scenes}) == 40
    assert len({scene.sha256 for scene in scenes}) == len(scenes) == 47
    assert len({scene.scene for scene in builtin_scenes(installed_only=True)}) == 8


def test_fetched_wheels_are_small_and_pinned() -> None:
    for name, package in scene_table().packages.items():
        if not package.installed:
            assert package.wheel_sha256 and package.wheel_mb and package.wheel_mb < 150, name
    assert sum(package.wheel_mb or 0 for package in scene_table().packages.values()) < 250


def test_installed_photographs_are_colour_pictures_of_some_size() -> None:
    for scene in builtin_scenes(installed_only=True):
        image = read_image(scene_path(scene.name))
        assert min(image.shape[:2]) >= 300, scene.name
        assert (image[..., 0] != image[..., 2]).mean() > 0.2, scene.name


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(DataError, match="Did you mean 'chelsea'"):
        get_scene("chelsee")


def test_without_a_network_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(package: str, version: str, sha256: str | None = None) -> Path:
        raise MissingDependencyError(f"no wheel for {package}=={version}")

    monkeypatch.setattr(rooms, "fetch_wheel", refuse)
    with pytest.raises(MissingDependencyError, match=r"(?s)'quokka'.*imgaug==0.4.0.*source=builtin:installed"):
        scene_path("quokka")


def test_a_damaged_cache_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rooms, "fetch_wheel", lambda *args: tmp_path)
    with pytest.raises(DataError, match="missing"):
        scene_path("quokka")
    (tmp_path / "imgaug").mkdir()
    (tmp_path / "imgaug" / "quokka.jpg").write_bytes(b"another file")
    with pytest.raises(DataError, match="SHA-256"):
        scene_path("quokka")


def test_another_version_of_an_installed_package_falls_back_to_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = scene_path("coffee")
    scene_path.cache_clear()
    other = tmp_path / "coffee.png"
    other.write_bytes(b"another photograph")
    monkeypatch.setattr(rooms, "_installed_path", lambda scene: other)
    monkeypatch.setattr(rooms, "fetch_wheel", lambda *args: real.parents[2])
    assert scene_path("coffee") == real
