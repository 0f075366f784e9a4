"""A data set that went out and came back in trains like the one that it was, although its pictures are files now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from data_builders.exporters import export_dataset
from data_builders.importers import import_dataset
from seagull_tune.config.exchange import ExportConfig, ImportConfig
from seagull_tune.config.train import TrainConfig
from seagull_tune.errors import DataError
from seagull_tune.tune.recipe import train
from tests.tiny import make_tiny_checkpoint
from tests.tiny_data import make_tiny_dataset

pytestmark = pytest.mark.integration
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("start") / "model")


def _train(data: Path, out: Path, start: Path) -> list[float]:
    config = {"out": str(out), "data": str(data), "init": str(start), "log_every": 1}
    optimisation = {"steps": 4, "batch_size": 4}
    train(TrainConfig.model_validate({**config, "optimisation": optimisation}))
    entries = json.loads((out / "run.json").read_text())["train"]["log"]
    return [float(entry["loss"]) for entry in entries if "loss" in entry]


def test_an_imported_data_set_trains(start: Path, tmp_path: Path) -> None:
    data = make_tiny_dataset(tmp_path / "roi", validation=0)
    export_dataset(data, tmp_path / "out", ExportConfig(format="seagull"), show_progress=False)
    back = ImportConfig(format="seagull", source=tmp_path / "out")
    import_dataset(back, tmp_path / "back", show_progress=False)
    losses = _train(tmp_path / "back", tmp_path / "run", start)
    assert len(losses) == 4 and all(0 < loss < 100 for loss in losses)


def test_opinions_without_regions_cannot_train_on_regions(start: Path, tmp_path: Path) -> None:
    data = make_tiny_dataset(tmp_path / "roi", samples_per_image=1, validation=0)
    photographs = data.parent / "photographs"
    names = sorted(path.name for path in photographs.iterdir())
    (tmp_path / "mos.csv").write_text("image,mos\n" + "".join(f"{name},3\n" for name in names))
    scale = {"low": 1, "high": 5, "higher_is_better": True}
    config = {"format": "mos", "source": tmp_path / "mos.csv", "images": photographs, "mos": {"scale": scale}}
    import_dataset(ImportConfig.model_validate(config), tmp_path / "back", show_progress=False)
    with pytest.raises(DataError, match="no sample of the split 'train' has a labelled region"):
        _train(tmp_path / "back", tmp_path / "run", start)


def test_ratings_of_people_train(start: Path, tmp_path: Path) -> None:
    data = make_tiny_dataset(tmp_path / "roi", samples_per_image=1, validation=0)
    names = sorted(path.name for path in (data.parent / "photographs").iterdir())
    (tmp_path / "maps").mkdir()
    lines = []
    for number, name in enumerate(names):
        with Image.open(data.parent / "photographs" / name) as photograph:
            Image.new("L", photograph.size, 1).save(tmp_path / "maps" / f"{Path(name).stem}.png")
        lines += [f"{name},0,r{rater},{1 + number % 4 + rater / 10}" for rater in range(3)]
    (tmp_path / "ratings.csv").write_text("image,region,rater,score\n" + "\n".join(lines) + "\n")
    config = {
        "format": "ratings", "source": tmp_path / "ratings.csv", "images": data.parent / "photographs",
        "regions": tmp_path / "maps", "ratings": {"scale": {"low": 1, "high": 5, "higher_is_better": True}},
    }  # fmt: skip
    import_dataset(ImportConfig.model_validate(config), tmp_path / "rated", show_progress=False)
    losses = _train(tmp_path / "rated", tmp_path / "run", start)
    assert len(losses) == 4 and all(0 < loss < 100 for loss in losses)
