"""Kept regions: found once, the same again, found anew where the file is damaged or anything else changed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything import sam_model_registry
from skimage import data

from seagull_tune.config.regions import SamSettings
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.segment import Segmenter, build_segmenter
from seagull_tune.segment.cache import CachedSegmenter, RegionCache
from seagull_tune.wheels import CACHE_VARIABLE
from tests.tiny_sam import tiny_sam

REGIONS = [box_region((0, 0, 9, 7), 8, 10, "große"), box_region((2, 3, 5, 8), 8, 10)]
IMAGE = np.arange(240, dtype=np.uint8).reshape(8, 10, 3)
KEY = "ab" + "0" * 62


class Counting:
    """A segmenter that counts how often it is asked."""

    name = "counting"
    calls = 0

    def segment(self, image: np.ndarray) -> list[Region]:
        self.calls += 1
        return REGIONS

    def at_point(self, image: np.ndarray, x: int, y: int) -> Region:
        return REGIONS[0]

    def in_box(self, image: np.ndarray, box_xyxy: Sequence[int]) -> Region:
        return REGIONS[1]


def test_regions_come_back_as_they_were(tmp_path: Path) -> None:
    cache = RegionCache(tmp_path / "deep" / "cache")
    assert cache.get(KEY) is None
    cache.put(KEY, REGIONS)
    assert cache.get(KEY) == REGIONS
    assert [path.name for path in (tmp_path / "deep" / "cache").rglob("*") if path.is_file()] == [f"{KEY}.json"]


@pytest.mark.parametrize("damage", ["cut", "flip", "format", "list", "bytes", "empty"])
def test_damaged_entries_are_found_anew_with_a_warning(tmp_path: Path, damage: str) -> None:
    inner, cache = Counting(), RegionCache(tmp_path)
    segmenter = CachedSegmenter(inner, cache, {})
    segmenter.segment(IMAGE)
    path = cache.path_of(segmenter.key_of(IMAGE))
    whole = path.read_text()
    entry = json.loads(whole)
    entry["regions"][0]["area"] += 1
    path.write_bytes(
        {
            "cut": whole[: len(whole) // 2].encode(),
            "flip": json.dumps(entry).encode(),
            "format": json.dumps({**json.loads(whole), "format": 99}).encode(),
            "list": b"[1, 2]",
            "bytes": b"\xff\xfe\x00",
            "empty": b"",
        }[damage]
    )
    with pytest.warns(UserWarning, match=r"\.json: kept regions cannot be read .*found anew"):
        assert segmenter.segment(IMAGE) == REGIONS
    assert inner.calls == 2 and path.read_text() == whole
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert segmenter.segment(IMAGE) == REGIONS
    assert inner.calls == 2


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    segmenter = CachedSegmenter(Counting(), RegionCache(tmp_path / "file"), {})
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert segmenter.segment(IMAGE) == REGIONS


def test_a_kill_while_writing_leaves_no_half_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    cache = RegionCache(tmp_path)
    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.put(KEY, REGIONS)
    monkeypatch.undo()
    assert not cache.path_of(KEY).exists() and cache.get(KEY) is None
    cache.put(KEY, REGIONS)
    assert cache.get(KEY) == REGIONS


def test_another_image_or_identity_has_another_key(tmp_path: Path) -> None:
    inner = Counting()
    first = CachedSegmenter(inner, RegionCache(tmp_path), {"weights": "a", "settings": {"x": 1, "y": 2}})
    same = CachedSegmenter(inner, RegionCache(tmp_path), {"settings": {"y": 2, "x": 1}, "weights": "a"})
    other = CachedSegmenter(inner, RegionCache(tmp_path), {"weights": "b", "settings": {"x": 1, "y": 2}})
    for segmenter in (first, same, other):
        segmenter.segment(IMAGE)
    first.segment(IMAGE[::-1])
    assert inner.calls == 3
    assert first.at_point(IMAGE, 1, 1) == REGIONS[0] and first.in_box(IMAGE, (0, 0, 1, 1)) == REGIONS[1]
    assert isinstance(first, Segmenter) and first.name == "counting"


def test_sam_is_cached_by_its_weights_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sam_model_registry, "vit_b", partial(tiny_sam, 5))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    photo = np.ascontiguousarray(data.chelsea()[:150, :220])
    encoded: list[int] = []

    def regions(seed: int = 0, **more: Any) -> list[Region]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"  # a copy elsewhere is the same weights
        folder.mkdir()
        torch.save(tiny_sam(seed).state_dict(), folder / "sam.pth")
        thresholds = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "max_hole_share": 1}
        settings = SamSettings.model_validate(
            {"checkpoint": folder / "sam.pth", "model_type": "vit_b", **thresholds, **more}
        )
        segmenter = build_segmenter("sam", 0.0, 16, settings)
        model = segmenter.inner.model if isinstance(segmenter, CachedSegmenter) else segmenter.model  # type: ignore[attr-defined]
        model.image_encoder.register_forward_hook(lambda *_: encoded.append(1))
        return segmenter.segment(photo)

    first = regions()
    assert regions() == first and len(encoded) == 1
    assert regions(points_per_batch=3) == first and len(encoded) == 1
    assert len(list((tmp_path / "cache" / "regions").rglob("*.json"))) == 1
    regions(seed=1)
    regions(fill_holes_share=0.5)
    regions(cache_dir=tmp_path / "own")
    regions(cache=False)
    assert len(encoded) == 5
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 3 and len(list((tmp_path / "own").rglob("*.json"))) == 1
