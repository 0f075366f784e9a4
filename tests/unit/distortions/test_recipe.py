"""Rendering recipes on regions, severities of regions, recipes as JSON."""

import numpy as np
import pytest
import skimage.data

from seagull_tune.distortions import VARIANTS
from seagull_tune.distortions.recipe import (
    _blend,
    recipe_from_json,
    recipe_hash,
    recipe_to_json,
    render,
    severities_of,
    step_weight,
)
from seagull_tune.errors import DataError, RegionError
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import DistortionStep, Recipe

COFFEE = np.ascontiguousarray(skimage.data.coffee()[60:300, 150:450])
HEIGHT, WIDTH = COFFEE.shape[:2]


def _masks() -> np.ndarray:
    """Three regions that cover the picture: left half, upper right, lower right."""
    masks = np.zeros((3, HEIGHT, WIDTH), dtype=bool)
    masks[0, :, :150] = True
    masks[1, :120, 150:] = True
    masks[2, 120:, 150:] = True
    return masks


def _step(
    type_name: str = "blur",
    variant: str = "gaussian",
    severity: int = 3,
    regions: tuple[int, ...] | None = None,
    feather: float = 0.0,
    seed: int = 5,
    outside: bool = False,
) -> DistortionStep:
    params = VARIANTS[type_name, variant].params_for(severity)
    return DistortionStep(type_name, variant, severity, params, seed, regions, feather, outside)


def test_pristine_is_a_copy() -> None:
    out = render(COFFEE, Recipe(), _masks())
    assert np.array_equal(out, COFFEE) and not np.shares_memory(out, COFFEE)


@pytest.mark.parametrize("key", sorted(VARIANTS))
def test_local_step_is_bit_identical_away_from_its_border(key: tuple[str, str]) -> None:
    feather = 6.0
    step = _step(*key, severity=VARIANTS[key].levels[-1], regions=(1,), feather=feather)
    out = render(COFFEE, Recipe((step,)), _masks())
    away = step_weight(step, _masks(), HEIGHT, WIDTH) == 0
    assert away[:, : 150 - int(feather)].all()
    assert np.array_equal(out[away], COFFEE[away])
    assert not np.array_equal(out[:110, 160:], COFFEE[:110, 160:])
    assert np.array_equal(out, render(COFFEE, Recipe((step,)), _masks()))


@pytest.mark.parametrize("key", [key for key in sorted(VARIANTS) if key[0] not in ("noise", "contrast")])
def test_local_step_equals_the_whole_image_where_its_weight_is_full(key: tuple[str, str]) -> None:
    severity = VARIANTS[key].levels[-1]
    local = _step(*key, severity, regions=(2,), feather=4.0)
    whole = _step(*key, severity)
    full = step_weight(local, _masks(), HEIGHT, WIDTH) == 1
    here, there = render(COFFEE, Recipe((local,)), _masks())[full], render(COFFEE, Recipe((whole,)), _masks())[full]
    difference = np.abs(here.astype(int) - there)
    assert difference.max() <= 1 and (difference > 0).mean() <= 1e-4


def test_contrast_turns_around_the_mean_of_its_own_area() -> None:
    image = np.zeros((40, 80, 3), dtype=np.uint8)
    image[:, :40], image[:, 40:] = 40, 200
    masks = np.zeros((1, 40, 80), dtype=bool)
    masks[0, :, 40:] = True
    out = render(image, Recipe((_step("contrast", "reduce", 4, regions=(0,)),)), masks)
    assert np.array_equal(out, image), "a flat area has no contrast to lose"


def test_weight_is_a_soft_ramp_of_the_feather_width() -> None:
    step = _step(regions=(0,), feather=8.0)
    weight = step_weight(step, _masks(), HEIGHT, WIDTH)
    assert weight.dtype == np.float32 and weight.shape == (HEIGHT, WIDTH)
    row = weight[50]
    assert np.all(np.diff(row) <= 0)
    assert np.all(row[:145] == 1) and np.all(row[155:] == 0)
    assert 0.4 < row[149] < 0.65 and 0.35 < row[150] < 0.6
    assert step_weight(_step(), _masks(), HEIGHT, WIDTH).min() == 1
    hard = step_weight(_step(regions=(0, 2)), _masks(), HEIGHT, WIDTH)
    assert np.array_equal(hard == 1, _masks()[0] | _masks()[2])


def test_outside_is_all_but_the_regions() -> None:
    inside, outside = _step(regions=(0, 2)), _step(regions=(0, 2), outside=True)
    weights = [step_weight(step, _masks(), HEIGHT, WIDTH) for step in (inside, outside)]
    assert np.array_equal(weights[0] + weights[1], np.ones((HEIGHT, WIDTH), dtype=np.float32))
    out = render(COFFEE, Recipe((outside,)), _masks())
    kept = _masks()[0] | _masks()[2]
    assert np.array_equal(out[kept], COFFEE[kept])
    whole = render(COFFEE, Recipe((_step(),)), _masks())
    assert np.array_equal(out[~kept], whole[~kept])
    assert [row[0] for row in severities_of(Recipe((outside,)), _masks())] == [0, 3, 0]
    # What no region holds belongs to the outside, too.
    assert step_weight(_step(regions=(0,), outside=True), _masks()[:1], HEIGHT, WIDTH)[:, 150:].min() == 1
    nothing = render(COFFEE, Recipe((_step(regions=(0, 1, 2), outside=True),)), _masks())
    assert np.array_equal(nothing, COFFEE)
    with pytest.raises(DataError, match="outside of no region"):
        _step(outside=True)


def test_steps_apply_in_order_and_seeds_matter() -> None:
    noise, blur = _step("noise", "gaussian"), _step()
    first = render(COFFEE, Recipe((noise, blur)), _masks())
    second = render(COFFEE, Recipe((blur, noise)), _masks())
    assert first.std() != second.std()
    other = render(COFFEE, Recipe((_step("noise", "gaussian", seed=6),)), _masks())
    assert not np.array_equal(other, render(COFFEE, Recipe((noise,)), _masks()))


def test_severities_follow_the_coverage_rule() -> None:
    masks = np.concatenate([_masks(), np.zeros((2, HEIGHT, WIDTH), dtype=bool)])
    masks[3, 100:200, 100:201] = True  # 50 of its 101 columns lie in the distorted left half: just under one half
    masks[4, 100:200, 100:200] = True  # exactly half
    recipe = Recipe((_step(regions=(0,)), _step("noise", "gaussian", 2)))
    severities = np.array(severities_of(recipe, masks))
    assert severities[:, DISTORTION_TYPES.index("blur")].tolist() == [3, 0, 0, 0, 3]
    assert severities[:, DISTORTION_TYPES.index("noise")].tolist() == [2] * 5
    assert severities.sum() == 3 + 3 + 2 * 5


def test_of_two_steps_of_one_type_the_higher_counts() -> None:
    recipe = Recipe((_step(severity=4, regions=(0,)), _step(variant="motion", severity=2)))
    assert [row[0] for row in severities_of(recipe, _masks())] == [4, 2, 2]
    assert severities_of(Recipe(), _masks()) == ((0,) * 8,) * 3


def test_json_is_canonical_and_comes_back() -> None:
    recipe = Recipe((_step(regions=(0, 2), feather=3.25, outside=True), _step("noise", "poisson", 5, seed=123)))
    text = recipe_to_json(recipe)
    assert recipe_from_json(text) == recipe
    assert recipe_to_json(recipe_from_json(text)) == text
    assert recipe_to_json(Recipe()) == "[]" and recipe_from_json("[]").pristine
    assert recipe_hash([Recipe()]) == "37517e5f3dc66819f61f5a7bb8ace1921282415f10551d2defa5c3eb0985b570"
    assert recipe_hash([recipe, Recipe()]) != recipe_hash([Recipe(), recipe])


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[1]",
        '[{"type":"blur"}]',
        recipe_to_json(Recipe((_step(),))).replace('"severity":3', '"severity":"3"'),
    ],
)
def test_bad_json_is_a_data_error(text: str) -> None:
    with pytest.raises(DataError, match="recipe"):
        recipe_from_json(text)


def test_bad_input_is_named() -> None:
    masks = _masks()
    with pytest.raises(RegionError, match=r"Masks are 239 x 300 .* image is 240 x 300"):
        render(COFFEE, Recipe((_step(),)), masks[:, 1:])
    with pytest.raises(RegionError, match=r"regions \(3,\); the image has 3"):
        render(COFFEE, Recipe((_step(regions=(3,)),)), masks)
    with pytest.raises(RegionError, match=r"regions \(-1,\)"):
        step_weight(_step(regions=(-1,)), masks, HEIGHT, WIDTH)
    with pytest.raises(RegionError, match="names the regions"):
        render(COFFEE, Recipe((_step(regions=()),)), masks)
    with pytest.raises(RegionError, match="uint8"):
        render(COFFEE, Recipe(), masks.astype(np.uint8))
    with pytest.raises(DataError, match="Did you mean 'motion'"):
        render(COFFEE, Recipe((DistortionStep("blur", "motoin", 2),)), masks)
    with pytest.raises(DataError, match="needs the parameter 'sigma'"):
        render(COFFEE, Recipe((DistortionStep("blur", "gaussian", 2),)), masks)
    with pytest.raises(DataError, match="uint8 RGB"):
        render(COFFEE[..., 0], Recipe(), masks)
    with pytest.raises(RegionError, match="Region 1 is empty"):
        severities_of(Recipe((_step(regions=(0,)),)), masks & np.array([True, False, True])[:, None, None])


def test_blending_divides_exactly() -> None:
    """By shifts, as by an integer division: every code, weight and a span of targets."""
    codes, weights = (np.ascontiguousarray(grid, np.uint8) for grid in np.mgrid[:256, :256])
    for start in (0, 1, 100, 254, 255):
        target = np.full((256, 256, 3), start, np.uint8)
        distorted = np.repeat(codes[:, :, None], 3, axis=2)
        share = weights[:, :, None].astype(np.int64)
        expected = (start * (255 - share) + distorted * share + 127) // 255
        _blend(target, distorted, weights)
        assert (target == expected).all()
