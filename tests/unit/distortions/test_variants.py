"""Every variant of every family: determinism, visible change, monotone severities, physics."""

import math
from itertools import pairwise

import numpy as np
import pytest
import skimage.data

from seagull_tune.distortions import VARIANTS, get_variant, variants_of
from seagull_tune.distortions.base import spatial_scale
from seagull_tune.distortions.blur import curve_kernel, disk_kernel, line_kernel
from seagull_tune.distortions.linear import LIGHT_MAX, code_table, gain_table, light_table, to_light, to_srgb
from seagull_tune.distortions.severity import severity_table
from seagull_tune.errors import DataError, MissingDependencyError
from seagull_tune.fullref.measure import Reference, measure_regions
from seagull_tune.levels import DISTORTION_TYPES

COFFEE = np.ascontiguousarray(skimage.data.coffee()[60:300, 150:450])
ALL = sorted(VARIANTS)


def _apply(key: tuple[str, str], severity: int, image: np.ndarray = COFFEE, seed: int = 7) -> np.ndarray:
    variant = VARIANTS[key]
    return variant.apply(image, variant.params_for(severity), np.random.Generator(np.random.PCG64(seed)))


def test_every_type_has_variants_and_offers_the_first_four_severities() -> None:
    assert [name for name, _ in dict.fromkeys((name, 0) for name, _ in VARIANTS)] == list(DISTORTION_TYPES)
    for name in DISTORTION_TYPES:
        offered = {severity for variant in variants_of(name) for severity in variant.levels}
        assert offered >= {1, 2, 3, 4}, name


@pytest.mark.parametrize("key", ALL)
def test_changes_the_image_and_repeats_bit_for_bit(key: tuple[str, str]) -> None:
    before = COFFEE.copy()
    for severity in VARIANTS[key].levels:
        first, second = _apply(key, severity), _apply(key, severity)
        assert first.dtype == np.uint8 and first.shape == COFFEE.shape
        assert np.array_equal(first, second)
        assert not np.array_equal(first, COFFEE)
    assert np.array_equal(COFFEE, before), "the input was written to"


@pytest.mark.parametrize("key", ALL)
def test_measured_quality_falls_with_severity(key: tuple[str, str]) -> None:
    image = np.ascontiguousarray(skimage.data.astronaut()[:384, 64:448])
    reference, everything = Reference(image), np.ones((1, 384, 384), dtype=bool)
    qualities = [
        float(measure_regions(reference.compare(_apply(key, severity, image)), everything).quality[0])
        for severity in VARIANTS[key].levels
    ]
    assert qualities and all(a > b for a, b in pairwise([1.0, *qualities])), qualities


@pytest.mark.parametrize("key", ALL)
def test_one_pixel_and_one_row_survive(key: tuple[str, str]) -> None:
    for shape in ((1, 1, 3), (1, 9, 3), (9, 1, 3)):
        image = np.full(shape, 90, dtype=np.uint8)
        assert _apply(key, VARIANTS[key].levels[-1], image).shape == shape


def test_strength_is_monotone_in_quality_over_its_whole_range() -> None:
    image = np.ascontiguousarray(skimage.data.coffee()[60:252, 150:406])
    reference, everything = Reference(image), np.ones((1, 192, 256), dtype=bool)
    for key, variant in VARIANTS.items():
        strongest = variant.params_for(variant.levels[-1])
        qualities = []
        for strength in np.linspace(0.0, 1.0, 7):
            params = variant.from_strength(float(strength))
            rng = np.random.Generator(np.random.PCG64(0))
            similarity = reference.compare(variant.apply(image, params, rng))
            qualities.append(float(measure_regions(similarity, everything).quality[0]))
            if _beyond(params, strongest, variant.from_strength(0.0)):
                break
        assert all(a >= b - 0.01 for a, b in pairwise(qualities)), (key, qualities)


def _beyond(params: dict[str, float], limit: dict[str, float], weakest: dict[str, float]) -> bool:
    """Whether ``params`` lie farther from the weakest than ``limit`` does."""
    return any(abs(params[name] - weakest[name]) > abs(limit[name] - weakest[name]) for name in params)


def test_severity_table_meets_its_targets() -> None:
    table = severity_table()
    assert list(table.targets) == sorted(table.targets, reverse=True)
    for variants in table.variants.values():
        for levels in variants.values():
            for level in levels:
                assert level.quality == pytest.approx(table.targets[level.severity - 1], abs=0.03)


def test_light_tables_are_a_round_trip_and_end_at_white() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(code_table()[light_table()], codes)
    assert light_table()[0] == 0 and light_table()[255] == LIGHT_MAX
    assert light_table()[188] / LIGHT_MAX == pytest.approx(0.5029, abs=1e-4)  # IEC 61966-2-1
    assert np.array_equal(to_srgb(to_light(COFFEE)), COFFEE)


def test_one_stop_doubles_the_light_where_nothing_clips() -> None:
    variant = VARIANTS["exposure", "over"]
    brighter = variant.apply(COFFEE, {"stops": 1.0}, np.random.default_rng(0))
    before, after = to_light(COFFEE).astype(float), to_light(brighter).astype(float)
    unclipped = (before > 0.01 * LIGHT_MAX) & (before < 0.48 * LIGHT_MAX)
    # An 8-bit code is up to 1.2 % of light wide (half a code either way) in that range, plus the dark end.
    assert np.abs(after[unclipped] / before[unclipped] - 2.0).max() < 0.05
    assert np.all(brighter[before > 0.51 * LIGHT_MAX] == 255)


def test_under_exposure_halves_the_light() -> None:
    table = gain_table(0.5)
    light = light_table().astype(float)
    assert light[table[255]] / light[255] == pytest.approx(0.5, abs=0.005)
    assert np.all(np.diff(table.astype(int)) >= 0)


def test_blur_keeps_the_mean_light_and_not_the_mean_code() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    blurred = VARIANTS["blur", "gaussian"].apply(stripes, {"sigma": 4.0}, np.random.default_rng(0))
    assert abs(int(blurred[32, 32, 0]) - 188) <= 1  # half the light is code 188, not 128


def test_kernels_sum_to_one_and_have_their_size() -> None:
    disk, line = disk_kernel(3.5), line_kernel(9.0, 0.7)
    assert float(disk.sum()) == pytest.approx(1.0, abs=1e-5)
    assert float(line.sum()) == pytest.approx(1.0, abs=1e-5)
    assert disk.shape == (9, 9)
    assert 1.0 / float(disk.max()) == pytest.approx(math.pi * 3.5**2, rel=0.02)


@pytest.mark.parametrize("length", [3.0, 30.0])
def test_motion_of_a_point_is_its_kernel(length: float) -> None:
    dot = np.zeros((81, 81, 3), dtype=np.uint8)
    dot[40, 40] = 255
    seed_angle = float(np.random.default_rng(3).random()) * math.pi
    streak = VARIANTS["blur", "motion"].apply(dot, {"length": length}, np.random.default_rng(3))
    kernel = line_kernel(length, seed_angle)
    half = kernel.shape[0] // 2
    seen = to_light(streak)[40 - half : 41 + half, 40 - half : 41 + half, 0] / LIGHT_MAX
    assert np.abs(seen - kernel).max() < 0.004  # half an 8-bit code in these lights


def test_noise_is_unbiased_in_light_and_has_its_deviation() -> None:
    grey = np.full((200, 200, 3), 128, dtype=np.uint8)
    noisy = VARIANTS["noise", "gaussian"].apply(grey, {"sigma": 0.03}, np.random.default_rng(1))
    light = to_light(noisy) / LIGHT_MAX
    assert float(light.mean()) == pytest.approx(light_table()[128] / LIGHT_MAX, abs=0.001)
    assert float(light.std()) == pytest.approx(0.03, rel=0.02)


def test_contrast_keeps_the_mean_and_desaturation_keeps_the_luma() -> None:
    flat = VARIANTS["contrast", "reduce"].apply(COFFEE, {"gain": 0.5}, np.random.default_rng(0))
    luma = np.array([0.2126, 0.7152, 0.0722])
    assert float((flat @ luma).mean()) == pytest.approx(float((COFFEE @ luma).mean()), abs=0.6)
    assert float(flat.std()) == pytest.approx(float(COFFEE.std()) * 0.5, rel=0.15)
    grey = VARIANTS["colorfulness", "desaturate"].apply(COFFEE, {"saturation": 0.0}, np.random.default_rng(0))
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    assert np.abs(grey[..., 0] - COFFEE @ luma).max() <= 1.0


def test_lengths_grow_with_the_picture() -> None:
    variant = VARIANTS["blur", "gaussian"]
    assert spatial_scale(512 * 512) == 1.0 and spatial_scale(100) == 1.0
    assert spatial_scale(4 * 512 * 512) == pytest.approx(2.0)
    assert variant.params_for(3, 2.0)["sigma"] == pytest.approx(2 * variant.params_for(3)["sigma"], rel=1e-3)
    noise = VARIANTS["noise", "gaussian"]
    assert noise.params_for(3, 2.0) == noise.params_for(3)


def test_unknown_names_get_near_name_hints() -> None:
    with pytest.raises(DataError, match="Did you mean 'gaussian'"):
        get_variant("blur", "gausian")
    with pytest.raises(DataError, match="Did you mean 'blur'"):
        get_variant("blurr", "gaussian")
    with pytest.raises(DataError, match="does not offer severity 9"):
        VARIANTS["blur", "gaussian"].params_for(9)
    with pytest.raises(DataError, match="needs the parameter 'sigma'"):
        VARIANTS["blur", "gaussian"].apply(COFFEE, {}, np.random.default_rng(0))
    with pytest.raises(DataError, match="knows no parameter 'sigmas'"):
        VARIANTS["blur", "gaussian"].apply(COFFEE, {"sigma": 1.0, "sigmas": 2.0}, np.random.default_rng(0))


@pytest.mark.parametrize("length", [4.0, 31.0])
def test_a_shaken_path_bends_and_stays_where_it_is(length: float) -> None:
    kernel = curve_kernel(length, 2.4, 0.3, 1.0).astype(float)
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-5)
    offsets = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    assert abs(float((kernel.sum(axis=0) * offsets).sum())) < 0.01  # the centroid is the middle pixel
    assert abs(float((kernel.sum(axis=1) * offsets).sum())) < 0.01
    y, x = np.nonzero(kernel > 0.01 / length)
    spread: np.ndarray = np.linalg.eigvalsh(np.cov(np.stack([x, y])))
    assert spread[0] > 0.05 * spread[1], "a line has no width"
    assert kernel[0].max() == kernel[-1].max() == kernel[:, 0].max() == kernel[:, -1].max() == 0.0 or length < 5


def test_sensor_noise_follows_the_light_and_its_channels_correlate() -> None:
    params = {"gain": 0.004, "read": 0.004, "correlation": 0.5}
    for code in (60, 160):
        grey = np.full((200, 200, 3), code, dtype=np.uint8)
        noisy = VARIANTS["noise", "sensor"].apply(grey, params, np.random.default_rng(1))
        light = to_light(noisy).reshape(-1, 3) / LIGHT_MAX
        true = light_table()[code] / LIGHT_MAX
        assert float(light.mean()) == pytest.approx(true, abs=0.001)
        assert float(light.std()) == pytest.approx(math.sqrt(0.004 * true + 0.004**2), rel=0.03)
        correlations: np.ndarray = np.asarray(np.corrcoef(light.T))
        assert correlations[np.triu_indices(3, 1)] == pytest.approx(0.5, abs=0.03)


def test_banding_shifts_whole_rows_or_columns() -> None:
    grey = np.full((120, 140, 3), 128, dtype=np.uint8)
    seen = set()
    for seed in range(6):
        out = VARIANTS["noise", "banding"].apply(grey, {"sigma": 0.03}, np.random.default_rng(seed)).astype(int)
        along = [axis for axis in (0, 1) if np.ptp(out, axis=axis).max() == 0]
        assert len(along) == 1
        seen.add(along[0])
        assert float(to_light(out.astype(np.uint8)).std()) / LIGHT_MAX == pytest.approx(0.03, rel=0.3)
    assert seen == {0, 1}


def test_haze_is_a_blend_of_light() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    hazy = VARIANTS["contrast", "haze"].apply(ramp, {"transmission": 0.6, "airlight": 0.8}, np.random.default_rng(0))
    expected = 0.6 * to_light(ramp) / LIGHT_MAX + 0.4 * 0.8
    assert np.abs(to_light(hazy) / LIGHT_MAX - expected).max() < 0.005  # half an 8-bit code near white
    clear = VARIANTS["contrast", "haze"].apply(ramp, {"transmission": 1.0, "airlight": 0.8}, np.random.default_rng(0))
    assert np.array_equal(clear, ramp)


def test_channel_pulls_one_channel_and_keeps_the_luminance() -> None:
    grey = np.full((4, 4, 3), 128, dtype=np.uint8)
    seen = set()
    for seed in range(24):
        out = VARIANTS["colorfulness", "channel"].apply(grey, {"stops": 0.5}, np.random.default_rng(seed))
        light = to_light(out)[0, 0] / light_table()[128]
        assert float(light @ [0.2126, 0.7152, 0.0722]) == pytest.approx(1.0, abs=0.01)
        alone = next(i for i in range(3) if abs(light[i - 1] - light[i - 2]) < 1e-6)
        assert abs(math.log2(light[alone] / light[alone - 1])) == pytest.approx(0.5, abs=0.03)
        seen.add((alone, bool(light[alone] > 1)))
    assert len(seen) == 6


def test_every_generation_of_jpeg_costs_quality() -> None:
    reference, everything = Reference(COFFEE), np.ones((1, *COFFEE.shape[:2]), dtype=bool)

    def quality(key: tuple[str, str], params: dict[str, float]) -> float:
        out = VARIANTS[key].apply(COFFEE, params, np.random.default_rng(3))
        return float(measure_regions(reference.compare(out), everything).quality[0])

    once = quality(("compression", "jpeg"), {"quality": 60.0})
    few, many = (
        quality(("compression", "jpeg_repeated"), {"quality": 60.0, "generations": generations})
        for generations in (2.0, 8.0)
    )
    assert once > few + 0.02 > many + 0.04


def test_avif_without_its_codec_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda feature: feature != "avif")
    with pytest.raises(MissingDependencyError, match=r"without AVIF.*mix\.variants\.compression"):
        _apply(("compression", "avif"), 1)
