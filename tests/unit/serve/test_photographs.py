"""What is kept between requests: found again by content, within bounds, and no number changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seagull_tune.errors import RegionError
from seagull_tune.infer.assessor import AskedRegions, RegionAssessor
from seagull_tune.records import Region
from seagull_tune.regions.boxes import box_region
from seagull_tune.serve.photographs import ByteCache, RememberingAssessor
from tests.tiny import enliven, make_tiny_model

ROOM = 64 << 20


@pytest.fixture(scope="module")
def assessor() -> RememberingAssessor:
    model, processor = make_tiny_model()
    return RememberingAssessor(enliven(model), processor, "tiny@0")


def box(*corners: int) -> Region:
    x0, y0, x1, y1 = corners
    return box_region((x0, y0, x1, y1), 160, 200)


A, B, C = box(10, 20, 90, 120), box(0, 0, 200, 160), box(100, 0, 190, 60)


def test_what_is_kept_has_a_bound() -> None:
    cache: ByteCache[str, np.ndarray] = ByteCache(1000)
    arrays = {str(i): np.zeros((10, 10, 3), np.uint8) for i in range(5)}
    for key, array in arrays.items():
        assert cache.put(key, array, array.nbytes) is array
    assert [cache.get(key) is not None for key in arrays] == [False, False, True, True, True]
    assert cache.put("4", np.zeros((1, 1, 3), np.uint8), 3) is arrays["4"]
    big = np.zeros((20, 20, 3), np.uint8)
    assert cache.put("big", big, big.nbytes) is big and cache.get("big") is None


def test_known_regions_and_photographs_are_not_encoded_again(assessor: RememberingAssessor, image: np.ndarray) -> None:
    looks: list[int] = []
    handle = assessor.model.vision_tower.register_forward_hook(lambda *_: looks.append(1))
    assessor.remember(ROOM, ROOM)
    assessor.hits = assessor.misses = 0
    try:
        with assessor.running():
            assessor.encode(image, [A])
            assert (len(looks), assessor.hits, assessor.misses) == (1, 0, 1)
            found = assessor.encode(image.copy(), [B, A, C, B])  # the same content; one is known, one comes twice
            assert (len(looks), assessor.hits, assessor.misses) == (1, 1, 3)
            assessor.encode(image[::-1].copy(), [A])
            assert len(looks) == 2
            want = RegionAssessor.encode(assessor, image, [B, A, C, B])
    finally:
        handle.remove()
    assert found.size == want.size
    torch.testing.assert_close(found.tokens, want.tokens, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.grid, want.grid, rtol=0, atol=1e-5)
    with pytest.raises(RegionError, match="No region"):
        assessor.encode(image, [])


def test_a_photograph_is_opened_once(assessor: RememberingAssessor, image: np.ndarray) -> None:
    assessor.remember(ROOM, ROOM)
    with assessor.running():
        first = assessor.open(assessor.encode(image, [A]))
        assert assessor.open(assessor.encode(image, [B])) is first
        assert assessor.open(assessor.encode(image[::-1].copy(), [A])) is not first
        assert first.n_bytes > 0


@pytest.mark.parametrize("room", [0, 200_000, ROOM])
def test_numbers_do_not_depend_on_what_is_kept(assessor: RememberingAssessor, image: np.ndarray, room: int) -> None:
    assessor.remember(room, room)
    plain = RegionAssessor(assessor.model, assessor.processor, assessor.name)
    pictures = [image, np.ascontiguousarray(image[:, ::-1])]
    for regions in ([A], [B, A], [A, C]):
        with assessor.running():
            asked = [AskedRegions(assessor.encode(picture, regions), regions) for picture in pictures]
            found = list(assessor.judge(asked))
        for picture, answers in zip(pictures, found, strict=True):
            for got, want in zip(answers, plain.assess(picture, regions), strict=True):
                assert got.region == want.region
                assert got.scores.quality_levels == pytest.approx(want.scores.quality_levels, abs=1e-4)
                assert got.scores.types == pytest.approx(want.scores.types, abs=1e-4)
                assert got.direct.quality == pytest.approx(want.direct.quality, abs=1e-4)
