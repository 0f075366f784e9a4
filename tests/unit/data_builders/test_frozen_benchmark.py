"""The frozen benchmark: new variants and new options of the mix must leave its recipes and pixels alone.

It was frozen anew with the measure seagull-fr-2, whose severity table has other parameters; figures of before do not
compare.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import skimage.data

from data_builders.regions import regions_of
from data_builders.sampler import draw_recipe
from data_builders.shards import _recipe_number, draw_recipes
from data_builders.sources import list_sources, load_source, views_of
from seagull_tune.config.base import load_config
from seagull_tune.config.data import BuildConfig
from seagull_tune.config.distortions import RecipeMix
from seagull_tune.data.schema import recipe_to_rows, view_of
from seagull_tune.distortions import VARIANTS
from seagull_tune.records import Recipe

MEAN_CHANGE = {
    ("blur", "gaussian"): 4.075,
    ("blur", "motion"): 3.938,
    ("blur", "defocus"): 3.998,
    ("sharpness", "unsharp"): 4.518,
    ("noise", "gaussian"): 10.035,
    ("noise", "poisson"): 8.433,
    ("noise", "salt_pepper"): 1.088,
    ("compression", "jpeg"): 6.500,
    ("compression", "webp"): 5.656,
    ("exposure", "over"): 44.622,
    ("exposure", "under"): 54.166,
    ("contrast", "reduce"): 39.608,
    ("contrast", "increase"): 28.451,
    ("colorfulness", "desaturate"): 38.470,
    ("colorfulness", "oversaturate"): 54.844,
    ("colorfulness", "cast"): 25.319,
    ("resolution", "bicubic"): 3.556,
    ("resolution", "bilinear"): 3.726,
    ("resolution", "nearest"): 4.451,
}
"""Mean absolute change of codes by every frozen variant, at severity 3 or the highest one that it has, when frozen."""


def _hash(recipes: dict[str, Recipe]) -> str:
    """As a data set's ``recipe_hash``: over sample ids and recipes, in any order."""
    rows = ({"sample_id": name, "recipe": recipe_to_rows(recipe)} for name, recipe in recipes.items())
    total = sum(map(_recipe_number, rows)) % 2**256
    return hashlib.sha256(f"{total:064x}".encode()).hexdigest()


def _benchmark(*overrides: str) -> BuildConfig:
    return load_config(BuildConfig, "configs/data/benchmark.yaml", overrides)


def _draws(mix: RecipeMix) -> dict[str, Recipe]:
    areas = (40000.0, 30000.0, 50000.0, 34000.0, 401.0)
    return {
        str(seed): draw_recipe(mix, len(areas), areas, np.random.Generator(np.random.PCG64(seed)))
        for seed in range(300)
    }


def test_draws_are_those_of_the_day_it_was_frozen() -> None:
    mix = _benchmark().mix
    assert _hash(_draws(mix)) == "4c851d0e2b19c0dec9a8ed9cfafd378910ce81cb2c5c0be15a723bfe0d8c3d4f"
    # It names its variants, all of them known; the default mixture draws newer ones as well.
    assert [(name, variant) for name, names in mix.variants.items() for variant in names] == list(MEAN_CHANGE)
    assert set(VARIANTS) > set(MEAN_CHANGE)
    assert _hash(_draws(load_config(BuildConfig, "configs/data/default.yaml").mix)) != _hash(_draws(mix))


def test_the_figures_were_trained_on_the_frozen_variants() -> None:
    trained = load_config(BuildConfig, "configs/data/figures.yaml").mix
    assert trained == _benchmark().mix


@pytest.mark.parametrize("key", MEAN_CHANGE)
def test_pixels_are_those_of_the_day_it_was_frozen(key: tuple[str, str]) -> None:
    coffee = np.ascontiguousarray(skimage.data.coffee()[60:300, 150:450])
    variant = VARIANTS[key]
    severity = min(3, max(variant.levels))
    out = variant.apply(coffee, variant.params_for(severity), np.random.Generator(np.random.PCG64(7)))
    # Another machine may differ by 1 in a few values; another version of a codec by a little more.
    tolerance = 0.1 if key[0] == "compression" else 0.002
    assert float(np.abs(out.astype(int) - coffee).mean()) == pytest.approx(MEAN_CHANGE[key], abs=tolerance)


def test_the_recipes_of_bench_roi_have_the_published_hash(test_data: Path) -> None:
    """``recipe hash`` of docs/results.md: the last fifth of the BSDS photographs."""
    folder = test_data / "bsds500"
    if not (folder / "regions").is_dir():
        pytest.skip(f"{test_data} holds no bsds500/regions")
    config = _benchmark(
        f"source={folder}/images", "regions.method=label_maps", f"regions.dir={folder}/regions", "select.order=sha256",
        "select.start=0.8",
    )  # fmt: skip
    recipes: dict[str, Recipe] = {}
    for source in list_sources(config):
        photograph = load_source(source, config.max_pixels)
        size = (photograph.shape[0], photograph.shape[1])
        (view,) = views_of(*size, config.max_side, config.tile_side)
        image = view_of(photograph, view.crop_xyxy, view.height, view.width)
        areas = [region.area for region in regions_of(source, size, view, image, config.regions)]
        drawn = draw_recipes(source.image_id, areas, float(view.height * view.width), config)
        recipes |= {f"{source.image_id}#{k:04d}": recipe for k, (recipe, _) in enumerate(drawn)}
    assert len(recipes) == 180
    assert _hash(recipes).startswith("932c8644ec127088")
