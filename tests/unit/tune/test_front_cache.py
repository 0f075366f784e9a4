"""The cache of the frozen front: equal to no cache, resumable, keyed by what it depends on, honest about full disks."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seagull_tune.data.collate import Collator, TrainingItem
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import DataError
from seagull_tune.model.mfe import RegionStatistics
from seagull_tune.model.modeling import Front, SeagullForConditionalGeneration
from seagull_tune.tune.front_cache import build_front_cache, cache_key, front_statistics
from tests.tiny import make_tiny_model, make_tokenizer

Tiny = tuple[SeagullForConditionalGeneration, SeagullProcessor]
FIELDS = ("grid", "maps", "image", "geometry", "native", "coverage", "counts")


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.load(path) for path in folder.rglob("*.npy")}


@pytest.fixture(scope="module")
def finished(tiny: Tiny, rows: RoiDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("front")
    build_front_cache(rows, *tiny, root, workers=0)
    return root


def test_cached_equals_uncached(tiny: Tiny, rows: RoiDataset, finished: Path) -> None:
    cache = build_front_cache(rows, *tiny, finished, workers=0)
    chosen = [0, 5, 17]
    cached = cache.sample_statistics(chosen)
    fresh = front_statistics(rows, *tiny, chosen)
    for name in FIELDS:
        found, expected = getattr(cached, name), getattr(fresh, name)
        assert found.dtype == expected.dtype and found.shape == expected.shape, name
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)


def test_tokens_from_the_cache_equal_those_from_pixels(tiny: Tiny, rows: RoiDataset, finished: Path) -> None:
    model, processor = make_tiny_model()
    model.mfe.measure(front_statistics(rows, model, processor, range(18)))
    cache = build_front_cache(rows, *tiny, finished, workers=0)
    row = rows[3]
    cached = Collator(0)([TrainingItem("a", row.labels, statistics=cache.read(3))])
    visual = processor.visual(row.image, row.masks)
    pixels = Collator(0)([TrainingItem("a", row.labels, visual=visual)])
    names = ("pixel_values", "region_masks", "region_geometry", "patches", "patch_masks")
    with torch.no_grad():
        first = model.encode_regions(RegionStatistics(**cached["statistics"]))
        second = model.encode_regions(model.encode_front(**{name: pixels[name] for name in names}))
    assert float((first - second).norm() / second.norm()) < 1e-2


def test_the_ring_around_regions_is_cached_too(rows: RoiDataset, tmp_path: Path) -> None:
    ringed = make_tiny_model(settings={"mfe_context": 0.25})
    cached = build_front_cache(rows, *ringed, tmp_path, workers=0, chosen=[0, 5]).sample_statistics([0, 5])
    fresh = front_statistics(rows, *ringed, [0, 5])
    assert cached.context is not None and fresh.context is not None
    torch.testing.assert_close(cached.context, fresh.context, rtol=1e-2, atol=1e-2)


def test_a_finished_cache_runs_the_tower_no_more(tiny: Tiny, rows: RoiDataset, finished: Path) -> None:
    calls: list[int] = []
    handle = tiny[0].vision_tower.register_forward_hook(lambda *_: calls.append(1))
    try:
        build_front_cache(rows, *tiny, finished, workers=0)
    finally:
        handle.remove()
    assert not calls


@pytest.mark.parametrize("stop_at", [0, 1])
def test_a_computation_that_was_cut_off_goes_on(
    tiny: Tiny, rows: RoiDataset, finished: Path, tmp_path: Path, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny
    real = model.encode_front
    seen: list[int] = []

    class Killed(BaseException):
        pass

    def counted(**inputs: Any) -> Front:
        if len(seen) == stop_at:
            raise Killed
        seen.append(len(inputs["pixel_values"]))
        return real(**inputs)

    monkeypatch.setattr(model, "encode_front", counted)
    with pytest.raises(Killed):
        build_front_cache(rows, model, processor, tmp_path, workers=0)
    assert len(seen) == stop_at
    stop_at = 99
    build_front_cache(rows, model, processor, tmp_path, workers=0)
    assert sum(seen) == len(rows), "finished rows were computed again"
    there, whole = _arrays(tmp_path), _arrays(finished)
    assert there.keys() == whole.keys()
    # Batches are cut differently, which moves the last bit of float32 before it is rounded to float16.
    for name, array in whole.items():
        np.testing.assert_allclose(there[name].astype(np.float32), array.astype(np.float32), rtol=2e-3, atol=2e-3)


def test_a_kill_in_between_is_done_again(tiny: Tiny, rows: RoiDataset, finished: Path, tmp_path: Path) -> None:
    """Rows count as done only after everything of them is written."""
    cache = build_front_cache(rows, *tiny, tmp_path, workers=0)
    done = np.lib.format.open_memmap(cache.folder / "done.npy", mode="r+")
    maps = np.lib.format.open_memmap(cache.folder / "maps.npy", mode="r+")
    done[4], maps[cache.starts[4] : cache.starts[5]] = False, 77
    done.flush()
    maps.flush()
    with pytest.raises(DataError, match="row 4 was not computed"):
        build_front_cache(rows, *tiny, tmp_path, workers=0, chosen=[0]).read(4)
    again = build_front_cache(rows, *tiny, tmp_path, workers=0).read(4)
    np.testing.assert_allclose(
        again["maps"], build_front_cache(rows, *tiny, finished, workers=0).read(4)["maps"], rtol=2e-3, atol=2e-3
    )


def test_only_the_chosen_rows_are_computed_and_more_can_follow(tiny: Tiny, rows: RoiDataset, tmp_path: Path) -> None:
    cache = build_front_cache(rows, *tiny, tmp_path, workers=0, chosen=[2, 11])
    assert np.flatnonzero(np.load(cache.folder / "done.npy")).tolist() == [2, 11]
    assert cache.read(11)["maps"].any()
    with pytest.raises(DataError, match="row 3 was not computed"):
        cache.read(3)
    build_front_cache(rows, *tiny, tmp_path, workers=0, chosen=[3])
    assert cache.read(3)["maps"].any()


def test_workers_give_the_same(tiny: Tiny, rows: RoiDataset, finished: Path, tmp_path: Path) -> None:
    build_front_cache(rows, *tiny, tmp_path, workers=1)
    there, whole = _arrays(tmp_path), _arrays(finished)
    assert all(np.array_equal(there[name], array) for name, array in whole.items())


def test_the_key_follows_everything_that_matters(tiny: Tiny, rows: RoiDataset, data: Path) -> None:
    model, processor = tiny
    sizes = {"image_max_side": 96, "image_grid": 2, "patch_size": 16, "patches_per_region": 3}
    base = cache_key(rows, model, processor)
    assert cache_key(RoiDataset(data, "train"), *make_tiny_model()) == base
    keys = {base, cache_key(RoiDataset(data, "validation"), model, processor)}
    changes: list[dict[str, Any]] = [
        {"image_max_side": 80}, {"patch_size": 24}, {"patches_per_region": 4}, {"image_mean": (0.4, 0.5, 0.5)},
        {"region_shape": "box"},
    ]  # fmt: skip
    for change in changes:
        keys.add(cache_key(rows, model, SeagullProcessor(make_tokenizer(), **(sizes | change))))
    keys.add(cache_key(rows, make_tiny_model(seed=1)[0], processor))
    keys.add(cache_key(rows, make_tiny_model(tower="test_resnet")[0], processor))
    for settings in ({"mfe_context": 0.25}, {"mfe_pooling": "mean"}):
        keys.add(cache_key(rows, make_tiny_model(settings=settings)[0], processor))
    assert len(keys) == 11
    attending = make_tiny_model(settings={"mfe_attention": True})[0]
    assert cache_key(rows, attending, processor) == base, "it reads the same, so one cache serves both"


def test_a_full_disk_is_told_and_leaves_no_trap(
    tiny: Tiny, rows: RoiDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"cannot write the front cache.*No space left.*Free some disk"):
        build_front_cache(rows, *tiny, tmp_path, workers=0)
    monkeypatch.undo()
    # A file with holes would kill a later run that writes into it.
    assert not list(tmp_path.rglob("*.npy*"))
    assert build_front_cache(rows, *tiny, tmp_path, workers=0).read(0)["maps"].any()


def test_it_travels_to_workers(tiny: Tiny, rows: RoiDataset, finished: Path) -> None:
    cache = build_front_cache(rows, *tiny, finished, workers=0)
    cache.read(0)
    data = pickle.dumps(cache)
    assert len(data) < 5000, "the memory maps were copied"
    copy = pickle.loads(data)
    assert all(np.array_equal(copy.read(7)[name], cache.read(7)[name]) for name in FIELDS)
