"""What a checkpoint remembers of its photographs, and what is refused because of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from seagull_tune.data.reader import RoiDataset
from seagull_tune.errors import CheckpointError, DataError
from seagull_tune.model.checkpoint import MANIFEST
from seagull_tune.model.seen import PHOTOGRAPHS, check_unseen, photographs_after
from tests.tiny_data import make_tiny_dataset

HASH = "0123456789abcdef"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photographs, one of them for validation."""
    return make_tiny_dataset(tmp_path_factory.mktemp("seen") / "roi", samples_per_image=1)


def trained(folder: Path, training: dict[str, Any] | None) -> Path:
    """A checkpoint, as far as its manifest goes."""
    folder.mkdir(exist_ok=True)
    values = {"version": 1, "sha256": "0" * 64, "adapter": False, "training": training}
    (folder / MANIFEST).write_text(json.dumps(values))
    return folder


def on(photographs: Sequence[str] | None, **changes: Any) -> dict[str, Any]:
    return {"data": {"config_hash": "other", PHOTOGRAPHS: photographs}, **changes}


def test_photographs_are_known_by_their_content(data: Path) -> None:
    train, held_out = RoiDataset(data, "train"), RoiDataset(data, "validation")
    assert len(train.photographs) == 3 and len(held_out.photographs) == 1
    assert not set(train.photographs) & set(held_out.photographs)
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in train.photographs)
    assert train.photograph_of.keys() == set(train.image_ids)


def test_what_a_training_will_know(data: Path, tmp_path: Path) -> None:
    rows = RoiDataset(data, "train")
    assert photographs_after(rows, None) == list(rows.photographs), "a new model knows nothing yet"
    assert photographs_after(rows, trained(tmp_path / "a", on([HASH]))) == sorted({HASH, *rows.photographs})
    assert photographs_after(rows, trained(tmp_path / "b", on(None))) is None
    assert photographs_after(rows, trained(tmp_path / "c", None)) is None, "a converted model: nobody knows"


def test_photographs_that_a_model_knows_are_refused(data: Path, tmp_path: Path) -> None:
    train, held_out = RoiDataset(data, "train"), RoiDataset(data, "validation")
    model = trained(tmp_path / "model", on(photographs_after(train, None)))
    assert check_unseen(model, held_out)
    with pytest.raises(DataError, match=r"trained on 3 of the 3 images of .*split 'train': .*chelsea.*Take"):
        check_unseen(model, train)
    with pytest.raises(DataError, match="trained on 3 of the 4 images"):
        check_unseen(model, RoiDataset(data))
    assert check_unseen(trained(tmp_path / "none", on([])), train), "it knows none of them"


@pytest.mark.parametrize(
    ("rounds", "split", "known"),
    [
        (["own"], "validation", True), (["own"], "train", False), (["own"], None, False),
        (["own", "own"], "validation", True), (["own", "other"], "validation", False), ([], "validation", False),
    ],
)  # fmt: skip
def test_an_earlier_checkpoint_is_trusted_as_far_as_its_data_sets_go(
    rounds: list[str], split: str | None, known: bool, data: Path, tmp_path: Path
) -> None:
    """Written before photographs were remembered: of one and the same data set, only `train` was trained on."""
    dataset = RoiDataset(data, split)
    hashes = [dataset.manifest["config_hash"] if name == "own" else "other" for name in rounds]
    earlier = [{"data": name} for name in hashes[1:]]
    training = {"data": {"config_hash": hashes[0]}, "earlier": earlier} if rounds else None
    assert check_unseen(trained(tmp_path / "model", training), dataset) is known


def test_leaks_and_strangers_are_refused(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = RoiDataset(data, "validation")
    with pytest.raises(CheckpointError, match="not a Seagull-Tune checkpoint"):
        check_unseen(tmp_path, dataset)
    monkeypatch.setattr(RoiDataset, "leaks", lambda self: [f"leak {n}" for n in range(12)])
    with pytest.raises(DataError, match=r"leaks between its splits:\n  leak 0\n(.|\n)*leak 9\n  \.\.\. and 2 more"):
        check_unseen(trained(tmp_path, on([])), dataset)
