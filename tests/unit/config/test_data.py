"""The build configuration: shipped files load, wrong combinations are refused with the remedy."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from seagull_tune.config.base import dump_config, load_config
from seagull_tune.config.data import BuildConfig, Selection, SplitRule
from seagull_tune.config.distortions import RecipeMix
from seagull_tune.errors import ConfigError
from seagull_tune.images import MAX_PIXELS


@pytest.mark.parametrize("name", ["default", "benchmark"])
def test_shipped_configurations_load_and_survive_a_dump(name: str, tmp_path: Any) -> None:
    config = load_config(BuildConfig, f"configs/data/{name}.yaml")
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_config(BuildConfig, tmp_path / "again.yaml") == config


def test_the_benchmark_is_frozen() -> None:
    config = load_config(BuildConfig, "configs/data/benchmark.yaml")
    assert (config.mix.pristine, config.mix.one, config.mix.two, config.mix.whole_image) == (0.08, 0.62, 0.30, 0.5)
    assert config.regions.min_area_share == 0.02 and config.split.all_into == "test"
    assert config.mix.types == RecipeMix().types and config.mix.severities == (1, 2, 3, 4, 5)


def test_the_pixel_limit_is_that_of_the_reader() -> None:
    assert BuildConfig().max_pixels == MAX_PIXELS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"source": "p", "regions": {"method": "label_maps"}}, "needs dir"),
        ({"source": "p", "regions": {"method": "sam"}}, "needs sam.checkpoint"),
        ({"source": "p", "regions": {"sam": {"dtype": "bfloat16"}}}, "sam .dtype. belongs to method 'sam'"),
        ({"source": "p", "regions": {"dir": "maps"}}, "belongs to method 'label_maps'"),
        ({"source": "builtin", "regions": {"method": "label_maps", "dir": "maps"}}, "folder of photographs"),
        ({"source": "builtin:all"}, "builtin:installed"),
        ({"samples_per_image": 0}, "greater than or equal to 1"),
        ({"split": {"test": 0.7, "validation": 0.5}}, "at most 1"),
        ({"split": {"test": 0.2, "all_into": "test"}}, "leave validation, test"),
        ({"select": {"start": 0.8, "end": 0.2}}, "start must be below end"),
    ],
)
def test_wrong_combinations_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=words):
        BuildConfig.model_validate(values)


def test_overrides_reach_the_nested_parts() -> None:
    config = load_config(BuildConfig, None, ["select.start=0.8", "split.all_into=test", "regions.max_regions=4"])
    assert config.select == Selection(start=0.8)
    assert config.split == SplitRule(all_into="test") and config.regions.max_regions == 4
    with pytest.raises(ConfigError, match="Did you mean 'samples_per_image'"):
        load_config(BuildConfig, None, ["sample_per_image=3"])
