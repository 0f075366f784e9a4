"""Masks: storage round trips against pycocotools, strict reading, resizing, polygons, label maps."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco
from skimage import data

from seagull_tune.errors import RegionError
from seagull_tune.records import Region
from seagull_tune.regions import masks
from seagull_tune.regions.masks import (
    area_weights,
    box_of_mask,
    decode,
    decode_all,
    encode,
    from_label_map,
    from_polygon,
    from_rle,
    iter_masks,
    nearest_index,
    resize_mask,
    same_size,
)


def blobs(h: int, w: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = rng.random((h, w)) < 0.4
    mask[h // 3 : h // 2] = True
    return mask


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (33, 47), (321, 481)])
def test_round_trip_agrees_with_pycocotools(size: tuple[int, int]) -> None:
    mask = blobs(*size)
    mask[-1, -1] = True
    region = encode(mask, "grass")
    assert (region.height, region.width, region.name) == (*size, "grass")
    assert region.area == mask.sum()
    np.testing.assert_array_equal(decode(region), mask)
    assert decode(region).flags.c_contiguous
    theirs = coco.decode({"size": list(size), "counts": region.counts.encode()})
    np.testing.assert_array_equal(theirs.astype(bool), mask)


def test_real_silhouette_round_trip_and_box() -> None:
    horse = ~data.horse().astype(bool)
    region = encode(horse)
    x0, y0, x1, y1 = region.box_xyxy
    assert horse[y0:y1, x0:x1].sum() == horse.sum() == region.area
    assert horse[y0].any()
    assert horse[y1 - 1].any()
    assert horse[:, x0].any()
    assert horse[:, x1 - 1].any()
    np.testing.assert_array_equal(decode(region), horse)


def test_encode_takes_numbers_and_any_memory_order() -> None:
    mask = blobs(20, 30)
    assert encode(mask.astype(np.uint8) * 255) == encode(np.asfortranarray(mask)) == encode(mask[::1])
    assert encode(np.repeat(mask, 2, 0)[::2]) == encode(mask)


def test_empty_and_shapeless_masks_are_refused() -> None:
    with pytest.raises(RegionError, match="empty"):
        encode(np.zeros((4, 5), bool))
    with pytest.raises(RegionError, match=r"\(2, 4, 5\)"):
        encode(np.ones((2, 4, 5), bool))
    with pytest.raises(RegionError, match="shape"):
        encode(np.ones((0, 5), bool))
    with pytest.raises(RegionError, match="empty"):
        box_of_mask(np.zeros((3, 3), bool))


@pytest.mark.parametrize("counts", ["", "~~~", "0", "`0", "zzzz", "\x01\x02", "oooooooooooo", "é0"])
def test_damaged_counts_are_refused_never_guessed(counts: str) -> None:
    with pytest.raises(RegionError, match="damaged"):
        decode(Region(4, 5, counts, 1, (0, 0, 1, 1)))


def test_every_single_change_of_valid_counts_is_refused_or_whole() -> None:
    counts = encode(blobs(12, 9)).counts
    refused = 0
    for position in range(len(counts)):
        changed = counts[:position] + chr(48 + (ord(counts[position]) - 47) % 64) + counts[position + 1 :]
        try:
            assert decode(Region(12, 9, changed, 1, (0, 0, 1, 1))).shape == (12, 9)
        except RegionError:
            refused += 1
    assert refused > len(counts) * 0.8


def test_rle_notations_are_the_same_region() -> None:
    mask = blobs(8, 6)
    region = encode(mask)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flat)))).tolist()
    runs = np.diff([0, *edges, flat.size]).tolist()
    for counts in (region.counts, region.counts.encode(), runs):
        assert from_rle({"size": [8, 6], "counts": counts}, 8, 6) == region


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        ({"size": [6, 8], "counts": [48]}, r"8x6.*image has 6x8"),
        ({"size": [8, 6]}, "needs"),
        ({"counts": "abc"}, "needs"),
        ({"size": [8], "counts": [48]}, "needs"),
        ({"size": [8, 6], "counts": [10, 5]}, "15 pixels"),
        ({"size": [8, 6], "counts": [50, -2]}, "run lengths"),
        ({"size": [8, 6], "counts": [1.5, 46.5]}, "run lengths"),
        ({"size": [8, 6], "counts": [2**63, 48]}, "run lengths"),
        ({"size": [8, 6], "counts": None}, "run lengths"),
        ({"size": [8, 6], "counts": [48]}, "empty"),
        ({"size": ["a", 6], "counts": [48]}, "needs"),
        ({"size": [float("inf"), 6], "counts": [48]}, "needs"),
    ],
)
def test_bad_rle(rle: dict, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        from_rle(rle, 8, 6)
    with pytest.raises(RegionError, match="at least one pixel"):
        from_rle({"size": [0, 6], "counts": []})


def test_a_few_bytes_do_not_fill_the_memory() -> None:
    with pytest.raises(RegionError, match=r"1000000x1000000.*at most 178,000,000 pixels"):
        from_rle({"size": [10**6, 10**6], "counts": [10**12 - 1, 1]})


def test_names_are_text() -> None:
    with pytest.raises(RegionError, match=r"'\\ud800' of a region is no Unicode"):
        from_rle({"size": [8, 6], "counts": [0, 48]}, name="\ud800")


def test_decode_all_stacks_and_resizes() -> None:
    a, b = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    a[:20], b[:, 30:] = True, True
    regions = [encode(a), encode(b)]
    np.testing.assert_array_equal(decode_all(regions), np.stack([a, b]))
    small = decode_all(regions, size=(10, 20))
    assert small.shape == (2, 10, 20)
    np.testing.assert_array_equal(small[0], np.arange(10)[:, None] < np.full((1, 20), 5))
    assert [m.sum() for m in iter_masks(regions)] == [1200, 1200]


def test_decode_all_refuses_mixed_sizes_and_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    region = encode(np.ones((10, 10), bool))
    with pytest.raises(RegionError, match="10x10, 12x10"):
        same_size([region, encode(np.ones((10, 12), bool))])
    with pytest.raises(RegionError, match="none"):
        decode_all([])
    monkeypatch.setattr(masks, "MAX_DECODED_BYTES", 250)
    with pytest.raises(RegionError, match=r"GiB.*iter_masks"):
        decode_all([region] * 3)
    assert decode_all([region] * 3, size=(5, 5)).all()


def test_resizing_never_loses_a_region() -> None:
    dot = np.zeros((1000, 900), bool)
    dot[501, 452] = True
    small = resize_mask(dot, 10, 9)
    assert small.sum() == 1
    assert small[5, 4]
    up = resize_mask(blobs(7, 5), 70, 50)
    np.testing.assert_array_equal(up, np.kron(blobs(7, 5), np.ones((10, 10), bool)))
    assert nearest_index(4, 2).tolist() == [1, 3]
    assert nearest_index(2, 4).tolist() == [0, 0, 1, 1]


def overlaps(n_in: int, n_out: int) -> np.ndarray:
    """Share of each output cell that each input pixel fills, by brute force: (n_out, n_in)."""
    step = n_in / n_out
    share = [
        [max(0.0, min((o + 1) * step, i + 1) - max(o * step, i)) / step for i in range(n_in)] for o in range(n_out)
    ]
    return np.array(share)


@pytest.mark.parametrize("out", [(5, 5), (7, 9), (32, 24), (64, 96), (100, 130), (1, 1)])
def test_area_weights_are_exact_cell_shares(out: tuple[int, int]) -> None:
    mask = blobs(64, 96)
    weights = area_weights(np.stack([mask, np.ones_like(mask)]), *out)
    assert weights.dtype == np.float32
    assert weights.shape == (2, *out)
    rows, columns = overlaps(64, out[0]), overlaps(96, out[1])
    np.testing.assert_allclose(weights[0], rows @ mask @ columns.T, atol=1e-6)
    np.testing.assert_allclose(weights[0].mean(), mask.mean(), atol=1e-6)
    np.testing.assert_allclose(weights[1], 1.0, atol=1e-6)


def test_area_weights_of_a_single_pixel_and_bad_shape() -> None:
    dot = np.zeros((1, 480, 640), bool)
    dot[0, 479, 639] = True
    weights = area_weights(dot, 15, 20)
    assert weights[0, 14, 19] == pytest.approx(1 / 32**2)
    assert np.count_nonzero(weights) == 1
    with pytest.raises(RegionError, match=r"\(R, H, W\)"):
        area_weights(dot[0], 3, 3)


def test_polygons() -> None:
    square = from_polygon([(2, 3), (8, 3), (8, 7), (2, 7)], 10, 12, "sq")
    assert (square.area, square.box_xyxy, square.name) == (24, (2, 3, 8, 7), "sq")
    assert from_polygon([2, 3, 8, 3, 8, 7, 2, 7], 10, 12) == Region(10, 12, square.counts, 24, (2, 3, 8, 7))
    both = from_polygon([[2, 3, 8, 3, 8, 7, 2, 7], [9, 0, 12, 0, 12, 2, 9, 2]], 10, 12)
    assert both.area == 24 + 6
    circle = [(50 + 30 * np.cos(t), 40 + 30 * np.sin(t)) for t in np.linspace(0, 2 * np.pi, 200)]
    assert from_polygon(circle, 80, 100).area == pytest.approx(np.pi * 900, rel=0.02)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([(0, 0), (4, 4)], "4 coordinates"),
        ([(0, 0), (4, 4), (13, 2)], "outside"),
        ([(0, 0), (4, float("nan")), (3, 2)], "outside"),
        ([], "0 coordinates"),
        ([(0, 0), (0.1, 0.1), (0.1, 0)], "empty"),
        (["x", 0, 4, 0, 4, 4], "are numbers"),
        ([0, [], 4, 0, 4, 4], "are numbers"),
        ([[0, 0, 4, 0, 4, 4], {}], "are numbers"),
        ([10**400, 0, 4, 0, 4, 4], "are numbers"),
    ],
)
def test_bad_polygons(points: list, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        from_polygon(points, 10, 12)


def test_label_map_with_gaps_and_16_bits() -> None:
    labels = np.zeros((20, 30), np.uint16)
    labels[:5], labels[10:, :10], labels[10:, 20:] = 1, 700, 65535
    regions = from_label_map(labels)
    assert [r.name for r in regions] == ["label 1", "label 700", "label 65535"]
    assert [r.area for r in regions] == [150, 100, 100]
    np.testing.assert_array_equal(decode(regions[1]), labels == 700)
    assert [r.name for r in from_label_map(labels, min_area_share=0.2)] == ["label 1"]
    assert len(from_label_map(np.ones((3, 3), np.uint8))) == 1


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros((4, 4), np.uint8), "no region"),
        (np.full((4, 4), -1), "-1"),
        (np.ones((4, 4), np.float32), "integers"),
        (np.ones((4, 4, 3), np.uint8), "integers"),
        (np.arange(40_000, dtype=np.int32).reshape(200, 200), "39999 regions"),
    ],
)
def test_bad_label_maps(labels: np.ndarray, words: str) -> None:
    with pytest.raises(RegionError, match=words):
        from_label_map(labels)
