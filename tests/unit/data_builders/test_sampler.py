"""Drawing recipes: shares, uniformity, order, eligibility, seeds."""

from collections import Counter

import numpy as np
import pytest

from data_builders.sampler import STEP_ORDER, draw_recipe, eligible_regions, offered_severities
from seagull_tune.config.base import load_config
from seagull_tune.config.distortions import RecipeMix
from seagull_tune.distortions import get_variant
from seagull_tune.errors import ConfigError, DataError, RegionError
from seagull_tune.levels import DISTORTION_TYPES
from seagull_tune.records import Recipe

AREAS = (40000.0, 30000.0, 50000.0, 34000.0, 401.0)
MIX = RecipeMix(min_region_area=0.02)


def _draw(count: int, mix: RecipeMix = MIX, seed: int = 0) -> list[Recipe]:
    rng = np.random.Generator(np.random.PCG64(seed))
    return [draw_recipe(mix, len(AREAS), AREAS, rng) for _ in range(count)]


def test_mixture_over_two_thousand_draws() -> None:
    recipes = _draw(2000)
    counts = Counter(len(recipe.steps) for recipe in recipes)
    # Three standard deviations of a binomial share at n = 2000 are below 0.033.
    assert counts[0] / 2000 == pytest.approx(0.08, abs=0.02)
    assert counts[1] / 2000 == pytest.approx(0.62, abs=0.033)
    assert counts[2] / 2000 == pytest.approx(0.30, abs=0.033)
    steps = [step for recipe in recipes for step in recipe.steps]
    assert sum(step.regions is None for step in steps) / len(steps) == pytest.approx(0.5, abs=0.035)
    types = Counter(step.type for step in steps)
    assert set(types) == set(DISTORTION_TYPES)
    assert all(count / len(steps) == pytest.approx(1 / 8, abs=0.025) for count in types.values())
    blur = Counter(step.severity for step in steps if step.type == "blur")
    offered = len(offered_severities(MIX, "blur"))
    assert len(blur) == offered
    assert all(count / sum(blur.values()) == pytest.approx(1 / offered, abs=0.08) for count in blur.values())


def test_steps_are_offered_ordered_and_of_different_types() -> None:
    for recipe in _draw(400):
        ranks = [STEP_ORDER.index(step.type) for step in recipe.steps]
        assert ranks == sorted(set(ranks))
        for step in recipe.steps:
            variant = get_variant(step.type, step.variant)
            assert step.severity in variant.levels
            assert step.params == variant.params_for(step.severity)
            if step.regions is None:
                assert step.feather_px == 0
            else:
                assert 1 <= len(step.regions) <= 4 and list(step.regions) == sorted(set(step.regions))
                assert 4 not in step.regions, "too small to be distorted on its own"
                assert step.feather_px == pytest.approx(0.015 * np.sqrt(sum(AREAS)), abs=0.01)


def test_two_steps_may_have_different_places() -> None:
    places = [tuple(step.regions for step in recipe.steps) for recipe in _draw(300) if len(recipe.steps) == 2]
    assert any(first != second for first, second in places)


def test_one_seed_is_one_stream() -> None:
    assert _draw(50, seed=3) == _draw(50, seed=3)
    assert _draw(50, seed=3) != _draw(50, seed=4)
    assert len({step.seed for recipe in _draw(50) for step in recipe.steps}) > 40


def test_few_regions_fall_back_to_the_whole_image() -> None:
    rng = np.random.default_rng(0)
    mix = RecipeMix(pristine=0.0, one=1.0, two=0.0, whole_image=0.0)
    assert draw_recipe(mix, 0, (), rng, image_area=100.0).steps[0].regions is None
    assert draw_recipe(mix, 1, (50.0,), rng, image_area=100.0).steps[0].regions is None
    assert draw_recipe(mix, 2, (50.0, 50.0), rng).steps[0].regions in ((0,), (1,))
    assert eligible_regions(MIX, AREAS, sum(AREAS)) == (0, 1, 2, 3)


def test_large_pictures_get_longer_kernels() -> None:
    mix = RecipeMix(pristine=0, one=1, two=0, types=("blur",), variants={"blur": ("gaussian",)}, severities=(3,))
    small = draw_recipe(mix, 0, (), np.random.default_rng(0), image_area=500.0 * 500.0).steps[0]
    large = draw_recipe(mix, 0, (), np.random.default_rng(0), image_area=1024.0 * 1024.0).steps[0]
    assert large.params["sigma"] == pytest.approx(2 * small.params["sigma"], rel=1e-3)


def test_restricted_mix_is_kept_to() -> None:
    mix = RecipeMix(types=("compression", "noise"), variants={"compression": ("jpeg",)}, severities=(2, 3))
    steps = [step for recipe in _draw(200, mix) for step in recipe.steps]
    assert {step.type for step in steps} == {"compression", "noise"}
    assert {step.variant for step in steps if step.type == "compression"} == {"jpeg"}
    assert {step.severity for step in steps} == {2, 3}


def test_bad_mixes_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mix.yaml"
    for text, message in (
        ("pristine: 0.5", "must be 1"),
        ("types: [blurr, noise]", "unknown distortion type 'blurr'"),
        ("types: [blur, blur]", "twice"),
        ("types: [blur]", "at least two types"),
        ("severities: [0]", "1..5"),
        ("pristin: 0.1", "pristine"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_config(RecipeMix, file)
    with pytest.raises(RegionError, match="2 region areas for 3 regions"):
        draw_recipe(MIX, 3, (1.0, 2.0), np.random.default_rng(0))
    with pytest.raises(DataError, match="Did you mean 'motion'"):
        offered_severities(RecipeMix(variants={"blur": ("motionn",)}), "blur")
