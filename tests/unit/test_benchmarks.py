"""The benchmarks of the extractor, at sizes that take no time: they run, and measure what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import mfe_quality, mfe_speed, mfe_step
from seagull_tune.config.base import load_config
from seagull_tune.config.model import EXTRACTOR_SETTINGS, ModelSpec
from seagull_tune.config.runs import QuickstartConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.data.processor import SeagullProcessor
from seagull_tune.errors import ConfigError
from seagull_tune.model.modeling import SeagullForConditionalGeneration
from tests.tiny import make_tiny_model
from tests.tiny_data import make_tiny_photographs

torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> mfe_speed.Case:
    for name, value in {"SIDE": 64, "TEXT_WIDTH": 32, "CHANNELS": (4, 6, 8, 10), "MAP_SIDES": (16, 8, 4, 2)}.items():
        monkeypatch.setattr(mfe_speed, name, value)
    return mfe_speed.Case(images=2, regions=3, device="cpu", hidden=16)


@pytest.mark.parametrize("name", ["ours", "released"])
def test_both_extractors_run_on_the_same_maps(name: str, small: mfe_speed.Case) -> None:
    encoder, arguments = mfe_speed.extractor(name, small), mfe_speed.inputs(name, small)
    other = mfe_speed.inputs("ours" if name == "released" else "released", small)
    for mine, theirs in zip(arguments["maps"], other["maps"], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert encoder(encoder.observe(**arguments)).shape == (6, 2, 32)
    gflop, megabytes, least = mfe_speed.floor_of(encoder, arguments, (1e9, 1e9))
    assert 0 < least == pytest.approx(gflop + megabytes / 1e3)
    assert mfe_speed.peak_of(name, small) >= 0


def test_times_are_taken_in_turn() -> None:
    order: list[str] = []
    times = mfe_speed.alternately([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert order == list("ababab") and [len(column) for column in times] == [3, 3]


_ASK_FOR_PEAKS = """
import torch
from benchmarks.memory import Peak
peaks = []
for megabytes in (1, 480):
    with Peak() as peak:
        values = torch.ones(megabytes << 18)
        del values
    peaks.append(peak.bytes)
print(*peaks)
"""


def test_peak_sees_memory_that_is_given_back() -> None:
    # In a process of its own: where the system cannot reset a peak, what earlier tests took would hide this.
    done = subprocess.run([sys.executable, "-c", _ASK_FOR_PEAKS], check=True, capture_output=True, text=True)
    little, much = map(float, done.stdout.split())
    assert much - little == pytest.approx(479 << 20, rel=0.1)


def test_the_extractor_is_part_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mfe_step, "assemble", lambda spec, seed: make_tiny_model(seed))
    config = load_config(
        TrainConfig, "configs/embedded/finetune.yaml", ["optimisation.batch_size=2", "optimisation.bf16=false"]
    )
    bench = mfe_step.make_bench(config.model, config, "cpu")
    before = [p.detach().clone() for p in bench.model.mfe.parameters()]
    bench.extractor()
    gradients = [p.grad for p in bench.model.mfe.parameters()]
    assert all(g is not None and bool(g.any()) for g in gradients)
    assert all(p.grad is None for p in bench.model.language_model.parameters())
    bench.whole()
    assert any(not torch.equal(p, q) for p, q in zip(bench.model.mfe.parameters(), before, strict=True))
    assert mfe_step.share_of([[(2.0, 4.0)] * 3, [(0.2, 1.0)] * 3], 1) == 0.25


# -- the ablation table ------------------------------------------------------------------------------------------------


@pytest.fixture
def ablation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QuickstartConfig:
    """Two steps on four small photographs, with tiny bases."""

    def tiny(spec: ModelSpec, seed: int) -> tuple[SeagullForConditionalGeneration, SeagullProcessor]:
        if spec.mfe == "seagull":
            return make_tiny_model(seed, mfe="seagull")
        own = spec.model_dump(include=set(EXTRACTOR_SETTINGS) - {"mfe", "mfe_hidden", "mfe_dropout"})
        return make_tiny_model(seed, settings=own, region_shape=spec.mfe_region)

    monkeypatch.setattr("seagull_tune.tune.recipe.assemble", tiny)
    photographs = make_tiny_photographs(tmp_path / "photographs")
    build = {"source": str(photographs), "samples_per_image": 2, "regions": {"max_regions": 2}}
    return QuickstartConfig.model_validate(
        {
            "out": str(tmp_path / "out"),
            "data": {**build, "select": {"ids": ["astronaut", "chelsea"]}},
            "test": {**build, "select": {"ids": ["coffee", "rocket"]}, "split": {"all_into": "test"}},
            "pretrain": {
                "file": "configs/embedded/pretrain.yaml", "workers": 0, "optimisation": {"steps": 2, "batch_size": 4},
            },
            "finetune": {"file": "configs/embedded/finetune.yaml"},
            "evaluation": {"bootstrap_draws": 0},
        }
    )  # fmt: skip


@pytest.mark.integration
def test_cells_are_trained_measured_and_kept(
    ablation: QuickstartConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = mfe_quality.run_cells(ablation, ["ours"], [0], seconds=-1.0)
    assert nothing == {"ours": []} and "left for the next call" in capsys.readouterr().out
    variants = ["ours", "released", "drawn-box"]
    rows = mfe_quality.run_cells(ablation, variants, [0])
    assert [rows[name][0]["variant"] for name in variants] == variants
    for name in variants:
        (row,) = rows[name]
        assert -1 <= row["quality SRCC"] <= 1 and 0 <= row["types macro F1"] <= 1 and row["parameters"] > 1000
    assert rows["ours"][0]["parameters"] != rows["released"][0]["parameters"]
    ours, drawn = rows["ours"][0], rows["drawn-box"][0]
    assert drawn["parameters"] == ours["parameters"] and drawn["quality SRCC"] != ours["quality SRCC"]
    assert len(list((Path(ablation.out) / "runs").iterdir())) == 2, "the model of another cell is asked"
    monkeypatch.setattr(mfe_quality, "run_cell", lambda *_: pytest.fail("a finished cell is not done again"))
    assert mfe_quality.run_cells(ablation, variants, [0]) == rows
    table = mfe_quality.table_of(rows)
    assert table.row_count == 3
    with pytest.raises(ConfigError, match="no variant 'oures'"):
        mfe_quality.run_cells(ablation, ["oures"], [0])


@pytest.mark.parametrize("variant", list(mfe_quality.VARIANTS))
def test_every_variant_is_a_configuration_with_a_folder_of_its_own(variant: str, ablation: QuickstartConfig) -> None:
    cell = mfe_quality.cell_config(ablation, variant, 1)
    others = {mfe_quality.cell_config(ablation, name, seed).out for name in mfe_quality.VARIANTS for seed in (0, 1)}
    # Cells without a training of their own share the folder of the one whose model they ask.
    assert cell.out in others and len(others) == 2 * (len(mfe_quality.VARIANTS) - len(mfe_quality.DRAWN))
    assert cell.out == mfe_quality.cell_config(ablation, mfe_quality.DRAWN.get(variant, variant), 1).out
    assert cell.seed == 1 and cell.optimisation.steps == 2 and cell.cache_front == (variant != "released")


def test_summary_over_seeds() -> None:
    assert mfe_quality.summary([0.5, 0.7]) == "0.600 ± 0.141"
    assert mfe_quality.summary([0.5]) == "0.500" and mfe_quality.summary([0.5, None]) == "-"
