"""The estimate of a large build: what is measured here times what is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_builders.estimate import Estimate, Rate, estimate_build
from data_builders.pipeline import build_dataset
from seagull_tune.config.data import BuildConfig
from seagull_tune.errors import DataError

RATE = Rate(
    photographs=4, images=8, samples=96, photograph_seconds=2.0, gpu_seconds=0.0, sample_seconds=0.02,
    photograph_bytes=1000.0, sample_bytes=300.0, regions=30.0,
)  # fmt: skip


def _config(**keys: object) -> BuildConfig:
    return BuildConfig.model_validate({"samples_per_image": 60, "workers": 2, **keys})


def test_costs_are_rates_times_counts() -> None:
    estimate = Estimate(_config(), 978_720, RATE)
    assert estimate.n_photographs == 8156 and estimate.n_regions == 29_361_600  # two tiles of 60 samples each
    assert estimate.cpu_hours == pytest.approx((8156 * 2.0 + 978_720 * 0.02) / 3600)
    assert estimate.bytes == 8156 * 1000 + 978_720 * 300
    assert estimate.hours_on(4) == pytest.approx(estimate.cpu_hours / 8)
    said = estimate.describe()
    assert "978,720 distorted images of 8,156 photographs" in said and "GPU hours:     0 " in said


def test_a_gpu_counts_or_is_said_to_be_unmeasured() -> None:
    sam = _config(regions={"method": "sam", "sam": {"checkpoint": "sam.pth", "device": "cuda"}})
    rate = Rate(**{**vars(RATE), "gpu_seconds": 36.0})
    estimate = Estimate(sam, 978_720, rate)
    assert estimate.gpu_hours == pytest.approx(81.56)
    assert estimate.hours_on(1) == pytest.approx(81.56)  # the GPU is slower than the processors
    said = Estimate(sam, 978_720, Rate(**{**vars(RATE), "gpu_seconds": None})).describe()
    assert "not measured" in said and "without the GPU's part" in said


def test_measured_on_photographs_that_can_be_built(photographs: Path, tmp_path: Path) -> None:
    config = _config(source=str(photographs), samples_per_image=6, max_side=100)
    estimate = estimate_build(config, 600, seconds=5.0)
    assert estimate.rate.photographs >= 1 and estimate.rate.samples == 6 * estimate.rate.photographs
    assert estimate.rate.sample_seconds > 0 and estimate.cpu_hours > 0
    # The real files have a fixed part each; a few rows compress worse than many.
    build_dataset(_config(source=str(photographs), max_side=100), tmp_path / "set", show_progress=False)
    files = (tmp_path / "set" / "samples").glob("*.parquet")
    real = sum(file.stat().st_size for file in files) / 180
    assert 0.4 * real < estimate.rate.sample_bytes < 2 * real


def test_nothing_that_can_be_built(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"Nothing could be measured.*broken\.png"):
        estimate_build(_config(source=str(tmp_path)), 10)


def test_one_good_photograph_behind_a_broken_one_is_enough(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    good = min(photographs.glob("*.png"))
    (tmp_path / "b.png").write_bytes(good.read_bytes())
    assert estimate_build(_config(source=str(tmp_path), samples_per_image=2, max_side=100), 10).rate.photographs == 1
