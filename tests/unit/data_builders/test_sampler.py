"""Drawing recipes: shares, uniformity, order, eligibility, seeds."""

from collections import Counter

import numpy as np
import pytest

from data_builders.sampler import STEP_ORDER, draw_pair, draw_recipe, eligible_regions, offered_severities
from data_builders.shards import draw_recipes
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
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
        ("{types: [blur, noise], two: 0.1, three: 0.2}", "at least three types"),
        ("three: 0.1", "must be 1"),
        ("{pristine: 1.0, one: 0.0, two: 0.0, pairs: 0.5}", "lower pristine"),
        ("{pairs: 0.5, cycle_types: true}", "choose one"),
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


def test_three_steps_of_three_types_in_order() -> None:
    mix = RecipeMix(pristine=0.1, one=0.2, two=0.3, three=0.4)
    recipes = _draw(1000, mix)
    counts = Counter(len(recipe.steps) for recipe in recipes)
    for steps, share in enumerate((0.1, 0.2, 0.3, 0.4)):
        assert counts[steps] / 1000 == pytest.approx(share, abs=0.05)  # three standard deviations are 0.046
    for recipe in recipes:
        ranks = [STEP_ORDER.index(step.type) for step in recipe.steps]
        assert ranks == sorted(set(ranks))


def test_backgrounds_are_all_but_some_regions() -> None:
    mix = RecipeMix(pristine=0.0, one=1.0, two=0.0, whole_image=0.2, background=0.4, min_region_area=0.02)
    steps = [recipe.steps[0] for recipe in _draw(1500, mix)]
    local = [step for step in steps if step.regions is not None]
    assert len(local) / len(steps) == pytest.approx(0.8, abs=0.04)
    outside = [step for step in local if step.outside]
    assert len(outside) / len(local) == pytest.approx(0.4, abs=0.05)
    assert all(step.regions and step.feather_px > 0 for step in outside)
    # All but the four large regions would be 401 pixels: too small to be distorted alone.
    assert max(len(step.regions or ()) for step in outside) == 3
    assert not any(step.outside for recipe in _draw(200) for step in recipe.steps)


def test_continuous_strengths_fill_the_scale_and_keep_their_severity() -> None:
    mix = RecipeMix(pristine=0, one=1, two=0, types=("blur",), variants={"blur": ("gaussian",)}, continuous=True)
    steps = [recipe.steps[0] for recipe in _draw(600, mix)]
    assert len({step.params["sigma"] for step in steps}) > 500
    counts = Counter(step.severity for step in steps)
    assert sorted(counts) == [1, 2, 3, 4, 5]
    assert all(count / 600 == pytest.approx(0.2, abs=0.05) for count in counts.values())
    variant = get_variant("blur", "gaussian")
    at = {severity: variant.params_for(severity)["sigma"] for severity in variant.levels}
    for step in steps:
        nearest = min(at, key=lambda severity: abs(np.log(at[severity] / step.params["sigma"])))
        assert step.severity == nearest  # sigma is geometric in strength, so half-way is half-way in its logarithm
    assert min(step.params["sigma"] for step in steps) < at[1] and max(step.params["sigma"] for step in steps) > at[5]


def test_types_go_round_in_the_setting_of_seagull_100w() -> None:
    config = load_config(BuildConfig, "configs/data/seagull-100w.yaml")
    drawn = list(draw_recipes("a", AREAS, sum(AREAS), config))
    steps = [step for recipe, _ in drawn for step in recipe.steps]
    assert len(drawn) == len(steps) == 120
    assert Counter(step.type for step in steps) == dict.fromkeys(config.mix.types, 20)
    assert all(step.regions is None for step in steps) and {pair for _, pair in drawn} == {None}
    assert len({str(step.params) for step in steps if step.type == "exposure"}) == 20


def test_a_pair_differs_in_one_step() -> None:
    mix = RecipeMix(pristine=0.5, one=0.2, two=0.2, three=0.1)
    kinds: Counter[str] = Counter()
    for seed in range(300):
        first, second = draw_pair(mix, len(AREAS), AREAS, np.random.default_rng(seed))
        assert first.steps and len(first.steps) == len(second.steps)
        for recipe in (first, second):
            ranks = [STEP_ORDER.index(step.type) for step in recipe.steps]
            assert ranks == sorted(set(ranks))
        (mine,) = [step for step in first.steps if step not in second.steps]
        (other,) = [step for step in second.steps if step not in first.steps]
        assert (mine.regions, mine.outside, mine.feather_px) == (other.regions, other.outside, other.feather_px)
        if mine.type == other.type:
            assert (mine.variant, mine.seed) == (other.variant, other.seed) and mine.severity != other.severity
        kinds["type" if mine.type != other.type else "severity"] += 1
    assert min(kinds.values()) / 300 == pytest.approx(0.5, abs=0.09)


def test_a_pair_that_cannot_differ_is_refused() -> None:
    mix = RecipeMix(pristine=0, one=1, two=0, types=("blur",), severities=(2,))
    with pytest.raises(ConfigError, match=r"mix\.pairs: blur/.* has no partner"):
        draw_pair(mix, 0, (), np.random.default_rng(0), 1000.0)


def test_the_share_of_pairs_is_that_of_the_mix() -> None:
    config = BuildConfig.model_validate({"samples_per_image": 400, "mix": {"pairs": 0.5}})
    drawn = [pair for name in "abcdef" for _, pair in draw_recipes(name, AREAS, sum(AREAS), config)]
    assert len(drawn) == 2400
    pairs = Counter(pair for pair in drawn if pair is not None)
    assert set(pairs.values()) == {2}
    assert sum(pairs.values()) / 2400 == pytest.approx(0.5, abs=0.05)
    for at, pair in enumerate(drawn[:-1]):
        if pair is not None and drawn[at - 1] != pair:
            assert drawn[at + 1] == pair, "the two samples of a pair follow each other"
    all_paired = list(draw_recipes("a", AREAS, sum(AREAS), config.model_copy(update={"mix": RecipeMix(pairs=1.0)})))
    assert all(pair is not None for _, pair in all_paired)
