"""The masked full-reference measure: what must move it, what it must equal, what it refuses."""

import cv2
import numpy as np
import pytest
import skimage.data

from seagull_tune.errors import DataError, RegionError
from seagull_tune.fullref.measure import (
    UNSCORED_ABOVE,
    Reference,
    SimilarityMap,
    calibrated_quality,
    label_regions,
    measure_regions,
    similarity_map,
)


def as_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    return as_uint8(image + np.random.default_rng(3).normal(0.0, sigma, image.shape))


def coded(image: np.ndarray, quality: float) -> np.ndarray:
    data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1]


def desaturated(image: np.ndarray, share: float) -> np.ndarray:
    grey = image.mean(axis=2, keepdims=True)
    return as_uint8(grey + (image - grey) * share)


DISTORTIONS = {
    "blur": (blurred, (0.7, 1.5, 4.0)),
    "noise": (noisy, (4.0, 12.0, 35.0)),
    "blocking": (coded, (60, 20, 5)),
    "darker": (lambda image, gain: as_uint8(image * gain), (0.85, 0.6, 0.35)),
    "brighter": (lambda image, shift: as_uint8(image + shift), (15.0, 45.0, 100.0)),
    "contrast": (lambda image, gain: as_uint8((image - 128.0) * gain + 128.0), (0.8, 0.5, 0.25)),
    "colour": (desaturated, (0.7, 0.35, 0.0)),
}


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    return skimage.data.chelsea()  # (300, 451, 3)


@pytest.fixture(scope="module")
def masks(photograph: np.ndarray) -> np.ndarray:
    """A partition into four bands, an overlapping disc, and a single pixel."""
    height, width = photograph.shape[:2]
    made = np.zeros((6, height, width), dtype=bool)
    for index in range(4):
        made[index, :, index * width // 4 : (index + 1) * width // 4] = True
    rows, columns = np.ogrid[:height, :width]
    made[4] = (rows - 150) ** 2 + (columns - 200) ** 2 < 80**2
    made[5, 10, 20] = True
    return made


def whole_quality(reference: np.ndarray, distorted: np.ndarray) -> float:
    everything = np.ones((1, *reference.shape[:2]), dtype=bool)
    return float(label_regions(reference, distorted, everything).quality[0])


def test_pristine_is_exactly_one_and_has_no_importance(photograph: np.ndarray, masks: np.ndarray) -> None:
    similarity = similarity_map(photograph, photograph.copy())
    assert np.all(similarity.similarity == 1.0)
    measures = measure_regions(similarity, masks)
    assert np.all(measures.quality == 1.0)
    assert measures.image_quality == 1.0
    assert np.all(np.isnan(measures.importance))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_every_distortion_lowers_quality_with_its_strength(photograph: np.ndarray, name: str) -> None:
    apply, strengths = DISTORTIONS[name]
    qualities = [whole_quality(photograph, apply(photograph, strength)) for strength in strengths]
    assert 1.0 > qualities[0] > qualities[1] > qualities[2] > 0.0
    assert qualities[2] < 0.7, f"{name}: strong distortion is still judged {qualities[2]:.2f}"


def test_luminance_alone_moves_the_map() -> None:
    flat = np.full((64, 64, 3), 128, dtype=np.uint8)
    assert similarity_map(flat, flat + np.uint8(40)).similarity.max() < 0.99


def test_chroma_alone_moves_the_map() -> None:
    reference = np.full((64, 64, 3), (150, 110, 118), dtype=np.uint8)
    weights = np.array([0.299, 0.587, 0.114])
    grey = np.full((64, 64, 3), round(float(reference[0, 0] @ weights)), dtype=np.uint8)
    assert similarity_map(reference, grey).similarity.max() < 0.9


def test_structure_alone_moves_the_map(photograph: np.ndarray) -> None:
    grey = np.repeat(photograph[:, :, 1:2], 3, axis=2)
    shuffled = grey.copy()
    shuffled[:, :, :] = grey[:, ::-1]  # same luminances and contrasts overall, other places
    assert similarity_map(grey, shuffled).similarity.mean() < 0.8


def test_added_edges_cost_more_than_lost_ones(photograph: np.ndarray) -> None:
    soft = blurred(photograph, 1.5)
    assert whole_quality(soft, photograph) < whole_quality(photograph, soft)


def test_map_shape_type_and_range(photograph: np.ndarray) -> None:
    found = similarity_map(photograph, noisy(photograph, 20.0))
    assert found.similarity.shape == found.weights.shape == photograph.shape[:2]
    assert found.similarity.dtype == found.weights.dtype == np.float32
    assert found.similarity.min() > 0.0 and found.similarity.max() <= 1.0
    assert found.weights.min() >= 1.0


def test_reference_once_equals_one_shot(photograph: np.ndarray) -> None:
    reference = Reference(photograph)
    reference.compare(blurred(photograph, 3.0))  # nothing of an earlier comparison may stay
    again = reference.compare(noisy(photograph, 10.0))
    once = similarity_map(photograph, noisy(photograph, 10.0))
    assert np.array_equal(again.similarity, once.similarity)
    assert np.array_equal(again.weights, once.weights)


def brute_force(similarity: SimilarityMap, mask: np.ndarray) -> tuple[float, float]:
    """(pooled loss-free region similarity, importance) from their definitions, in double precision."""
    values, weights = similarity.similarity.astype(np.float64), similarity.weights.astype(np.float64)
    pooled = 1.0 - np.average((1.0 - values[mask]) ** 4, weights=weights[mask]) ** 0.25
    whole = np.average(values, weights=weights)
    restored = np.average(np.where(mask, 1.0, values), weights=weights)
    return float(pooled), float((restored - whole) / (1.0 - whole))


def test_one_pass_equals_brute_force(photograph: np.ndarray, masks: np.ndarray) -> None:
    distorted = photograph.copy()
    distorted[:, 100:300] = noisy(blurred(photograph, 1.0), 12.0)[:, 100:300]
    similarity = similarity_map(photograph, distorted)
    measures = measure_regions(similarity, masks)
    expected = np.array([brute_force(similarity, mask) for mask in masks])
    assert np.allclose(measures.quality, calibrated_quality(expected[:, 0]), atol=1e-6)
    assert np.allclose(measures.importance, expected[:, 1], atol=1e-6)
    assert measures.importance[:4].sum() == pytest.approx(1.0, abs=1e-6)  # the four bands are a partition


def test_importance_is_close_to_truly_restoring_the_pixels(photograph: np.ndarray, masks: np.ndarray) -> None:
    distorted = as_uint8(blurred(photograph, 2.0) * 0.8)
    measures = label_regions(photograph, distorted, masks[:5])
    for mask, importance in zip(masks[:5], measures.importance, strict=True):
        repaired = np.where(mask[:, :, None], photograph, distorted)
        after = label_regions(photograph, repaired, masks[:1]).image_quality
        true = (after - measures.image_quality) / (1.0 - measures.image_quality)
        assert importance == pytest.approx(true, abs=0.02)


def test_local_distortion_stays_local(photograph: np.ndarray, masks: np.ndarray) -> None:
    distorted = np.where(masks[4][:, :, None], noisy(photograph, 25.0), photograph)
    measures = label_regions(photograph, distorted, masks)
    assert measures.quality[4] < 0.5
    assert measures.quality[3] > 0.999  # the fourth band does not touch the disc
    assert measures.importance[4] > 0.95


def test_making_any_pixel_worse_never_raises_quality() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.uniform(0.2, 1.0, (40, 40)).astype(np.float32)
    weights = rng.uniform(1.0, 3.0, (40, 40)).astype(np.float32)
    mask = np.ones((1, 40, 40), dtype=bool)
    before = measure_regions(SimilarityMap(similarity, weights), mask).quality[0]
    for row, column in rng.integers(0, 40, (20, 2)):
        worse = similarity.copy()
        worse[row, column] *= 0.5
        assert measure_regions(SimilarityMap(worse, weights), mask).quality[0] < before


def test_calibration_rises_strictly_from_zero_to_one() -> None:
    grid = np.linspace(0.0, 1.0, 1001)
    quality = calibrated_quality(grid)
    assert quality[0] == 0.0 and quality[-1] == 1.0
    assert np.all(np.diff(quality) > 0.0)


def test_importance_is_not_scored_above_the_threshold(photograph: np.ndarray, masks: np.ndarray) -> None:
    nearly = photograph.copy()
    nearly[40, 40] += np.uint8(9)
    measures = label_regions(photograph, nearly, masks)
    assert UNSCORED_ABOVE < measures.image_quality < 1.0
    assert np.all(np.isnan(measures.importance))
    assert measures.quality[0] < 1.0


def test_large_images_are_measured_at_viewing_size(photograph: np.ndarray) -> None:
    small = cv2.resize(photograph, (512, 384), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (1536, 1152), interpolation=cv2.INTER_NEAREST)
    found = similarity_map(large, as_uint8(large * 0.6))
    assert found.similarity.shape == (1152, 1536)
    assert whole_quality(large, as_uint8(large * 0.6)) == pytest.approx(
        whole_quality(small, as_uint8(small * 0.6)), abs=0.02
    )


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (3, 3)])
def test_tiny_images(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    reference = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    measures = label_regions(reference, np.uint8(255) - reference, np.ones((1, *size), dtype=bool))
    assert 0.0 <= measures.quality[0] < 1.0
    assert measures.importance[0] == pytest.approx(1.0)


def test_no_regions_is_an_empty_answer(photograph: np.ndarray) -> None:
    measures = label_regions(photograph, blurred(photograph, 1.0), np.zeros((0, *photograph.shape[:2]), dtype=bool))
    assert measures.quality.shape == measures.importance.shape == (0,)


def test_bad_images_are_refused(photograph: np.ndarray, masks: np.ndarray) -> None:
    for bad in (photograph[:, :, 0], photograph.astype(np.float32), photograph[:0]):
        with pytest.raises(DataError, match="allowed: uint8 RGB"):
            label_regions(bad, photograph, masks)
    with pytest.raises(DataError, match="450x300 pixels, its reference 451x300"):
        label_regions(photograph, photograph[:, :-1], masks)


def test_bad_masks_are_refused(photograph: np.ndarray, masks: np.ndarray) -> None:
    with pytest.raises(RegionError, match="Region 1 is empty"):
        label_regions(photograph, photograph, np.stack([masks[0], np.zeros_like(masks[0])]))
    with pytest.raises(RegionError, match=r"allowed: bool \(R, 300, 451\)"):
        label_regions(photograph, photograph, masks[:, 1:])
    with pytest.raises(RegionError, match="uint8"):
        label_regions(photograph, photograph, masks.astype(np.uint8))
