"""The plan of a run: photographs in training and testing are refused, keys hold what a result depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from benchmarks.bench_roi import bench_config, find_data
from seagull_tune.config.base import load_config
from seagull_tune.config.runs import EvaluateConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import ConfigError, DataError
from seagull_tune.quickstart.plan import make_plans, train_settings


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photographs with label maps."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    (folder / "regions").mkdir()
    for number in range(10):
        pixels = skimage.data.coffee()[20 * number : 20 * number + 100, :120]
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / "images" / f"{number}.png")
        Image.fromarray(np.ones((100, 120), np.uint8)).save(folder / "regions" / f"{number}.png")
    return folder


def test_the_benchmark_divides_by_the_hash_of_the_ids(data: Path) -> None:
    plans = make_plans(bench_config(data, None, 5, []))
    train, test = ({source.image_id for source in plans[name].sources} for name in ("data", "test"))
    assert len(train) == 8 and len(test) == 2 and not train & test
    import hashlib

    order = sorted(train | test, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert set(order[-2:]) == test
    assert set(plans["test"].shards[0].splits.values()) == {"test"}


def test_the_benchmark_measures_with_the_frozen_mixture(data: Path) -> None:
    config = bench_config(data, "out", 5, ["evaluation.seed=3"])
    frozen = load_config(EvaluateConfig, None, [f"data.source={data}"]).data
    assert config.test is not None and config.test.mix == frozen.mix
    assert (config.test.mix.pristine, config.test.mix.one, config.test.mix.two) == (0.08, 0.62, 0.30)
    assert config.pretrain.optimisation.steps == config.finetune.optimisation.steps == 5
    assert config.out == "out" and config.evaluation.seed == 3


def test_where_the_benchmark_finds_its_data(data: Path, tmp_path: Path) -> None:
    (tmp_path / "bsds500").symlink_to(data)
    assert find_data(tmp_path) == data.resolve() == find_data(data)
    with pytest.raises(DataError, match="no images/ and regions/"):
        find_data(data / "images")


def test_a_photograph_on_both_sides_is_refused(data: Path) -> None:
    config = bench_config(data, None, 1, ["test.select.start=0.7"])
    with pytest.raises(DataError, match="are in the training data and in the test data"):
        make_plans(config)


def test_sections_are_laid_over_their_files(data: Path) -> None:
    config = bench_config(data, None, None, ["pretrain.optimisation.batch_size=3"])
    shipped = load_config(TrainConfig, "configs/embedded/pretrain.yaml")
    assert config.pretrain.optimisation.batch_size == 3
    assert config.pretrain.optimisation.learning_rates == shipped.optimisation.learning_rates
    assert config.pretrain.losses == shipped.losses


def test_folders_follow_from_out(data: Path) -> None:
    config = bench_config(data, "x", None, []).with_folders()
    assert config.pretrain.out == "x/pretrain" and config.pretrain.data == "x/data"
    assert config.finetune.init == "x/pretrain/model" and config.finetune.cache_dir == "x/front"


def test_a_run_without_a_test_set_is_refused(data: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to test on"):
        bench_config(data, None, None, ["test=null", "data.split.test=0.0"])


def test_what_a_training_depends_on() -> None:
    config = load_config(TrainConfig, "configs/embedded/finetune.yaml")
    moved = config.model_copy(update={"out": "elsewhere", "log_every": 99, "workers": 3})
    assert train_settings(config) == train_settings(moved)
    assert len(train_settings(config)["prompts"]) == 64
    assert train_settings(config) != train_settings(config.model_copy(update={"seed": 1}))


def test_evaluate_lays_its_data_over_the_benchmark(tmp_path: Path) -> None:
    config = load_config(EvaluateConfig, None, ["data.source=photos", "data.seed=4"])
    assert config.data.split.all_into == "test" and config.data.seed == 4 and config.data.source == "photos"
    (tmp_path / "other.yaml").write_text("samples_per_image: 3\n")
    other = load_config(EvaluateConfig, None, [f"data.file={tmp_path / 'other.yaml'}"])
    assert other.data.samples_per_image == 3 and other.data.split.all_into is None
    with pytest.raises(ConfigError, match="file is 3"):
        load_config(EvaluateConfig, None, ["data.file=3"])
