"""The benchmarks of the whole-image scorer, at sizes that take no time: cells are kept, compared and told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_rsa, rsa_quality, rsa_table
from seagull_tune.config.rsa import RsaTrainConfig
from seagull_tune.errors import CheckpointError, ConfigError, DataError
from seagull_tune.model.checkpoint import model_digest
from seagull_tune.rsa.checkpoint import read_manifest
from seagull_tune.rsa.features import CellExtractor
from tests.rsa_parts import make_rated, make_tuned
from tests.tiny import TOWER

TINY = (
    "data.mos={image: image, score: mos, scene: group, scale: {low: 0, high: 5, higher_is_better: true}}",
    "data.std=std", f"scorer.backbone={{name: {TOWER}, weights: null, max_side: 96, levels: null}}", "scorer.width=16",
    "scorer.heads=2", "optimisation.epochs=1", "optimisation.batch_size=4", "device=cpu",
    "describer.segmenter.max_regions=3",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the benchmark wants it."""
    folder = tmp_path_factory.mktemp("data") / "agiqa3k"
    file = make_rated(folder / "images")
    shutil.move(file, folder / "mos.csv")
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tuned(tmp_path_factory.mktemp("describer") / "tuned" / "model")


@pytest.fixture
def configure(data: Path, tuned: Path) -> Callable[..., RsaTrainConfig]:
    return lambda out, *sets: bench_rsa.bench_config(data, tuned, str(out), [*TINY, *sets])


def test_cells_are_run_kept_and_told(
    configure: Callable[..., RsaTrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    compute = CellExtractor._compute

    def counted(self: CellExtractor, image: Any, name: str) -> Any:
        calls.append(name)
        return compute(self, image, name)

    monkeypatch.setattr(CellExtractor, "_compute", counted)
    config, cells = configure(tmp_path / "out"), ["describer", "svr", "global", "rsa-numbers", "rsa-text", "free-head"]
    assert rsa_quality.run_cells(config, cells, [0], seconds=-1.0) == {cell: [] for cell in cells} and not calls
    rows = rsa_quality.run_cells(config, cells, [0])
    assert len(calls) == 16, "every picture is read once for all cells"
    assert [rows[cell][0]["cell"] for cell in cells] == cells and {rows[cell][0]["n"] for cell in cells} == {4}
    assert all(-1 <= rows[cell][0]["plcc"] <= 1 for cell in cells)
    assert not list((tmp_path / "out" / "runs").iterdir()), "what a cell trained is not kept"
    text = rsa_quality.report(config, rows)
    assert "16 pictures of 8 groups" in text and "Accuracy lost to contributions that add up" in text
    assert text == (tmp_path / "out" / "table.md").read_text()
    whole = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [line["cell"] for line in whole["table"]] == cells and len(whole["cells"]) == len(cells)
    monkeypatch.setattr(rsa_quality, "Bench", lambda *_: pytest.fail("what is finished is not done again"))
    assert rsa_quality.run_cells(config, cells, [0]) == rows
    other = configure(tmp_path / "out", "optimisation.learning_rate=0.01")
    assert rsa_quality.run_cells(other, ["global"], [0], seconds=-1.0) == {"global": []}, "other settings, other cells"


def test_a_cell_equals_a_training_by_itself(configure: Callable[..., RsaTrainConfig], tmp_path: Path) -> None:
    from seagull_tune.rsa.train import train

    config = configure(tmp_path / "out")
    (row,) = rsa_quality.run_cells(config, ["rsa-numbers"], [1])["rsa-numbers"]
    plan = rsa_quality.cell_config(config, "rsa-numbers", 1)
    train(plan)
    alone = json.loads((Path(plan.out) / "metrics.json").read_text())
    assert (row["srcc"], row["plcc"]) == pytest.approx((alone["srcc"], alone["plcc"]), abs=1e-6)


def test_cells_share_all_but_what_they_compare(configure: Callable[..., RsaTrainConfig], tmp_path: Path) -> None:
    config = configure(tmp_path / "out")
    plans = {cell: rsa_quality.cell_config(config, cell, 3) for cell in rsa_quality.CELLS}
    assert len({plan.model_copy(update={"scorer": None, "out": ""}).model_dump_json() for plan in plans.values()}) == 1
    assert len({plan.scorer.model_dump_json() for cell, plan in plans.items() if cell not in rsa_quality.PLAIN}) == 8
    assert plans["global"].split.test == 0.2 and plans["global"].split.seed == plans["global"].seed == 3
    with pytest.raises(ConfigError, match=r"no cell 'globl'\. Did you mean 'global'\?"):
        rsa_quality.cell_config(config, "globl", 0)


def test_the_table_by_hand() -> None:
    def rows(cell: str, *values: float | None) -> list[dict[str, Any]]:
        return [{"cell": cell, "seed": i, "srcc": v, "plcc": v, "seconds": 2.0} for i, v in enumerate(values)]

    found = {"global": rows("global", 0.8, 0.7, 0.9), "rsa-text": rows("rsa-text", 0.82, 0.75, 0.89)}
    found |= {"free-head": rows("free-head", 0.83, 0.76, 0.84), "rsa": [], "uniform": rows("uniform", None)}
    lines = {line["cell"]: line for line in rsa_table.summary(found)}
    full = lines["rsa-text"]
    assert full["srcc"] == 0.82 and full["srcc_spread"] == [0.75, 0.89] and full["gain"] == pytest.approx(0.02)
    assert full["gains"] == pytest.approx({0: 0.02, 1: 0.05, 2: -0.01})
    assert lines["global"]["gain"] is None and lines["rsa"]["srcc"] is None and lines["uniform"]["undefined"] == 1
    text = rsa_table.table_of(list(lines.values()), {"pictures": 9, "groups": 3, "describer": "abc"})
    assert "| 0.8200 (0.7500 to 0.8900) | 0.8200 | +0.0200, 2 of 3 above | +0.020 +0.050 -0.010 | 2 |" in text
    assert "Accuracy lost to contributions that add up: +0.0100 SRCC" in text


def test_the_benchmark_leaves_a_scorer_and_skips_what_is_finished(
    configure: Callable[..., RsaTrainConfig], data: Path, tuned: Path, tmp_path: Path, capsys: Any
) -> None:
    sets = [part for text in TINY for part in ("--set", text)]
    arguments = ["--data", str(data.parent), "--model", str(tuned), "--out", str(tmp_path / "rsa"), *sets]
    bench_rsa.main([*arguments, "--dry-run"])
    assert "16 of 8 groups to train on" in capsys.readouterr().out and not (tmp_path / "rsa").exists()
    bench_rsa.main(arguments)
    folder = tmp_path / "rsa" / "model"
    assert read_manifest(folder).training["pictures"] == 16
    assert model_digest(folder / "describer") == model_digest(tuned)
    capsys.readouterr()
    bench_rsa.main(arguments)
    assert "finished earlier" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        bench_rsa.main([*arguments, "--set", "seed=1"])
    assert caught.value.code == 2 and "other settings (seed differ" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with pytest.raises(DataError, match=r"holds no mos\.csv and images/"):
        bench_rsa.find_opinions(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"Make one .* or name one: --model DIR"):
        bench_rsa.find_model(None)
    (tmp_path / "runs" / "quickstart" / "model").mkdir(parents=True)
    assert bench_rsa.find_model(None) == Path("runs/quickstart/model")
    with pytest.raises(SystemExit):
        rsa_quality.main(["--data", str(tmp_path), "--seeds", "a"])
    assert "holds no mos.csv" in capsys.readouterr().err
