"""Wheels as a source of files, fetched by the real installer from a folder of wheels or from an index that is down."""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import os
import zipfile
from pathlib import Path

import pytest

from seagull_tune import wheels
from seagull_tune.errors import DataError, MissingDependencyError


def make_wheel(folder: Path, name: str, content: bytes) -> str:
    """A valid wheel of one data file; returns its SHA-256."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/photo.bin": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: no-such-one\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for inner, data in files.items():
            archive.writestr(inner, data)
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that stands for the index; the cache is empty and there is no network."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv(wheels.CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def test_a_wheel_is_fetched_without_its_requirements_once(shelf: Path) -> None:
    digest = make_wheel(shelf, "seagull_photo_a", b"pixels")
    folder = wheels.fetch_wheel("seagull-photo-a", "1.0", digest)
    assert (folder / "seagull_photo_a" / "photo.bin").read_bytes() == b"pixels"
    (shelf / "seagull_photo_a-1.0-py3-none-any.whl").unlink()
    assert wheels.fetch_wheel("Seagull_Photo.A", "1.0") == folder
    assert [path.name for path in folder.parent.iterdir() if not path.name.endswith(".lock")] == ["seagull-photo-a-1.0"]


def test_another_content_is_refused_and_not_kept(shelf: Path) -> None:
    digest = make_wheel(shelf, "seagull_photo_b", b"pixels")
    with pytest.raises(DataError, match=f"SHA-256 {digest}, expected {'0' * 64}"):
        wheels.fetch_wheel("seagull-photo-b", "1.0", "0" * 64)
    assert not wheels.wheel_folder("seagull-photo-b", "1.0").exists()
    wheels.fetch_wheel("seagull-photo-b", "1.0", digest)
    with pytest.raises(DataError, match="remove that folder"):
        wheels.fetch_wheel("seagull-photo-b", "1.0", "0" * 64)


def test_an_index_that_is_down_is_one_clear_error_and_no_storm(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(MissingDependencyError) as caught:
        wheels.fetch_wheel("seagull-photo-c", "1.0")
    text = str(caught.value)
    assert "seagull-photo-c==1.0" in text and str(tmp_path / "cache") in text and wheels.CACHE_VARIABLE in text

    def no_installer() -> None:
        raise AssertionError("asked again at once")

    monkeypatch.setattr(wheels, "_installers", no_installer)
    with pytest.raises(MissingDependencyError, match="seagull-photo-c"):
        wheels.fetch_wheel("seagull-photo-c", "1.0")


def _fetch(queue: multiprocessing.Queue[str]) -> None:
    queue.put(str(wheels.fetch_wheel("seagull-photo-d", "1.0")))


def test_two_processes_at_once_get_the_same_whole_folder(shelf: Path) -> None:
    make_wheel(shelf, "seagull_photo_d", b"x" * 100_000)
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    workers = [context.Process(target=_fetch, args=(queue,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    folders = {queue.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert len(folders) == 1
    assert (Path(folders.pop()) / "seagull_photo_d" / "photo.bin").stat().st_size == 100_000


def test_a_build_that_fails_or_was_killed_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "m"
    killed = folder.parent / ".m.tmp-old"
    killed.mkdir(parents=True)

    def fail() -> None:
        with wheels.built_once(folder) as temporary:
            assert temporary is not None
            (temporary / "half").write_text("x")
            raise DataError("stop")

    with pytest.raises(DataError, match="stop"):
        fail()
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == []
    with wheels.built_once(folder) as temporary:
        assert temporary is not None
        (temporary / "whole").write_text("x")
    with wheels.built_once(folder) as temporary:
        assert temporary is None
    assert (folder / "whole").read_text() == "x"


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(wheels.CACHE_VARIABLE, str(tmp_path))
    assert wheels.cache_dir() == tmp_path
    monkeypatch.delenv(wheels.CACHE_VARIABLE)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert wheels.cache_dir() == tmp_path / "xdg" / "seagull-tune"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert wheels.cache_dir() == Path.home() / ".cache" / "seagull-tune"


def test_the_marker_names_the_wheel(shelf: Path) -> None:
    digest = make_wheel(shelf, "seagull_photo_e", b"e")
    folder = wheels.fetch_wheel("seagull-photo-e", "1.0")
    marker = json.loads(next(folder.glob("seagull-tune-wheel.json")).read_text())
    assert marker == {"package": "seagull-photo-e", "version": "1.0", "sha256": digest}
